"""Whether a node's model still predicts what its meter reads: learned reading by reading, and kept over restarts.

Only a measurement of the whole node teaches anything: an estimate comes from the model itself, and what covers a part
of the node is nothing that the model predicts. Where such a measurement was and no longer is, the learner is told that
one is missing, so that it stops to vouch for what it cannot check.
"""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sparsam.hardware.meter import Gap, Provenance, Reading
from sparsam.metering.files import write_whole
from sparsam.power import learned
from sparsam.power.learned import Learned, Shapes
from sparsam.power.model import ServerModel
from sparsam.power.nodemodel import error_ratio
from sparsam.power.online import Learner, Trust, observe

log = logging.getLogger(__name__)

READINGS_BETWEEN_SAVES = 40
"""Ten minutes of learning at the usual pace: what a crash may cost."""


UNKNOWN_ERROR_RATIO = 0.5
"""Stated for a model that does not know its error."""


@dataclass(frozen=True, slots=True)
class ModelState:
    """How a node's model does; what a scheduler needs in order to go on from here."""

    trust: Trust
    watts: float
    """Expected by the learned model at the node's load, to be held against the meter."""
    error_ratio: float
    """Root mean square of its recent errors, or before any reading the calibration's own."""
    readings: int
    learner: Learner

    @property
    def learned(self) -> Learned | None:
        """What was learned, to be written down; None without a model."""
        return learned.states(self.learner)[0]


class ModelTrust:
    """Follows one node's model."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._kept = _load(path)
        self._model: ServerModel | None = None
        self._shapes: Shapes
        self._learner: Learner
        self._said = Trust.OK
        self._unsaved = 0

    def observe(self, model: ServerModel, load: float | None, reading: Reading | Gap) -> ModelState:
        """Take one cycle's reading at its load (0 to 1) into account; a new model starts anew."""
        if model != self._model:
            self._begin(model)
        terms = self._shapes.terms(np.array([math.nan if load is None else load]))
        watts = _evidence(reading)
        if not math.isnan(watts) or self._learner.learned[0] > 0.0:
            self._learner, _ = observe(self._learner, terms, np.array([watts]))
            self._unsaved += 1
        expected = float(self._learner.watts(terms)[0])
        state = ModelState(
            trust=Trust(int(self._learner.trust()[0])),
            watts=model.watts(load or 0.0) if math.isnan(expected) else expected,
            error_ratio=math.sqrt(float(self._learner.mean_square[0])),
            readings=int(self._learner.learned[0]),
            learner=self._learner,
        )
        self._tell(state)
        return state

    def predict(self, model: ServerModel, load: float) -> tuple[float, float]:
        """Watts at a load and twice the standard error as a ratio, of the learned model; without it the model's own."""
        calibrated = error_ratio(model, load)
        ratio = UNKNOWN_ERROR_RATIO if calibrated is None else calibrated
        if model != self._model or self._learner.learned[0] == 0.0:
            return model.watts(load), ratio
        watts = float(self._learner.watts(self._shapes.terms(np.array([load])))[0])
        recent = 2.0 * math.sqrt(float(self._learner.mean_square[0]))
        return (watts, max(ratio, recent)) if math.isfinite(watts) else (model.watts(load), ratio)

    async def save(self, *, now: bool = False) -> None:
        """Write down what was learned, now and then; trouble is said and costs only what was learned meanwhile."""
        if self._path is None or self._model is None or self._unsaved < (1 if now else READINGS_BETWEEN_SAVES):
            return
        state = learned.states(self._learner)[0]
        if state is None:
            return
        self._unsaved = 0
        try:
            await asyncio.to_thread(write_whole, self._path, learned.encode(state))
        except OSError as error:
            log.error("learned model not written path=%s error=%s", self._path, error)

    def _begin(self, model: ServerModel) -> None:
        self._model = model
        self._shapes, fresh = learned.begin([model])
        self._learner, self._kept = learned.resume(fresh, [self._kept]), None

    def _tell(self, state: ModelState) -> None:
        """Say once when the model can no longer be relied on, and once when it can again."""
        metered = state.readings > 0
        if not metered or state.trust == self._said:
            return
        self._said = state.trust
        level = logging.INFO if state.trust is Trust.OK else logging.WARNING
        log.log(level, "server model trust=%s error_ratio=%.3f", state.trust.label, state.error_ratio)


def _evidence(reading: Reading | Gap) -> float:
    """Measured watts of the whole node, or NaN."""
    if isinstance(reading, Gap) or reading.provenance is not Provenance.MEASURED or not reading.domain.whole_node:
        return math.nan
    return reading.watts


def _load(path: Path | None) -> Learned | None:
    if path is None:
        return None
    try:
        return learned.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.error("learned model unreadable, learning begins anew path=%s error=%s", path, error)
        return None
