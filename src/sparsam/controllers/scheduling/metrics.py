"""What the scheduler counts, by upstream's names where upstream counts the same, in Prometheus' text format."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator

FAST_BUCKETS = tuple(0.001 * 2.0**power for power in range(-4, 15))
"""Those of kube-scheduler's attempts, begun four steps lower: most of ours take less than 1 ms."""
SLI_BUCKETS = tuple(0.01 * 2.0**power for power in range(20))

Labels = tuple[tuple[str, str], ...]

_HELP = {
    "scheduler_schedule_attempts_total": "Number of attempts to schedule pods, by the result.",
    "scheduler_scheduling_attempt_duration_seconds": "Scheduling attempt latency in seconds (algorithm + binding).",
    "scheduler_pod_scheduling_sli_duration_seconds": "From the pod entering the queue to its being bound.",
    "scheduler_preemption_attempts_total": "Total preemption attempts in the cluster till now.",
    "scheduler_preemption_victims": "Number of selected preemption victims.",
    "scheduler_pending_pods": "Number of pending pods, by the queue type.",
    "sparsam_scheduler_placed_watts_total": "Predicted extra watts of all placements.",
}


class Histogram:
    """Counts by upper bound."""

    def __init__(self, buckets: tuple[float, ...]) -> None:
        self._buckets = buckets
        self._counts = [0] * (len(buckets) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._buckets, value)] += 1
        self._sum += value

    def lines(self, name: str, labels: Labels) -> Iterator[str]:
        """In Prometheus' text format."""
        total = 0
        for bound, count in zip((*(f"{each:g}" for each in self._buckets), "+Inf"), self._counts, strict=True):
            total += count
            yield f"{name}_bucket{_text((*labels, ('le', bound)))} {total}"
        yield f"{name}_sum{_text(labels)} {self._sum!r}"
        yield f"{name}_count{_text(labels)} {total}"


class Metrics:
    """All of them."""

    def __init__(self) -> None:
        self._counters: dict[str, dict[Labels, float]] = defaultdict(lambda: defaultdict(float))
        self._gauges: dict[str, dict[Labels, float]] = defaultdict(dict)
        self._histograms: dict[str, dict[Labels, Histogram]] = defaultdict(dict)

    def add(self, name: str, amount: float = 1.0, /, **labels: str) -> None:
        """Raise a counter."""
        self._counters[name][tuple(sorted(labels.items()))] += amount

    def set(self, name: str, value: float, /, **labels: str) -> None:
        """Set a gauge."""
        self._gauges[name][tuple(sorted(labels.items()))] = value

    def observe(self, name: str, value: float, buckets: tuple[float, ...], /, **labels: str) -> None:
        """Count a value in a histogram."""
        known = self._histograms[name]
        key = tuple(sorted(labels.items()))
        if key not in known:
            known[key] = Histogram(buckets)
        known[key].observe(value)

    def text(self) -> str:
        """Everything in Prometheus' text format, version 0.0.4."""
        return "".join(f"{line}\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        for kind, families in (("counter", self._counters), ("gauge", self._gauges)):
            for name, values in sorted(families.items()):
                yield from _head(name, kind)
                yield from (f"{name}{_text(labels)} {value!r}" for labels, value in values.items())
        for name, histograms in sorted(self._histograms.items()):
            yield from _head(name, "histogram")
            for labels, histogram in histograms.items():
                yield from histogram.lines(name, labels)


def _head(name: str, kind: str) -> Iterable[str]:
    return f"# HELP {name} {_HELP[name]}", f"# TYPE {name} {kind}"


def _text(labels: Labels) -> str:
    inside = ",".join(f'{name}="{value}"' for name, value in labels)
    return f"{{{inside}}}" if inside else ""
