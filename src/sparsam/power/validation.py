"""How good the models of a collection of measured servers are: every error is one on levels or servers held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sparsam.power.priors import MINIMUM_SERVERS, CalibrationStep, calibration_plan
from sparsam.power.selection import (
    Collection,
    Comparison,
    HeldOutPrior,
    Score,
    compare,
    folds,
    held_out_prior,
    sparse_errors,
)

# What is measured besides the hardware description: columns of the collection.
ENDS, NOTHING = (0, -1), ()
PLANNED_STEPS = 5

# (servers described by no more than is known, what is known) -> what other servers let expect of them.
PriorOf = Callable[[Collection, str], HeldOutPrior]


@dataclass(frozen=True, slots=True)
class Setting:
    """How good a prediction is when less than the whole curve is known."""

    name: str
    known: str
    """In words."""
    score: Score


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A load step to measure, the error to expect after it, and the error that servers held out then had."""

    step: CalibrationStep
    held_out_mape_pct: float


@dataclass(frozen=True, slots=True)
class Validation:
    """Errors of all families and of the choice among them; the rest is empty without servers to learn from."""

    comparison: Comparison
    learned_from: str
    settings: tuple[Setting, ...]
    plan: tuple[PlannedStep, ...]


def validate(collection: Collection, learned_elsewhere: PriorOf | None = None) -> Validation:
    """Score the models of a collection.

    What servers teach about each other is learned fold by fold within the collection. One too small for that relies on
    `learned_elsewhere`, which must not know any of its servers, or does without.
    """
    if enough_to_learn(collection):
        prior_of: PriorOf = _held_out
        learned_from = "the servers of the other folds (10 folds, by server)"
    elif learned_elsewhere is not None:
        prior_of = learned_elsewhere
        learned_from = "the built-in population, which knows none of these servers"
    else:
        return Validation(compare(collection), "no other server", (), ())
    priors = {known: prior_of(collection.knowing(known), known) for known in ("hardware", "node", "cpu")}
    comparison = compare(collection, priors["hardware"].predict)
    settings = tuple(
        Setting(name, words, Score(name, sparse_errors(priors[known], collection, measured)))
        for name, words, known, measured in (
            ("idle_max_cpu", "idle, full load and CPU name", "cpu", ENDS),
            ("idle_max_hardware", "idle, full load and hardware description", "hardware", ENDS),
            ("hardware", "nothing measured; hardware description", "hardware", NOTHING),
            ("node", "nothing measured; CPU name, sockets, cores, threads, memory", "node", NOTHING),
        )
    )
    return Validation(comparison, learned_from, settings, _planned(priors["hardware"], collection))


def enough_to_learn(collection: Collection) -> bool:
    """Whether every fold leaves enough other servers to learn from."""
    return all(len(known) >= MINIMUM_SERVERS for known, _ in folds(collection.server_ids))


def _held_out(collection: Collection, known: str) -> HeldOutPrior:
    return held_out_prior(collection)


def _planned(prior: HeldOutPrior, collection: Collection) -> tuple[PlannedStep, ...]:
    """The steps that help most after idle and full load, with their errors over the levels in between."""
    plan = calibration_plan(prior.covariance.mean(axis=0), (0.0, 1.0), PLANNED_STEPS)
    measured = [0, collection.load.shape[1] - 1]
    steps = []
    for step in plan:
        measured = sorted([*measured, round(step.load * 10)])
        errors = sparse_errors(prior, collection, measured)
        steps.append(PlannedStep(step, float(100.0 * errors.mean())))
    return tuple(steps)
