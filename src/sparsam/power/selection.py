"""Which family describes a server, judged only by load levels that the judged curve has not seen.

Leave-one-level-out: each level between idle and the highest is predicted from all others. The choice among families
is nested in it: for the level being scored, families are compared by how well they predict each *other* level with
both left out, so the score of the choice is honest. What other servers show corrects that small sample: a family's
expected error at a level is its mean error there over servers of other folds, times how much worse or better than
usual it does on this server's other levels (shrunk towards one). (What is learned for those other servers has seen
this one among some four hundred: the only way, and a faint one, in which a level touches its own score.)
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from sparsam.power.curves import Curves, Floats, Rows
from sparsam.power.description import KNOWLEDGE, Description
from sparsam.power.fitting import FAMILIES
from sparsam.power.model import LEARNED
from sparsam.power.priors import (
    LEVELS,
    MINIMUM_SERVERS,
    Population,
    complete,
    learn,
    watts_at,
)

FOLDS = 10
# Bounds the memory that leaving out every pair of levels takes.
SERVERS_AT_ONCE = 500
# How many levels of its own the collection's error of a family counts as when a server's error is judged.
SHRINKAGE_LEVELS = 8.0

# (load, watts, at, server) -> watts at each column of `at`: points of shape (rows, points), `at` of shape (rows, m),
# and the server that each row belongs to.
Predict = Callable[[Floats, Floats, Floats, Rows], Floats]
Fit = Callable[[Floats, Floats], Curves]


@dataclass(frozen=True, slots=True)
class Collection:
    """Measured servers with the same number of load steps; `load` and `watts` have shape (servers, steps)."""

    server_ids: tuple[str, ...]
    descriptions: tuple[Description, ...]
    load: Floats
    watts: Floats

    def take(self, rows: Rows) -> Collection:
        """These servers only."""
        return Collection(
            tuple(self.server_ids[row] for row in rows),
            tuple(self.descriptions[row] for row in rows),
            self.load[rows],
            self.watts[rows],
        )

    def knowing(self, known: str) -> Collection:
        """The same servers, with no more said of their hardware than this (see `description.KNOWLEDGE`)."""
        return replace(self, descriptions=tuple(one.only(KNOWLEDGE[known]) for one in self.descriptions))


@dataclass(frozen=True, slots=True)
class Score:
    """The hold-out error of one way to predict. Relative errors have shape (servers, levels)."""

    name: str
    errors: Floats

    @property
    def pooled_mape_pct(self) -> float:
        """Mean absolute error in per cent over all servers and levels."""
        return float(100.0 * self.errors.mean())

    @property
    def p90_server_mape_pct(self) -> float:
        """The mean error that nine of ten servers stay below."""
        return float(100.0 * np.percentile(self.errors.mean(axis=1), 90))

    @property
    def mape_pct_by_level(self) -> list[float]:
        """Mean absolute error in per cent of each level."""
        return [float(value) for value in 100.0 * self.errors.mean(axis=0)]


@dataclass(frozen=True, slots=True)
class Comparison:
    """All families by leave-one-level-out, and the choice per server."""

    families: tuple[Score, ...]
    choice: Score
    """Errors of the family chosen for each server and level without looking at that level."""
    nested: npt.NDArray[np.intp]
    """Which family that was: an index into `families`, shape (servers, levels)."""
    final: npt.NDArray[np.intp]
    """The family of each server when every level may be looked at: an index into `families`, shape (servers,)."""


def compare(collection: Collection, learned: Predict | None = None) -> Comparison:
    """Score every family on every server, and the choice among them; `learned` is the one that knows other servers."""
    predictors: dict[str, Predict] = {
        name: _predictor(family.fit)
        for name, family in FAMILIES.items()
        if family.minimum_points <= collection.load.shape[1] - 2
    }
    if learned is not None:
        predictors[LEARNED] = learned
    outer = np.stack([leave_one_out(predict, collection) for predict in predictors.values()])
    inner = np.stack([_leave_two_out(predict, collection) for predict in predictors.values()])
    fold = folds_of(collection.server_ids)
    nested = _expected_errors(inner, outer, fold).argmin(axis=0)
    chosen = np.take_along_axis(outer, nested[None], axis=0)[0]
    final = _expected_errors(outer.mean(axis=2, keepdims=True), outer.mean(axis=2, keepdims=True), fold).argmin(axis=0)
    families = tuple(Score(name, errors) for name, errors in zip(predictors, outer, strict=True))
    return Comparison(families, Score("chosen", chosen), nested, final[:, 0])


def leave_one_out(predict: Predict, collection: Collection) -> Floats:
    """Relative errors at every level between idle and the highest, each predicted from all the others."""
    servers, steps = collection.load.shape
    errors = np.empty((servers, steps - 2))
    everyone = np.arange(servers)
    for level in range(1, steps - 1):
        load, watts = (np.delete(values, level, axis=1) for values in (collection.load, collection.watts))
        predicted = predict(load, watts, collection.load[:, level : level + 1], everyone)[:, 0]
        errors[:, level - 1] = np.abs(predicted / collection.watts[:, level] - 1.0)
    return errors


def folds_of(server_ids: Sequence[str]) -> Rows:
    """The fold of each server, by its id alone, so that rows of the same server never part."""
    return np.array([zlib.crc32(one.encode()) % FOLDS for one in server_ids], dtype=np.intp)


def folds(server_ids: Sequence[str]) -> Iterator[tuple[Rows, Rows]]:
    """(rows to learn from, rows to judge) of each fold that has rows to judge."""
    fold = folds_of(server_ids)
    for one in range(FOLDS):
        if (fold == one).any():
            yield np.flatnonzero(fold != one), np.flatnonzero(fold == one)


@dataclass(frozen=True, slots=True)
class HeldOutPrior:
    """For each server of a collection, what the servers of the other folds let expect; never its own fold's."""

    expected: Floats
    """Log watts at the eleven levels, shape (servers, levels)."""
    covariance: Floats
    """Of what the description leaves open, shape (servers, levels, levels)."""

    def predict(self, load: Floats, watts: Floats, at: Floats, server: Rows) -> Floats:
        """Watts at each column of `at`: the expected curve corrected by the points given (a `Predict`)."""
        return watts_at(complete(self.expected[server], self.covariance[server], load, watts), at)


