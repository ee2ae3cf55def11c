"""From a node's telemetry to its model: the family that predicts stretches of time best which it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import msgspec

from sparsam.power.calibration import FEW_POINTS, Peers, estimate
from sparsam.power.curves import Floats
from sparsam.power.fitting import FAMILIES
from sparsam.power.model import ServerModel, fit_model
from sparsam.power.streaming import (
    CellErrors,
    LoadStatistics,
    Steps,
    error_by_level,
    errors_of,
    held_out_folds,
    steps_of,
)

COVERED_LOAD = 0.95
"""A model of telemetry that never came this high says nothing about full load by itself."""


@dataclass(frozen=True, slots=True)
class FamilyScore:
    """How well one family predicts stretches of time held out."""

    family: str
    rms_pct: float
    """Root mean square of relative errors, in per cent."""
    chosen: bool


@dataclass(frozen=True, slots=True)
class TelemetryFit:
    """The model, the steps that it goes through, and the families that it was chosen from."""

    model: ServerModel
    steps: Steps
    scores: tuple[FamilyScore, ...]
    held_out: CellErrors
    """Of the chosen family, on stretches of time that it had not seen."""


def fit_telemetry(
    statistics: LoadStatistics,
    *,
    source: str,
    date: str,
    server_id: str = "",
    peers: Peers | None = None,
    idle_watts: float | None = None,
) -> TelemetryFit:
    """Fit every family and keep the best; raises ValueError.

    Where the telemetry never came near full load, servers like this one say how the curve goes on (`peers`); without
    them the family is extended no further than it was seen.
    """
    steps = steps_of(statistics, idle_watts=idle_watts)
    folds = held_out_folds(statistics)
    if len(folds) < 2:
        raise ValueError("all samples lie in one short stretch of time; there is nothing to judge a model by")
    names = [name for name, family in FAMILIES.items() if family.minimum_points <= len(steps.load)]
    if len(steps.load) < FEW_POINTS:
        names = [name for name in names if name in ("linear", "piecewise")] or names[:1]
    held_out = {name: _held_out(statistics, name, folds, idle_watts) for name in names}
    best = min(held_out, key=lambda name: held_out[name].rms_pct)
    errors = error_by_level(held_out[best])
    if steps.load[-1] < COVERED_LOAD and peers is not None:
        model = estimate(peers, date=date, load=steps.load, watts=steps.watts, server_id=server_id)
        model = msgspec.structs.replace(model, source=f"{source}; above {steps.load[-1]:.0%} load: {model.source}")
    else:
        model = fit_model(best, steps.load, steps.watts, source=source, date=date, errors=errors, server_id=server_id)
    scores = tuple(FamilyScore(name, each.rms_pct, chosen=name == best) for name, each in held_out.items())
    return TelemetryFit(model, steps, scores, held_out[best])


def _held_out(statistics: LoadStatistics, family: str, folds: Sequence[Floats], idle_watts: float | None) -> CellErrors:
    """Errors of a family, each stretch predicted from the others."""
    found = []
    for fold in folds:
        steps = steps_of(statistics.without(fold), idle_watts=idle_watts)
        if len(steps.load) < FAMILIES[family].minimum_points:
            raise ValueError("a stretch of time holds all samples of some load levels; take longer telemetry")
        model = fit_model(family, steps.load, steps.watts, source="", date="")
        found.append(errors_of(statistics, model, fold))
    return reduce(CellErrors.plus, found)
