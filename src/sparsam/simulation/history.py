"""What is left of a run of the twin, for whoever measures, compares and draws it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparsam.scheduling.columns import Floats, Ints
from sparsam.simulation.energy import Parts
from sparsam.simulation.facility import Bill


@dataclass(frozen=True, slots=True)
class History:
    """What happened. Shapes are (pods,) but for the samples."""

    node: Ints
    """Where each pod ran last, -1 for nowhere."""
    started_seconds: Floats
    """When it first ran; NaN for never."""
    ended_seconds: Floats
    """When it ended; NaN if it still ran, or waited, at the end."""
    core_seconds: Floats
    """Work that it got done, on cores of speed 1; batch work that had to begin anew counts once."""
    lost_core_seconds: float
    """Work that was done in vain."""
    failures: int
    """How often a server failed that was awake."""
    restarts: int
    """How often a pod had to begin anew for that."""
    down_joules: float
    """What servers could have taken at most while they were being repaired; the bound knows nothing of repair."""
    bill: Bill | None
    """Of the building, where there is one."""
    evictions: int
    parts: Parts
    joules: Floats
    """Of each node."""
    sample_seconds: Floats
    load: npt.NDArray[np.float32]
    """Utilization, shape (samples, nodes)."""
    state: npt.NDArray[np.int8]
    """States of nodes at the same moments."""
    watts: Floats
    """Of the whole fleet at these moments."""
    transitions: int
    """How often a node was sent to sleep."""
    moves: int
    """How often a pod was moved to empty a node."""
