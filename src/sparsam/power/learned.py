"""Learners of server models: started from calibrated models, asked at a load, kept as JSON between two runs.

`online` learns coefficients of any terms. Here the terms are those of each node's `ServerModel`: idle watts, the
model's own shape between idle and full load, and load itself. What was learned of a node is a small frozen value that
round-trips exactly (`decode(encode(state)) == state`). It belongs to the calibration that it started from: after a new
one it is dropped, so that no correction outlives what it corrects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from sparsam.power.curves import Floats
from sparsam.power.fleet import Fleet
from sparsam.power.model import ServerModel
from sparsam.power.online import CEILING_RATIO, P90_SIZE, TRACE_LIMIT, Assumption, Learner, assume, start, terms

SCHEMA = "power.sparsam.dev/learned/v1"
TERMS = 3
PROGRESS = ("mean_square", "learned", "missed", "far_off", "above", "below")
UNKNOWN_MAX_WATTS = 1000.0
"""Highest watts of a node without a model, where no other node has one to go by: an assumption."""


class Learned(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What was learned of one node; see `online.Learner` for the fields."""

    schema: str = SCHEMA
    reference: tuple[float, ...]
    error_ratio: float | None
    """None where nothing was calibrated."""
    max_watts: float
    coefficients: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    mean_square: float
    learned: float
    missed: float
    far_off: float
    above: float
    below: float


@dataclass(frozen=True, slots=True)
class Shapes:
    """The models of many nodes as terms of what is learned; arrays of shape (nodes,)."""

    fleet: Fleet
    idle_watts: Floats
    range_watts: Floats

    def terms(self, load: Floats) -> Floats:
        """The terms of each node at its load, of shape (nodes, 3); loads that cannot be stay so, to be refused."""
        rising = self.fleet.known & (self.range_watts > 0.0)
        reached = self.fleet.watts(load) - self.idle_watts
        shape = np.divide(reached, self.range_watts, out=np.zeros_like(load), where=rising)
        return terms(shape, load)


def begin(models: Sequence[ServerModel | None]) -> tuple[Shapes, Learner]:
    """Learners of nodes as their models say, before any reading. A node without a model is unknown and learns nothing.

    Models that other hardware had a say in, and models that state no error, count as not calibrated: their nodes are
    unknown until readings have confirmed them.
    """
    fleet, nodes = Fleet(models), len(models)
    idle, full = fleet.watts(np.zeros(nodes)), fleet.watts(np.ones(nodes))
    span = np.maximum(full - idle, 0.0)
    largest = float(np.max(full, where=fleet.known, initial=0.0)) or UNKNOWN_MAX_WATTS
    reference = np.stack([np.maximum(idle, 0.0), span, np.where(fleet.known, 0.0, np.nan)], axis=1)
    errors = np.array([_error_ratio(model) for model in models], dtype=np.float64)
    max_watts = np.maximum(np.where(fleet.known, full, largest), 1.0)
    return Shapes(fleet, idle, span), start(reference, error_ratio=errors, max_watts=max_watts)


def decide(shapes: Shapes, learner: Learner, load: Floats, added: Floats) -> Assumption:
    """What a scheduler must assume of each node at its load, and of `added` more; see `online.assume`.

    Load beyond a full node draws nothing more, as in `Fleet`.
    """
    before, after = np.clip(load, 0.0, 1.0), np.clip(load + added, 0.0, 1.0)
    return assume(learner, shapes.terms(before), shapes.terms(after))


def states(learner: Learner) -> list[Learned | None]:
    """What was learned of each node; None for nodes without a model."""
    columns = {name: getattr(learner, name).tolist() for name in Learner.__slots__}
    known = np.isfinite(learner.reference.sum(axis=1)).tolist()
    calibrated = np.isfinite(learner.error_ratio).tolist()
    return [
        Learned(
            reference=tuple(columns["reference"][node]),
            error_ratio=columns["error_ratio"][node] if calibrated[node] else None,
            max_watts=columns["max_watts"][node],
            coefficients=tuple(columns["coefficients"][node]),
            covariance=tuple(tuple(row) for row in columns["covariance"][node]),
            **{name: columns[name][node] for name in PROGRESS},
        )
        if known[node]
        else None
        for node in range(len(known))
    ]


def resume(fresh: Learner, kept: Sequence[Learned | None]) -> Learner:
    """A fresh learner that goes on where earlier states left off, one or None for each node.

    A state that began from another calibration is passed over. Raises ValueError when there are not as many.
    """
    nodes = len(fresh.max_watts)
    if len(kept) != nodes:
        raise ValueError(f"{len(kept)} states for {nodes} nodes")
    columns = {name: np.array(getattr(fresh, name)) for name in Learner.__slots__}
    for node, state in enumerate(kept):
        if state is not None and _same_calibration(fresh, node, state):
            for name in ("coefficients", "covariance", *PROGRESS):
                columns[name][node] = getattr(state, name)
    return replace(fresh, **columns)


def encode(state: Learned) -> bytes:
    """The state as JSON."""
    return msgspec.json.encode(state)


def decode(raw: bytes) -> Learned:
    """The state in JSON bytes; raises ValueError for another version and for numbers that no learner can reach."""
    try:
        state = msgspec.json.decode(raw, type=Learned)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not a learned state: {error}") from error
    if state.schema != SCHEMA:
        raise ValueError(f"unknown schema {state.schema!r}; this version reads {SCHEMA!r}")
    _check(state)
    return state


def _error_ratio(model: ServerModel | None) -> float:
    """Root mean square error of the calibration, from the errors that nine of ten readings stay below; or NaN."""
    if model is None or model.estimated or not model.error_by_level:
        return np.nan
    return float(np.mean([one.p90_ratio for one in model.error_by_level])) / P90_SIZE


def _same_calibration(fresh: Learner, node: int, state: Learned) -> bool:
    error = float(fresh.error_ratio[node])
    return (
        state.reference == tuple(fresh.reference[node].tolist())
        and state.max_watts == float(fresh.max_watts[node])
        and state.error_ratio == (error if np.isfinite(error) else None)
    )


def _check(state: Learned) -> None:
    covariance = state.covariance
    if not len(state.reference) == len(state.coefficients) == len(covariance) == TERMS or any(
        len(row) != TERMS for row in covariance
    ):
        raise ValueError(f"a learned state has {TERMS} coefficients")
    ceiling = CEILING_RATIO * state.max_watts
    if state.max_watts <= 0.0 or not all(0.0 <= each <= ceiling for each in (*state.reference, *state.coefficients)):
        raise ValueError(f"coefficients must lie between 0 and {ceiling:g} watts")
    if (state.error_ratio or 0.0) < 0.0 or min(getattr(state, name) for name in PROGRESS if name != "far_off") < 0.0:
        raise ValueError("errors, counts and sums must not be negative")
    matrix = np.array(covariance)
    scale = float(np.trace(matrix))
    if not 0.0 <= scale <= TRACE_LIMIT * (1.0 + 1e-9) or not np.allclose(matrix, matrix.T, rtol=1e-6, atol=1e-12):
        raise ValueError(f"the covariance must be symmetric, with a trace up to {TRACE_LIMIT:g}")
    if float(np.linalg.eigvalsh(matrix).min()) < -1e-6 * max(scale, 1e-12):
        raise ValueError("the covariance must not be negative")
