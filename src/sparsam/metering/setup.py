"""Finds the power sources of the machine that this runs on, and puts a node's meter together."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from sparsam.clock import Clock
from sparsam.hardware.estimate import ModelMeter, why_estimated
from sparsam.hardware.hwmon import hwmon_meters
from sparsam.hardware.meter import Meter
from sparsam.hardware.profile import read_profile
from sparsam.hardware.rapl import rapl_meters
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
    state_file: Path
    """Keeps energy over restarts."""
    group_bases: tuple[str, ...] = KUBELET_BASES
    sys_root: Path = Path("/sys")
    proc_root: Path = Path("/proc")


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
    utilization = UtilizationSource(config.proc_root / "stat")
    # Utilization is a difference: the sooner the first look, the sooner there is one.
    utilization.look()
    profile = read_profile(config.sys_root, config.proc_root)
    sources: list[Meter] = [*extra, *hwmon_meters(config.sys_root, clock), *rapl_meters(config.sys_root, clock, warner)]
    estimate = ModelMeter(
        model.watts,
        lambda: utilization.latest,
        clock,
        uncertainty_ratio=_model_error(model.model),
        why=why_estimated(profile),
    )
    names = ", ".join(meter.source for meter in sources) or f"none ({why_estimated(profile)})"
    log.info("metering node=%s sensors=%s", config.node_name, names)
    return NodeMeter(
        config.node_name,
        supervisor=Supervisor([*sources, estimate], clock, warner),
        utilization=utilization,
        groups=GroupReader(config.group_bases, config.sys_root / "fs/cgroup"),
        pods=pods,
        model=model,
        ledger=LedgerFile(config.state_file),
        clock=clock,
    )


def _model_error(model: ServerModel) -> float:
    ratio = error_ratio(model, 0.5)
    return UNKNOWN_ERROR_RATIO if ratio is None else ratio
