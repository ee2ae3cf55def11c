"""Learning from telemetry as it comes: each node's model follows its meter, and says when it is not to be trusted.

The model is linear in its coefficients: watts are the sum of terms that rise with load (see `terms`), each with a
coefficient within bounds, so it stays monotone. Coefficients follow by recursive least squares with directional
forgetting (Kulhavy and Karny, "Tracking of slowly varying parameters by directional forgetting", IFAC World Congress
1984): only what a sample speaks about is forgotten, so a node that idles for a month still knows its full load, and the
covariance does not blow up.

Two things are watched. The calibrated coefficients, which never move, show by Page's cumulative sums ("Continuous
inspection schemes", Biometrika 1954) whether the server has changed; the errors of the learned ones show whether it can
be predicted at all. A reading that cannot be true is refused before it touches anything.

All state is columns, one row for each node; a step returns a new state and leaves the old one as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from sparsam.power.curves import Floats

Codes = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]

MEMORY_RATIO = 0.995
"""What is left of a sample's weight after one more of its kind: about 200 samples are remembered."""
INITIAL_VARIANCE = 0.1
"""The calibrated coefficients count like ten samples."""
TRACE_LIMIT = 10.0
"""Of the covariance; more would let a single sample turn the model over."""

SPIKE_RATIO = 0.5
SPIKES_IN_A_ROW = 5
"""So many readings far off, one after the other, are no spikes: the server has changed."""
CEILING_RATIO = 3.0
"""No reading beyond so many times the node's highest watts is true."""
HIGHEST_TERM = 1.1
"""Terms are shares; a larger one comes from a load in per cent or from a broken counter."""

SLACK, ALARM = 1.0, 10.0
"""In standard deviations: offsets up to the slack are borne for ever; one three times as large alarms in 6 readings."""
ERROR_MEMORY_RATIO = 0.98
TOLERANCE_RATIO = 0.15
"""Learned models with a larger root mean square error are out of tolerance."""
CONFIRMING_SAMPLES = 30
"""A node that nobody calibrated is unknown until so many readings were learned."""
STALE_SAMPLES = 10
"""So many refused or missing readings in a row, and a node that was metered is unknown."""
P90_SIZE = 1.6449


class Trust(IntEnum):
    """How far a node's predictions may be relied on; worse is higher."""

    OK = 0
    DRIFTING = 1
    """Persistently off from its calibration: learn on, calibrate again."""
    OUT_OF_TOLERANCE = 2
    """Not even the learned model predicts it."""
    UNKNOWN = 3
    """No model, or no readings."""

    @property
    def label(self) -> str:
        """As people and annotations spell it."""
        return self.name.lower()


class Refusal(IntEnum):
    """Why a reading was not learned."""

    NONE = 0
    MISSING = 1
    """Not a number."""
    NOT_POSITIVE = 2
    """A node that runs draws more than nothing."""
    TOO_MUCH = 3
    """More than the node can draw."""
    SPIKE = 4
    """Far from what was predicted, and not yet often enough to be believed."""
    NO_MODEL = 5
    IMPOSSIBLE_LOAD = 6
    """Below zero or beyond a full node."""


@dataclass(frozen=True, slots=True)
class Learner:
    """State of all nodes; arrays of shape (nodes,) unless said otherwise."""

    reference: Floats
    """Calibrated coefficients, shape (nodes, terms); NaN in the rows of nodes without a model."""
    error_ratio: Floats
    """Root mean square error of the calibration; NaN where nothing was calibrated."""
    max_watts: Floats
    coefficients: Floats
    """Learned, shape (nodes, terms)."""
    covariance: Floats
    """In units of the readings' variance, shape (nodes, terms, terms)."""
    mean_square: Floats
    """Of recent relative errors of the learned model."""
    learned: Floats
    """Readings learned."""
    missed: Floats
    """Readings refused or missing since the last good one."""
    far_off: Floats
    """Readings far above (positive) or far below (negative) the prediction, in a row."""
    above: Floats
    below: Floats
    """Page's sums of the calibration's errors."""

    def watts(self, terms: Floats) -> Floats:
        """Predicted watts; `terms` of shape (nodes, terms). NaN for nodes without a model."""
        return np.asarray(np.einsum("nt,nt->n", terms, self.coefficients))

    def marginal_watts(self, terms: Floats, after: Floats) -> Floats:
        """Extra watts when the terms become those of a higher load."""
        return self.watts(after - terms)

    def interval(self, terms: Floats) -> tuple[Floats, Floats]:
        """Watts that nine of ten readings lie between: scatter of recent readings, and doubt of the coefficients."""
        watts = self.watts(terms)
        doubt = np.einsum("nt,nt->n", np.einsum("ntu,nu->nt", self.covariance, terms), terms)
        half = P90_SIZE * watts * np.sqrt(self.mean_square * (1.0 + doubt))
        return watts - half, watts + half

    def trust(self) -> Codes:
        """A `Trust` for each node."""
        calibrated = np.isfinite(self.error_ratio)
        modelled = np.isfinite(self.coefficients).all(axis=1)
        unconfirmed = ~calibrated & (self.learned < CONFIRMING_SAMPLES)
        stale = (self.learned > 0) & (self.missed >= STALE_SAMPLES)
        poor = (self.mean_square > TOLERANCE_RATIO**2) | (np.abs(self.far_off) >= SPIKES_IN_A_ROW)
        drifting = np.maximum(self.above, self.below) > ALARM
        states = [Trust.UNKNOWN, Trust.OUT_OF_TOLERANCE, Trust.DRIFTING]
        return np.select([~modelled | unconfirmed | stale, poor, drifting], states, Trust.OK).astype(np.int8)

    def take(self, nodes: npt.NDArray[np.intp]) -> Learner:
        """The rows of some nodes, in the order given."""
        return Learner(*(getattr(self, name)[nodes] for name in self.__slots__))


