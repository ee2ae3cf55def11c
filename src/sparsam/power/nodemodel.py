"""The power model of a Kubernetes node, from what its Node object says.

In this order: the annotation with a whole model, the two annotations with idle and full-load watts, and the prior by
thread count. Whatever does not hold up is passed over, and the model's source says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from sparsam.power import learned
from sparsam.power.model import LevelError, ServerModel, decode
from sparsam.power.online import Trust
from sparsam.power.server import MODEL_ANNOTATION, ServerPower, from_annotations

# Of the thread-count prior, as its docstring states them: median and nine of ten servers, at idle and at full load.
PRIOR_ERRORS = (
    LevelError(load=0.0, mean_ratio=0.12, p90_ratio=0.45),
    LevelError(load=1.0, mean_ratio=0.26, p90_ratio=0.61),
)


def node_model(annotations: Mapping[str, str], threads: float) -> ServerModel:
    """The model of a node with this many hardware threads."""
    if MODEL_ANNOTATION not in annotations:
        return linear_model(from_annotations(annotations, threads))
    try:
        return decode(annotations[MODEL_ANNOTATION].encode())
    except ValueError as error:
        fallback = linear_model(from_annotations(annotations, threads))
        return msgspec.structs.replace(fallback, source=f"annotated model unusable: {error}; {fallback.source}")


def node_ends(annotations: Mapping[str, str], threads: float) -> ServerPower:
    """Idle and full-load watts of a node, by the same order; cheap to ask again, as node objects change often."""
    if MODEL_ANNOTATION not in annotations:
        return from_annotations(annotations, threads)
    known = _ends_of(annotations[MODEL_ANNOTATION])
    return from_annotations(annotations, threads) if known is None else known


def ends_as_learned(known: ServerPower, state: Mapping[str, Any]) -> ServerPower:
    """The ends as the node's meter finds them; `state` is `status.model` of its NodePower.

    Where even the learned model is out of tolerance, or its meter went silent, the ends are too wide on purpose: load
    there costs more than on any node of the kind that can be relied on.
    """
    trust, readings = state.get("trust"), state.get("readings") or 0
    if trust == Trust.OUT_OF_TOLERANCE.label or (trust == Trust.UNKNOWN.label and readings):
        span = (1.0 + PRIOR_ERRORS[-1].p90_ratio) * max(known.max_watts - known.idle_watts, 0.0)
        source = f"model not to be relied on ({trust}); {known.source}"
        return ServerPower(known.idle_watts, known.idle_watts + span, True, source)
    try:
        coefficients = learned.decode(str(state.get("learned", "")).encode()).coefficients
    except ValueError:
        return known
    return ServerPower(coefficients[0], sum(coefficients), known.estimated, f"{known.source}, as metered since")


@lru_cache(maxsize=4096)
def _ends_of(text: str) -> ServerPower | None:
    try:
        model = decode(text.encode())
    except ValueError:
        return None
    return ServerPower(model.idle_watts, model.max_watts, model.estimated, model.source)


def linear_model(power: ServerPower) -> ServerModel:
    """A straight line between idle and full load."""
    return ServerModel(
        family="linear",
        coefficients={"idle_watts": power.idle_watts, "range_watts": power.max_watts - power.idle_watts},
        load_range=(0.0, 0.0) if power.estimated else (0.0, 1.0),
        error_by_level=PRIOR_ERRORS if power.estimated else (),
        source=power.source,
        date="",
        estimated=power.estimated,
    )


def error_ratio(model: ServerModel, load: float) -> float | None:
    """The relative error that nine of ten readings stay below at a load; None when none was held out."""
    low, high = model.interval(load)
    watts = model.watts(load)
    ratio = (high - low) / 2.0 / watts if watts > 0.0 else 0.0
    return ratio if math.isfinite(ratio) else None
