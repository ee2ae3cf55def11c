"""How each kind behaves: defaults, preparation, validation. One file per kind or family."""

from __future__ import annotations

from sparsam.objects.kinds import Resource
from sparsam.objects.strategy import Strategy

STRATEGIES: dict[tuple[str, str], Strategy] = {}
_DEFAULT = Strategy()


def strategy_for(resource: Resource) -> Strategy:
    """The behaviour of a resource's kind; one that only obeys the schema when none is registered."""
    return STRATEGIES.get((resource.group, resource.kind), _DEFAULT)