def terms(shape: Floats, load: Floats) -> Floats:
    """The terms of a calibrated curve: constant, the curve's own shape, and load; shape (nodes, 3).

    `shape` is the curve's share of the way from idle to full, (P(u) - P(0)) / (P(1) - P(0)). The first coefficient is
    then idle watts, the others follow what has changed since.
    """
    return np.stack([np.ones_like(load), shape, load], axis=1)


def start(reference: Floats, *, error_ratio: Floats, max_watts: Floats) -> Learner:
    """Before any reading; see `Learner` for the arrays. Raises ValueError on negative coefficients or wrong shapes."""
    nodes, count = reference.shape
    if error_ratio.shape != (nodes,) or max_watts.shape != (nodes,):
        raise ValueError(f"{nodes} nodes have coefficients; errors and highest watts must be as many")
    if (reference < 0.0).any() or not (max_watts > 0.0).all():
        raise ValueError("coefficients must not be negative, and highest watts must be above zero")
    blank = np.zeros(nodes)
    # Until readings say otherwise, a node that nobody calibrated errs by as much as is tolerated.
    assumed = np.where(np.isfinite(error_ratio), error_ratio, TOLERANCE_RATIO)
    covariance = np.tile(INITIAL_VARIANCE * np.eye(count), (nodes, 1, 1))
    return Learner(
        reference, error_ratio, max_watts, reference, covariance, assumed**2, blank, blank, blank, blank, blank
    )


def observe(learner: Learner, terms: Floats, watts: Floats) -> tuple[Learner, Codes]:
    """The state after one reading of each node, and a `Refusal` for each.

    `terms` has shape (nodes, terms), `watts` shape (nodes,); NaN where there was no reading. A reading that is refused
    changes no coefficient, sum or error of its node: it only counts as missed.
    """
    refusal = _refusals(learner, terms, watts)
    usable = refusal == Refusal.NONE
    seen = np.where(usable[:, None], terms, 0.0)
    predicted = np.where(usable, learner.watts(seen), 1.0)
    read = np.where(usable, watts, predicted)
    error = read - predicted
    ratio = error / np.maximum(predicted, 1e-9)
    far_off = np.where(usable, _run_length(learner.far_off, ratio), learner.far_off)
    spike = usable & (far_off != 0.0) & (np.abs(far_off) < SPIKES_IN_A_ROW)
    refusal = np.where(spike, Refusal.SPIKE, refusal).astype(np.int8)
    good = usable & ~spike
    coefficients, covariance = _learn(learner, seen, error)
    above, below = _page(learner, seen, read)
    forgotten = ERROR_MEMORY_RATIO * learner.mean_square + (1.0 - ERROR_MEMORY_RATIO) * ratio**2

    def kept(new: Floats, old: Floats) -> Floats:
        return np.where(good.reshape(-1, *([1] * (old.ndim - 1))), new, old)

    after = replace(
        learner,
        coefficients=kept(coefficients, learner.coefficients),
        covariance=kept(covariance, learner.covariance),
        mean_square=kept(forgotten, learner.mean_square),
        learned=learner.learned + good,
        missed=np.where(good, 0.0, learner.missed + 1.0),
        far_off=far_off,
        above=kept(above, learner.above),
        below=kept(below, learner.below),
    )
    return after, refusal


