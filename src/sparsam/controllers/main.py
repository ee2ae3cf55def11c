"""The control process: every controller and the scheduler, each behind a Lease, over shared informers."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import aiohttp

from sparsam.client.api import ApiClient
from sparsam.client.config import ClusterConfig
from sparsam.client.informer import InformerFactory
from sparsam.client.leases import LeaderElector, LeadershipLost
from sparsam.clock import SystemClock
from sparsam.controllers.attachdetach import AttachDetach
from sparsam.controllers.autoscaling.controller import HorizontalPodAutoscalers
from sparsam.controllers.clusterroles import ClusterRoleAggregation
from sparsam.controllers.cronjob import CronJobController
from sparsam.controllers.csr import CertificateController, load_signer
from sparsam.controllers.daemonset import DaemonSetController
from sparsam.controllers.deployment import DeploymentController
from sparsam.controllers.disruption import DisruptionController, StaleDisruptions
from sparsam.controllers.endpoints import EndpointsController
from sparsam.controllers.endpointsmirroring import EndpointsMirroring
from sparsam.controllers.ephemeralvolumes import EphemeralVolumes
from sparsam.controllers.events import EventExpiry
from sparsam.controllers.garbage import GarbageCollector
from sparsam.controllers.job import JobController
from sparsam.controllers.loadbalancer import LoadBalancers
from sparsam.controllers.localvolumes import LocalVolumes
from sparsam.controllers.namespace import NamespaceController
from sparsam.controllers.nodelifecycle import NodeLifecycleController
from sparsam.controllers.podgc import PodGarbageCollector
from sparsam.controllers.replicaset import ReplicaSetController
from sparsam.controllers.replicationcontroller import ReplicationControllerController
from sparsam.controllers.resourcequota import ResourceQuotaController
from sparsam.controllers.runtime import Context, Controller
from sparsam.controllers.scheduling.main import SchedulingConfig, run_scheduling
from sparsam.controllers.servermodels import ServerModels
from sparsam.controllers.serviceaccount import ServiceAccountController
from sparsam.controllers.statefulset import StatefulSetController
from sparsam.controllers.tokencleaner import TokenCleaner
from sparsam.controllers.ttl import TtlController
from sparsam.controllers.volumeprotection import AttributesProtection, VolumeProtection
from sparsam.controllers.volumes import VolumeController
from sparsam.errors import SparsamError
from sparsam.objects.kinds import NAMESPACES
from sparsam.serving.pages import serve_pages

log = logging.getLogger(__name__)

CONTROLLERS_LEASE = "kube-controller-manager"
SCHEDULER_LEASE = "kube-scheduler"
FIRST_TRY_SECONDS = 0.1


class HasController(Protocol):
    """A class around one Controller."""

    controller: Controller


CONTROLLERS: tuple[Callable[[Context], HasController], ...] = (
    NamespaceController,
    ServiceAccountController,
    ReplicaSetController,
    ReplicationControllerController,
    DeploymentController,
    StatefulSetController,
    DaemonSetController,
    JobController,
    CronJobController,
    TtlController,
    PodGarbageCollector,
    EndpointsController,
    NodeLifecycleController,
    GarbageCollector,
    EventExpiry,
    VolumeProtection,
    AttributesProtection,
    VolumeController,
    EphemeralVolumes,
    LocalVolumes,
    AttachDetach,
    TokenCleaner,
    ServerModels,
    DisruptionController,
    StaleDisruptions,
    HorizontalPodAutoscalers,
    ResourceQuotaController,
    ClusterRoleAggregation,
    EndpointsMirroring,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllersConfig:
    """What the control process is told at start."""

    client: ClusterConfig
    scheduler_client: ClusterConfig | None = None
    """Under whose name the scheduler writes; it reads what the controllers read. By default under theirs."""
    controllers: bool = True
    """Run the controllers."""
    scheduler: bool = True
    """Run the scheduler."""
    signing_certificate: Path | None = None
    """Certificate of the cluster's authority."""
    signing_key: Path | None = None
    """Its key; with both, the certificates that nodes ask for are signed here."""
    load_balancer_cidrs: tuple[str, ...] = ()
    """Addresses to give to Services of type LoadBalancer, by family; without, they are another controller's."""
    elect_leader: bool = True
    """Wait for a Lease first; off, this process must be the only one."""
    listen: tuple[str, int] | None = None
    """Where the scheduler's metrics are served; None for nowhere."""


async def run(config: ControllersConfig) -> None:
    """Run until cancelled or until a lease is lost. Caches are shared, and kept warm while somebody else leads."""
    try:
        async with (
            ApiClient(config.client, program="kube-controller-manager") as client,
            ApiClient(config.scheduler_client or config.client, program="kube-scheduler") as scheduler,
        ):
            await _run(config, client, scheduler)
    except* LeadershipLost as lost:
        log.error("leaving, so that a fresh process may stand again leases=%s", [str(each) for each in lost.exceptions])


async def _run(config: ControllersConfig, client: ApiClient, scheduler: ApiClient) -> None:
    await _reachable(client)
    identity = f"{platform.node()}_{os.getpid()}_{uuid.uuid4()}"
    signing = partial(CertificateController, signer=load_signer(config.signing_certificate, config.signing_key))
    scheduling = SchedulingConfig()
    balancing = partial(LoadBalancers, cidrs=config.load_balancer_cidrs)
    own = (signing, balancing) if config.load_balancer_cidrs else (signing,)
    informers, clock = InformerFactory(client), SystemClock()
    parts = (
        (config.controllers, client, CONTROLLERS_LEASE, partial(run_controllers, configured=own)),
        (config.scheduler, scheduler, SCHEDULER_LEASE, partial(run_scheduling, config=scheduling)),
    )
    async with asyncio.TaskGroup() as group:
        informers.start(group)
        if config.scheduler and config.listen is not None:
            group.create_task(_serve_metrics(config.listen, scheduling.metrics.text), name="metrics")
        for wanted, writer, lease, work in parts:
            context = Context(writer, informers, clock)
            if wanted and config.elect_leader:
                elector = LeaderElector(writer, lease, identity)
                group.create_task(elector.run(partial(work, context)), name=lease)
            elif wanted:
                group.create_task(work(context), name=lease)


async def _reachable(client: ApiClient) -> None:
    """Wait for the API server, which may start at the same moment; after that the Leases' slower pace begins."""
    while True:
        try:
            await client.get(NAMESPACES, "kube-system")
        except (SparsamError, aiohttp.ClientError, OSError, TimeoutError):
            await asyncio.sleep(FIRST_TRY_SECONDS)
        else:
            return


async def run_controllers(context: Context, *, configured: Sequence[Callable[[Context], HasController]]) -> None:
    """Every controller, and those that were told something at start, until cancelled."""
    parts = [make(context) for make in (*CONTROLLERS, *configured)]
    async with asyncio.TaskGroup() as group:
        for part in parts:
            group.create_task(part.controller.run(), name=part.controller.name)


async def _serve_metrics(address: tuple[str, int], metrics: Callable[[], str]) -> None:
    try:
        await serve_pages(address, metrics)
    except OSError as error:
        # Another cluster of this machine may have the address; pods are placed all the same.
        log.warning("no metrics: cannot listen address=%s:%d error=%s", *address, error.strerror)
