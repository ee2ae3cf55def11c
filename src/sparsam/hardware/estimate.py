"""The model as a meter: what a node probably draws, where nothing measures it, with the reason said."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from sparsam.clock import Clock
from sparsam.hardware.guards import WHOLE_NODE, judge_watts
from sparsam.hardware.meter import Domain, Fault, Gap, Provenance, Reading
from sparsam.hardware.profile import Profile

SOURCE = "model"


def why_estimated(profile: Profile, gaps: Iterable[Gap] = ()) -> str:
    """The sentence that goes with an estimated number."""
    reasons = sorted({f"{gap.source} {gap.fault}" for gap in gaps})
    if profile.hypervisor:
        return f"virtual machine without sensors ({profile.hypervisor})"
    return "no working power sensor" + (f" ({', '.join(reasons)})" if reasons else "")


class CpuUtilization:
    """Share of the node's CPU time in use since it was last asked, from /proc/stat."""

    def __init__(self, proc_root: Path = Path("/proc")) -> None:
        self._path = proc_root / "stat"
        self._before: tuple[float, float] | None = None
        self._latest: float | None = None

    def __call__(self) -> float | None:
        """0..1; None before two samples lie apart. Time stolen by a hypervisor is neither used nor idle."""
        try:
            fields = [float(field) for field in self._path.read_text().partition("\n")[0].split()[1:9]]
            user, nice, system, _idle, _wait, irq, soft_irq, _stolen = fields
        except (OSError, ValueError):
            return None
        busy, total = user + nice + system + irq + soft_irq, sum(fields[:7])
        before, self._before = self._before, (busy, total)
        if before is not None and total > before[1]:
            self._latest = min(max((busy - before[0]) / (total - before[1]), 0.0), 1.0)
        return self._latest


class ModelMeter:
    """Watts from utilization by a function that the caller gives; always labelled estimated.

    `predict` answers for the whole node at a utilization with watts and how far to trust them, as a share of them.
    Utilization comes from a callable too, so that the same meter serves a node at hand and one known through the API
    alone.
    """

    domain = Domain.WALL
    provenance = Provenance.ESTIMATED

    def __init__(
        self,
        predict: Callable[[float], tuple[float, float]],
        utilization: Callable[[], float | None],
        clock: Clock,
        *,
        why: str,
        source: str = SOURCE,
    ) -> None:
        self.source = source
        self._predict = predict
        self._utilization = utilization
        self._clock = clock
        self._why = why

    async def read(self) -> Reading | Gap:
        """The model's watts at the present utilization."""
        now = self._clock.monotonic()
        utilization = self._utilization()
        if utilization is None:
            return Gap(now, Fault.FIRST, "utilization needs two samples", self.source)
        watts, uncertainty_ratio = self._predict(utilization)
        if wrong := judge_watts(watts, WHOLE_NODE):
            return Gap(now, wrong.fault, f"{wrong.detail} at utilization {utilization:.3f}", self.source)
        return Reading(
            at_seconds=now,
            watts=watts,
            domain=self.domain,
            source=self.source,
            uncertainty_ratio=uncertainty_ratio,
            provenance=self.provenance,
            note=self._why,
        )

    async def close(self) -> None:
        """Nothing is held open."""
