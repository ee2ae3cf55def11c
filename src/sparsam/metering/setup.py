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
from sparsam.metering.trust import ModelTrust
from sparsam.power.model import ServerModel
from sparsam.power.nodemodel import node_model

log = logging.getLogger(__name__)

LEARNED_FILE = "learned-model.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterConfig:
    """Where to look on this machine."""

    node_name: str
    state_file: Path | None = None
    """Keeps energy over restarts, and beside it what was learned of the model; None forgets both."""
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
    trust = ModelTrust(config.state_file and config.state_file.with_name(LEARNED_FILE))
    estimate = ModelMeter(lambda load: trust.predict(model(), load), lambda: utilization.latest, clock, why=why)
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
        trust=trust,
        clock=clock,
        absent=local.gaps,
        machine_nodes=config.machine_nodes,
    )
