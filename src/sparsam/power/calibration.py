"""From what is known of one server to its model: load steps, a few points, or nothing but its description."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from sparsam.power.curves import Floats
from sparsam.power.description import Description
from sparsam.power.model import LEARNED, LevelError, ServerModel, check_points, fit_model
from sparsam.power.priors import LEVELS, Population, complete, deviation
from sparsam.power.selection import Collection, Score, compare, prior_of

# Fewer steps than this leave too little to judge a family by when two are left out.
FEW_POINTS = 6
# Of a Gaussian, in standard deviations: the mean size, and what nine of ten values stay below.
MEAN_SIZE, P90_SIZE = 0.7979, 1.6449


@dataclass(frozen=True, slots=True)
class Peers:
    """What other servers can say about this one: a population, and where this one stands in it."""

    population: Population
    description: Description


def calibrate(
    load: Floats, watts: Floats, *, source: str, date: str, peers: Peers | None = None, server_id: str = ""
) -> ServerModel:
    """The model of a server from its load steps, arrays of shape (steps,): the family of least hold-out error.

    With few steps it is the curve of servers like it, corrected by these steps; without peers, straight lines between
    them. Raises ValueError for points that carry no curve.
    """
    check_points(load, watts, minimum=2 if peers else 3)
    if len(load) < FEW_POINTS:
        if peers:
            return estimate(peers, date=date, load=load, watts=watts, server_id=server_id)
        return fit_model("piecewise", load, watts, source=source, date=date, server_id=server_id)
    description = peers.description if peers else Description()
    collection = Collection((server_id,), (description,), load[None], watts[None])
    comparison = compare(collection, prior_of(peers.population, collection).predict if peers else None)
    score = comparison.families[int(comparison.final[0])]
    if score.name == LEARNED and peers:
        load, watts = _filled_in(peers, load, watts)
    errors = level_errors(collection.load[0, 1:-1], score)
    return fit_model(score.name, load, watts, source=source, date=date, errors=errors, server_id=server_id)


def estimate(
    peers: Peers, *, date: str, load: Floats | None = None, watts: Floats | None = None, server_id: str = ""
) -> ServerModel:
    """A model from the hardware description, corrected by the few points that are known; labelled as estimated.

    Its errors are those that the residuals of the population let expect.
    """
    load = np.zeros(0) if load is None else load
    watts = np.zeros(0) if watts is None else watts
    sizes = deviation(peers.population.covariance, load.tolist())
    errors = [
        LevelError(load=float(level), mean_ratio=float(MEAN_SIZE * size), p90_ratio=float(P90_SIZE * size))
        for level, size in zip(LEVELS, sizes, strict=True)
    ]
    known = f"{len(load)} points measured" if len(load) else "nothing measured"
    model = fit_model(
        LEARNED,
        *_filled_in(peers, load, watts),
        source=f"prior from {peers.population.basis(peers.description)}, {known}",
        date=date,
        errors=errors,
        server_id=server_id,
    )
    span = (float(load.min()), float(load.max())) if len(load) else (0.0, 0.0)
    return msgspec.structs.replace(model, load_range=span, estimated=True)


def level_errors(load: Floats, score: Score) -> list[LevelError]:
    """The hold-out errors of a score by level, loads of shape (levels,).

    One server gives one error for each level, which is mostly noise: half of it counts, and half of their mean.
    """
    if len(score.errors) > 1:
        means, high = score.errors.mean(axis=0), np.percentile(score.errors, 90, axis=0)
    else:
        means = (score.errors[0] + score.errors[0].mean()) / 2.0
        high = means * (P90_SIZE / MEAN_SIZE)
    return [
        LevelError(load=float(one), mean_ratio=float(mean), p90_ratio=float(p90))
        for one, mean, p90 in zip(load, means, high, strict=True)
    ]


def _filled_in(peers: Peers, load: Floats, watts: Floats) -> tuple[Floats, Floats]:
    """The measured points, and between them the levels as servers like this one let expect; never falling."""
    expected = peers.population.expected([peers.description])
    curve = np.exp(complete(expected, peers.population.covariance, load[None], watts[None])[0])
    free = np.array([not (np.abs(load - level) < 0.03).any() for level in LEVELS], dtype=bool)
    knots = np.concatenate([load, LEVELS[free]])
    order = np.argsort(knots)
    values = np.concatenate([watts, curve[free]])[order]
    measured = np.concatenate([np.ones(len(load), dtype=bool), np.zeros(int(free.sum()), dtype=bool)])[order]
    # What is filled in yields to what is measured: it stays between the readings on either side.
    lower = np.maximum.accumulate(np.where(measured, values, -np.inf))
    upper = np.minimum.accumulate(np.where(measured, values, np.inf)[::-1])[::-1]
    return knots[order], np.maximum.accumulate(np.clip(values, lower, np.maximum(lower, upper)))
