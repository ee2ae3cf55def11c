"""The power model of a Kubernetes node, from what its Node object says.

In this order: the annotation with a whole model, the two annotations with idle and full-load watts, and the prior by
thread count. Whatever does not hold up is passed over, and the model's source says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from sparsam.power.model import LevelError, ServerModel, decode
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