def held_out_prior(collection: Collection, start: Population | None = None) -> HeldOutPrior:
    """Learn fold by fold, each from the servers of the others.

    `start` is a population learned elsewhere, which must know none of these servers: then only what it leaves open is
    learned. Raises ValueError when the other folds of one have fewer servers than can be learned from.
    """
    servers, levels = len(collection.server_ids), len(LEVELS)
    expected = np.zeros((servers, levels)) if start is None else start.expected(collection.descriptions)
    learned = np.empty((servers, levels))
    covariance = np.empty((servers, levels, levels))
    for known, judged in folds(collection.server_ids):
        others = collection.take(known)
        population = learn(others.descriptions, others.load, others.watts, expected[known])
        learned[judged] = population.expected([collection.descriptions[row] for row in judged])
        covariance[judged] = population.covariance
    return HeldOutPrior(expected + learned, covariance)


def prior_of(population: Population, collection: Collection) -> HeldOutPrior:
    """What a population learned elsewhere lets expect; the caller sees to it that it knows none of these servers."""
    covariance = np.broadcast_to(population.covariance, (len(collection.server_ids), *population.covariance.shape))
    return HeldOutPrior(population.expected(collection.descriptions), covariance)


def sparse_errors(prior: HeldOutPrior, collection: Collection, measured: Sequence[int]) -> Floats:
    """Relative errors at the levels between idle and the highest when only these columns are measured."""
    columns, everyone = list(measured), np.arange(len(collection.server_ids))
    load, watts = collection.load[:, columns], collection.watts[:, columns]
    predicted = prior.predict(load, watts, collection.load[:, 1:-1], everyone)
    return np.asarray(np.abs(predicted / collection.watts[:, 1:-1] - 1.0))


def _predictor(fit: Fit) -> Predict:
    def predict(load: Floats, watts: Floats, at: Floats, server: Rows) -> Floats:
        curves = fit(load, watts)
        return np.stack([curves.watts(at[:, column]) for column in range(at.shape[1])], axis=1)

    return predict


def _leave_two_out(predict: Predict, collection: Collection) -> Floats:
    """Mean relative error over the other levels while a level is out, shape (servers, levels).

    Entry [s, j] leaves level j out together with each other level k in turn and looks at the error at k only.
    """
    servers, steps = collection.load.shape
    total = np.zeros((servers, steps))
    pairs = list(combinations(range(1, steps - 1), 2))
    kept = np.array([[column for column in range(steps) if column not in pair] for pair in pairs])
    for first in range(0, servers, SERVERS_AT_ONCE):
        rows = np.arange(first, min(first + SERVERS_AT_ONCE, servers))
        load, watts = collection.load[rows], collection.watts[rows]
        points = [values[:, kept].reshape(-1, steps - 2) for values in (load, watts)]
        at, truth = (values[:, np.array(pairs)].reshape(-1, 2) for values in (load, watts))
        predicted = predict(points[0], points[1], at, np.repeat(rows, len(pairs)))
        errors = np.abs(predicted / truth - 1.0).reshape(len(rows), len(pairs), 2)
        for index, (low, high) in enumerate(pairs):
            total[rows, low] += errors[:, index, 1]
            total[rows, high] += errors[:, index, 0]
    return np.asarray(total[:, 1:-1] / (steps - 3))


def _expected_errors(own: Floats, errors: Floats, fold: Rows) -> Floats:
    """The error to expect of each family, server and level; all of shape (families, servers, levels).

    `own` is each server's error on what it may look at, `errors` what other servers showed at the level itself. With
    too few servers to learn from, a server's own error stands alone.
    """
    if own.shape[1] < MINIMUM_SERVERS:
        return own
    usual_own, usual = (_mean_over_other_folds(values, fold) for values in (own, errors))
    levels = errors.shape[2] if errors.shape[2] > 1 else SHRINKAGE_LEVELS
    ratio = (levels * own / usual_own + SHRINKAGE_LEVELS) / (levels + SHRINKAGE_LEVELS)
    return np.asarray(usual * ratio)


def _mean_over_other_folds(values: Floats, fold: Rows) -> Floats:
    total = values.sum(axis=1, keepdims=True)
    result = np.empty_like(values)
    for one in np.unique(fold):
        inside = fold == one
        others = total - values[:, inside].sum(axis=1, keepdims=True)
        result[:, inside] = others / max(1, len(fold) - int(inside.sum()))
    return result
