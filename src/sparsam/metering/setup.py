"""Finds the power sources of the machine that this runs on, and puts a node's meter together."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sparsam.clock import Clock
from sparsam.hardware.discover import Roots, find_local
from sparsam.hardware.estimate import ModelMeter, why_estimated
from sparsam.hardware.hwmon import read_environment
from sparsam.hardware.meter import Meter
from sparsam.hardware.supervisor import Supervisor
from sparsam.hardware.warner import Warner
from sparsam.metering.groups import KUBELET_BASES, GroupReader
from sparsam.metering.ledger import LedgerFile
from sparsam.metering.node import NodeMeter, Obj, UtilizationSource
from sparsam.power.model import ServerModel
from sparsam.power.nodemodel import error_ratio, node_model

log = logging.getLogger(__name__)

UNKNOWN_ERROR_RATIO = 0.5
"""Stated for a model that does not know its error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterConfig:
    """Where to look on this machine."""

    node_name: str
    state_file: Path | None = None
    """Keeps energy over restarts; None forgets it."""
    group_bases: tuple[str, ...] = KUBELET_BASES
    machine_nodes: int = 1
    """Nodes that share this machine, each of which meters all of it."""
    roots: Roots = field(default_factory=Roots)


class NodeModelHolder:
    """The node's model as last learned from its Node object; the prior until then."""

    def __init__(self) -> None:
        self.model = node_model({}, os.cpu_count() or 1)

    def learn(self, node: Obj) -> None:
        """Take the model from a Node object's annotations."""
        self.model = node_model(node["metadata"].get("annotations") or {}, os.cpu_count() or 1)

    def watts(self, load: float) -> float:
        """The present model's watts."""
        return self.model.watts(load)

    def error_ratio(self, load: float) -> float:
        """The present model's error at a load."""
        ratio = error_ratio(self.model, load)
        return UNKNOWN_ERROR_RATIO if ratio is None else ratio

    def __call__(self) -> ServerModel:
        """The present model."""
        return self.model


def make_node_meter(
    config: MeterConfig,
    pods: Callable[[], Iterable[Obj]],
    model: NodeModelHolder,
    clock: Clock,
    *,
    extra: Iterable[Meter] = (),
) -> NodeMeter:
    """A meter over everything that works here: `extra` sources (a BMC, Prometheus), sensors, and the model at last."""
    warner = Warner(log)
    utilization = UtilizationSource(config.roots.proc / "stat")
    # Utilization is a difference: the sooner the first look, the sooner there is one.
    utilization.look()
    local = find_local(clock, warner, roots=config.roots)
    sources: list[Meter] = [*extra, *local.meters]
    why = why_estimated(local.profile, local.gaps)
    estimate = ModelMeter(model.watts, lambda: utilization.latest, clock, uncertainty_ratio=model.error_ratio, why=why)
    names = ", ".join(meter.source for meter in sources) or f"none: {why}"
    log.info("metering node=%s sources=%s", config.node_name, names)
    return NodeMeter(
        config.node_name,
        supervisor=Supervisor([*sources, estimate], clock, warner),
        utilization=utilization,
        groups=GroupReader(config.group_bases, config.roots.sys / "fs/cgroup"),
        inlet_celsius=lambda: read_environment(config.roots.sys).inlet_celsius,
        pods=pods,
        model=model,
        ledger=LedgerFile(config.state_file),
        clock=clock,
        absent=local.gaps,
        machine_nodes=config.machine_nodes,
    )
