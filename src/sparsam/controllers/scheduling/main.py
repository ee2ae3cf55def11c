"""The live scheduler put together over a set of informers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field

from sparsam.client.informer import Informer
from sparsam.controllers.runtime import Context
from sparsam.controllers.scheduling.feed import NEEDED, POWER, Feed
from sparsam.controllers.scheduling.metrics import Metrics
from sparsam.controllers.scheduling.placers import DEFAULT_NAMES, Placers
from sparsam.controllers.scheduling.shell import Scheduler
from sparsam.controllers.scheduling.volumebinding import VolumeBinder
from sparsam.controllers.scheduling.writing import Writer
from sparsam.objects.kinds import CONFIGMAPS, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from sparsam.scheduling.preemption import Budgets
from sparsam.scheduling.profile import Profile
from sparsam.scheduling.snapshot import Snapshot
from sparsam.scheduling.watts import SparsamPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulingConfig:
    """How pods are placed."""

    policy: str = SparsamPolicy.name
    shadow: str = ""
    """Another policy whose choices are only written down."""
    watts: bool = True
    """Whether the cluster knows NodePower objects."""
    models: tuple[str, str] | None = None
    """Namespace and name of a ConfigMap with power models by node name or instance type."""
    profiles: Mapping[str, Profile] = field(default_factory=lambda: {name: Profile(name) for name in DEFAULT_NAMES})
    metrics: Metrics = field(default_factory=Metrics)


async def run_scheduling(context: Context, config: SchedulingConfig) -> None:
    """Schedule until cancelled."""
    name = next(iter(config.profiles))
    recorder = context.recorder(name)
    resources = (*NEEDED, *POWER) if config.watts else NEEDED
    snapshot, budgets = Snapshot(), Budgets()
    placers = Placers(snapshot, budgets, policy=config.policy, shadow=config.shadow, profiles=config.profiles)
    informers = {resource: context.informer(resource) for resource in resources}
    if config.models is not None:
        namespace, called = config.models
        selector = f"metadata.name={called}"
        informers[CONFIGMAPS] = Informer(context.client, CONFIGMAPS, namespace, field_selector=selector)
    scheduler = Scheduler(
        informers,
        Feed(snapshot, budgets, placers),
        placers,
        Writer(context.client, recorder, context.clock, name),
        VolumeBinder(
            context.client, informers[PERSISTENTVOLUMECLAIMS], informers[PERSISTENTVOLUMES], clock=context.clock
        ),
        clock=context.clock,
        metrics=config.metrics,
    )
    async with asyncio.TaskGroup() as group:
        if config.models is not None:
            group.create_task(informers[CONFIGMAPS].run(), name="server models")
        group.create_task(recorder.run(), name="scheduler events")
        group.create_task(scheduler.run(), name="scheduler")
