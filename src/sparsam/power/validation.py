"""How good the models of a collection of measured servers are: every error is one on levels or servers held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sparsam.power.description import KNOWLEDGE
from sparsam.power.priors import MINIMUM_SERVERS, CalibrationStep, Population, calibration_plan
from sparsam.power.selection import (
    Collection,
    Comparison,
    HeldOutPrior,
    Score,
    compare,
    folds,
    held_out_prior,
    prior_of,
    sparse_errors,
)

# What is measured besides the hardware description: columns of the collection.
ENDS, NOTHING = (0, -1), ()
PLANNED_STEPS = 5

# What is known of the hardware -> a population learned from other servers that know as much.
Elsewhere = Callable[[str], Population]


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


def validate(collection: Collection, elsewhere: Elsewhere | None = None) -> Validation:
    """Score the models of a collection.

    What servers teach about each other is learned fold by fold within the collection, on top of a population learned
    `elsewhere` when there is one, which must not know any of these servers. A collection too small to learn from relies
    on that alone, or does without.
    """
    teachers = [
        *(["a population learned elsewhere, which knows none of these servers"] if elsewhere else []),
        *(["the servers of the other folds (10 folds, by server)"] if enough_to_learn(collection) else []),
    ]
    if not teachers:
        return Validation(compare(collection), "no other server", (), ())
    priors = {known: _prior(collection.knowing(known), elsewhere(known) if elsewhere else None) for known in KNOWLEDGE}
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
    return Validation(comparison, " and ".join(teachers), settings, _planned(priors["hardware"], collection))


def enough_to_learn(collection: Collection) -> bool:
    """Whether every fold leaves enough other servers to learn from."""
    return all(len(known) >= MINIMUM_SERVERS for known, _ in folds(collection.server_ids))


def _prior(collection: Collection, population: Population | None) -> HeldOutPrior:
    if population is not None and not enough_to_learn(collection):
        return prior_of(population, collection)
    return held_out_prior(collection, population)


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
