"""Pod arrivals as columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Obj = Mapping[str, Any]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class UsageSeries:
    """Measured use over time."""

    step_seconds: float
    values: npt.NDArray[np.float32]
    """Shape (series, steps), as a share of the pod's request."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Pod arrivals as columns. Shapes are (pods,) but for templates and series."""

    name: str
    templates: tuple[Obj, ...]
    """v1 Pods without a name; equal pods share one."""
    template: Ints
    arrival_seconds: Floats
    """Ascending."""
    duration_seconds: Floats
    """inf: until the end. For batch: on a core of speed 1; a service holds its time whatever the node."""
    batch: Bools
    usage: Floats
    """Mean used CPU as a share of the request; NaN: the usage model decides."""
    series: Ints
    """Index into `usage_series`, -1: constant `usage`."""
    usage_series: UsageSeries | None
    horizon_seconds: float