@dataclass(frozen=True, slots=True)
class Assumption:
    """What a scheduler must assume; arrays of shape (nodes,), never NaN, never negative."""

    watts: Floats
    """Upper bound of what the node draws now."""
    marginal_watts: Floats
    """What the added load costs: as predicted where the node is trusted, else an upper bound."""


def assume(learner: Learner, terms: Floats, after: Floats) -> Assumption:
    """Watts to decide by: the upper end of the interval, and for what is not known the worst of all nodes.

    So a node without model or meter always looks worse than any node that has them (a score of zero watts for what is
    unknown is how other schedulers come to prefer broken nodes). A node whose load is not a number is unknown too.
    """
    predicted, extra = learner.watts(terms), learner.marginal_watts(terms, after)
    trust = np.where(np.isfinite(predicted + extra), learner.trust(), Trust.UNKNOWN)
    known, sound = trust < Trust.UNKNOWN, trust < Trust.OUT_OF_TOLERANCE
    _, high = learner.interval(terms)
    excess = np.divide(high, predicted, out=np.ones_like(high), where=predicted > 0.0)
    marginal = np.maximum(np.where(known, extra, 0.0), 0.0)
    marginal = np.where(known & (trust > Trust.OK), marginal * excess, marginal)
    fallback = float(learner.max_watts.max(initial=0.0))
    dearest = float(marginal[sound].max()) if sound.any() else fallback
    marginal = np.where(sound, marginal, np.maximum(marginal, dearest))
    dearest = float(marginal[known].max()) if known.any() else fallback
    return Assumption(
        watts=np.where(known, np.maximum(high, 0.0), CEILING_RATIO * learner.max_watts),
        marginal_watts=np.where(known, marginal, (1.0 + TOLERANCE_RATIO) * dearest),
    )


def _refusals(learner: Learner, terms: Floats, watts: Floats) -> Codes:
    modelled = np.isfinite(learner.coefficients).all(axis=1)
    finite = np.isfinite(watts) & np.isfinite(terms).all(axis=1)
    impossible = (terms < 0.0).any(axis=1) | (terms > HIGHEST_TERM).any(axis=1)
    too_much = watts > CEILING_RATIO * learner.max_watts
    reasons = [Refusal.NO_MODEL, Refusal.MISSING, Refusal.IMPOSSIBLE_LOAD, Refusal.NOT_POSITIVE, Refusal.TOO_MUCH]
    cases = [~modelled, ~finite, impossible, watts <= 0.0, too_much]
    return np.select(cases, reasons, Refusal.NONE).astype(np.int8)


def _run_length(before: Floats, ratio: Floats) -> Floats:
    """Readings far off in a row, counted up on either side; zero after one that is not."""
    side = np.where(np.abs(ratio) > SPIKE_RATIO, np.sign(ratio), 0.0)
    same = side * before >= 0.0
    return np.where(side == 0.0, 0.0, np.where(same, before, 0.0) + side)


def _learn(learner: Learner, terms: Floats, error: Floats) -> tuple[Floats, Floats]:
    """Recursive least squares with directional forgetting, then the bounds."""
    gain = np.einsum("ntu,nu->nt", learner.covariance, terms)
    reach = np.einsum("nt,nt->n", terms, gain)
    coefficients = learner.coefficients + gain * (error / (1.0 + reach))[:, None]
    weight = MEMORY_RATIO - (1.0 - MEMORY_RATIO) / np.maximum(reach, 1e-12)
    change = weight / (MEMORY_RATIO * (1.0 + reach))
    covariance = learner.covariance - (change[:, None] * gain)[:, :, None] * gain[:, None, :]
    trace = np.einsum("ntt->n", covariance)
    covariance = covariance * np.minimum(1.0, TRACE_LIMIT / trace)[:, None, None]
    return np.clip(coefficients, 0.0, CEILING_RATIO * learner.max_watts[:, None]), covariance


def _page(learner: Learner, terms: Floats, watts: Floats) -> tuple[Floats, Floats]:
    """Page's sums of the calibration's standardised errors, capped so that a cured node is believed again."""
    expected = np.maximum(np.einsum("nt,nt->n", terms, learner.reference), 1e-9)
    spread = np.where(np.isfinite(learner.error_ratio), np.maximum(learner.error_ratio, 1e-3), TOLERANCE_RATIO)
    size = (watts / expected - 1.0) / spread
    above = np.clip(learner.above + size - SLACK, 0.0, 2.0 * ALARM)
    below = np.clip(learner.below - size - SLACK, 0.0, 2.0 * ALARM)
    return above, below
