"""All functions of Kubernetes' CEL environment by name."""

from __future__ import annotations

from sparsam.objects.cel.declarations import merged
from sparsam.objects.cel.functions import (
    authorization,
    collections,
    formats,
    network,
    quantities,
    standard,
    strings,
    times,
)

FUNCTIONS = merged(
    standard.FUNCTIONS,
    times.FUNCTIONS,
    strings.FUNCTIONS,
    collections.FUNCTIONS,
    network.FUNCTIONS,
    quantities.FUNCTIONS,
    formats.FUNCTIONS,
    authorization.FUNCTIONS,
)
