"""A modelled server: whether it is up, what runs on it in name, what it draws. Pure; `now` is in seconds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from sparsam.power.nodemodel import node_model
from sparsam.power.sleep import ASSUMED, assumed
from sparsam.scheduling.powercolumns import SPEED_ANNOTATION
from sparsam.units import parse_millicores

Obj = Mapping[str, Any]

DESIRED_ANNOTATION = "power.sparsam.dev/desired-state"
SLEEP_ANNOTATION = "power.sparsam.dev/sleep-state"
DEFAULT_SLEEP = "suspended"


class State(StrEnum):
    """Whether a server is up."""

    AWAKE = "Awake"
    FALLING_ASLEEP = "FallingAsleep"
    ASLEEP = "Asleep"
    WAKING = "Waking"
    FAILED = "Failed"


DESIRED = {"awake": State.AWAKE, "asleep": State.ASLEEP, "failed": State.FAILED}
"""What the annotation may say; awake where it is absent or says something else."""


@dataclass(frozen=True, slots=True)
class Running:
    """A pod that runs in name."""

    namespace: str
    name: str
    millicores: float


class HollowNode:
    """One server. Energy is exact: watts are constant between two changes, and each change settles what was drawn."""

    def __init__(self, node: Obj, now: float) -> None:
        annotations = node["metadata"].get("annotations") or {}
        self.name: str = node["metadata"]["name"]
        self.millicores = float(parse_millicores(node["status"]["capacity"]["cpu"]))
        self.model = node_model(annotations, self.millicores / 1000.0)
        self.speed = _positive(annotations.get(SPEED_ANNOTATION))
        kind = annotations.get(SLEEP_ANNOTATION, DEFAULT_SLEEP)
        ends = np.array([self.model.watts(0.0)]), np.array([self.model.watts(1.0)])
        self._sleep = assumed(kind if kind in ASSUMED else DEFAULT_SLEEP, *ends)
        self.state = State.AWAKE
        self.desired = State.AWAKE
        self.changes_at = math.inf
        """When the node will be awake or asleep, while it is on its way."""
        self.running: dict[str, Running] = {}
        self._used = 0.0
        self._joules = 0.0
        self._settled_at = now
        self.watts = self._watts()

    @property
    def utilization(self) -> float:
        """Share of its CPU that is used, 0..1; zero unless awake."""
        return min(self._used / self.millicores, 1.0) if self.state is State.AWAKE else 0.0

    def joules(self, now: float) -> float:
        """Energy drawn up to now."""
        return self._joules + self.watts * (now - self._settled_at)

    def run(self, uid: str, pod: Running, now: float) -> None:
        """A pod runs here from now on."""
        self.stop(uid, now)
        self.running[uid] = pod
        self._used += pod.millicores
        self._settle(now)

    def stop(self, uid: str, now: float) -> None:
        """A pod no longer runs here; unknown ones are no error."""
        pod = self.running.pop(uid, None)
        if pod is not None:
            # An empty server is exactly idle, whatever the sums left over.
            self._used = self._used - pod.millicores if self.running else 0.0
            self._settle(now)

    def command(self, desired: str | None, now: float) -> None:
        """Take the operator's wish, as `DESIRED_ANNOTATION` has it."""
        self.desired = DESIRED.get(desired or "", State.AWAKE)
        self.advance(now)

    def advance(self, now: float) -> bool:
        """Bring the state up to now; whether it changed."""
        before = self.state
        if now >= self.changes_at:
            self._enter(State.ASLEEP if self.state is State.FALLING_ASLEEP else State.AWAKE, math.inf)
        if self.desired is State.FAILED:
            self._enter(State.FAILED, math.inf)
        elif self.desired is State.ASLEEP and self.state is State.AWAKE:
            self._enter(State.FALLING_ASLEEP, now + float(self._sleep.sleep_seconds[0]))
        elif self.desired is State.AWAKE and self.state in (State.ASLEEP, State.FAILED):
            self._enter(State.WAKING, now + float(self._sleep.wake_seconds[0]))
        self._settle(now)
        return self.state is not before

    def pod_watts(self) -> dict[str, float]:
        """The watts above idle, parted among pods by the CPU that they use."""
        active = self.watts - self.model.watts(0.0) if self.state is State.AWAKE else 0.0
        total = self._used or 1.0
        return {uid: active * pod.millicores / total for uid, pod in self.running.items()}

    def _enter(self, state: State, changes_at: float) -> None:
        self.state, self.changes_at = state, changes_at

    def _settle(self, now: float) -> None:
        self._joules = self.joules(now)
        self._settled_at = now
        self.watts = self._watts()

    def _watts(self) -> float:
        sleep = self._sleep
        match self.state:
            case State.AWAKE:
                return self.model.watts(self.utilization)
            case State.FALLING_ASLEEP:
                return float(sleep.sleep_joules[0] / sleep.sleep_seconds[0])
            case State.ASLEEP:
                return float(sleep.asleep_watts[0])
            case State.WAKING:
                return float(sleep.wake_joules[0] / sleep.wake_seconds[0])
            case State.FAILED:
                return 0.0


def _positive(text: str | None) -> float:
    try:
        value = float(text or 1.0)
    except ValueError:
        return 1.0
    return value if 0.0 < value < math.inf else 1.0
