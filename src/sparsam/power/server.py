"""What a server draws where two numbers are all that is known: watts from utilization.

The linear family, `P(u) = idle + (max - idle) * u`: the first-order fit of wall power against CPU utilization
(Fan, Weber, Barroso, "Power provisioning for a warehouse-sized computer", ISCA 2007, section 4). Fitted models
(`power.model`) go before it where there are any.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

IDLE_ANNOTATION = "power.sparsam.dev/idle-watts"
MAX_ANNOTATION = "power.sparsam.dev/max-watts"
MODEL_ANNOTATION = "power.sparsam.dev/server-model"
"""A whole model as JSON (`power.model`)."""

PRIOR_IDLE_WATTS = 11.0
PRIOR_IDLE_WATTS_PER_THREAD = 0.376
PRIOR_MAX_WATTS = 31.0
PRIOR_MAX_WATTS_PER_THREAD = 2.61
PRIOR_IDLE_ERROR_RATIO = 0.12
PRIOR_MAX_ERROR_RATIO = 0.26


@dataclass(frozen=True, slots=True)
class ServerPower:
    """Idle and full-load watts of one server, and where they come from."""

    idle_watts: float
    max_watts: float
    estimated: bool
    source: str

    def watts(self, utilization: float) -> float:
        """Predicted watts at a utilization in 0..1 (cut to that range)."""
        return self.idle_watts + (self.max_watts - self.idle_watts) * min(max(utilization, 0.0), 1.0)


def prior_for(threads: float) -> ServerPower:
    """A guess from the number of hardware threads alone.

    Straight lines through 168 published SPECpower_ssj2008 results of hardware from 2015 on, by least absolute
    relative error; the median error is 12 % at idle and 26 % at full load (90 % of servers: within 45 and 61 %).
    """
    return ServerPower(
        idle_watts=round(PRIOR_IDLE_WATTS + PRIOR_IDLE_WATTS_PER_THREAD * threads, 1),
        max_watts=round(PRIOR_MAX_WATTS + PRIOR_MAX_WATTS_PER_THREAD * threads, 1),
        estimated=True,
        source=f"prior by thread count, median error {PRIOR_MAX_ERROR_RATIO:.0%} at full load",
    )


def from_annotations(annotations: Mapping[str, str], threads: float) -> ServerPower:
    """The server's power from its node's annotations; the prior where they are absent.

    An annotation that is not a number, negative, or a maximum below idle makes the whole pair unusable: then the
    prior is taken and its source says so, since a wrong model must never make a node look attractive.
    """
    if IDLE_ANNOTATION not in annotations or MAX_ANNOTATION not in annotations:
        return prior_for(threads)
    try:
        idle, full = float(annotations[IDLE_ANNOTATION]), float(annotations[MAX_ANNOTATION])
    except ValueError:
        idle, full = float("nan"), float("nan")
    if not 0.0 <= idle <= full < float("inf"):
        prior = prior_for(threads)
        return ServerPower(prior.idle_watts, prior.max_watts, True, f"annotations unusable; {prior.source}")
    return ServerPower(idle, full, False, "node annotations")
