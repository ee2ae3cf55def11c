"""When servers fail: drawn before a run begins, so that every policy meets the same failures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Failures:
    """How often servers fail, how long repair takes, and when anybody notices."""

    mtbf_hours: float
    """Mean time between failures of one server."""
    mttr_hours: float = 4.0
    """Mean time to repair."""
    detect_seconds: float = 340.0
    """Until pods of a failed server are made again; by Kubernetes' defaults 40 s without a Lease and 300 s beyond."""
    seed: int = 0


def draw(failures: Failures, nodes: int, horizon_seconds: float) -> list[tuple[float, int, float]]:
    """(when, which node, when it is repaired) of all failures within the horizon, ascending.

    Time between failures and time to repair are exponential; a server that is being repaired does not fail.
    """
    found = []
    for node in range(nodes):
        chance = np.random.default_rng((failures.seed, node))
        now = chance.exponential(failures.mtbf_hours * HOUR)
        while now < horizon_seconds:
            repaired = now + chance.exponential(failures.mttr_hours * HOUR)
            found.append((float(now), node, float(repaired)))
            now = repaired + chance.exponential(failures.mtbf_hours * HOUR)
    return sorted(found)
