"""How each kind behaves: defaults, preparation, validation. One file per kind or family.

Every module of this package that has a `STRATEGIES` table, keyed by (group, kind), takes part.
"""

from __future__ import annotations

import pkgutil
from functools import lru_cache
from importlib import import_module

from sparsam.objects.kinds import Resource
from sparsam.objects.strategy import Strategy

_DEFAULT = Strategy()


@lru_cache(maxsize=1)
def strategies() -> dict[tuple[str, str], Strategy]:
    """All registered strategies; raises ValueError when two modules claim one kind."""
    merged: dict[tuple[str, str], Strategy] = {}
    for module in pkgutil.iter_modules(__path__):
        table: dict[tuple[str, str], Strategy] = getattr(import_module(f"{__name__}.{module.name}"), "STRATEGIES", {})
        twice = merged.keys() & table.keys()
        if twice:
            raise ValueError(f"{module.name} registers {sorted(twice)} again")
        merged |= table
    return merged


def strategy_for(resource: Resource) -> Strategy:
    """The behaviour of a built-in resource's kind."""
    return strategy_of(resource.group, resource.kind)


def strategy_of(group: str, kind: str) -> Strategy:
    """The behaviour of a built-in kind; one that only obeys the schema when none is registered."""
    return strategies().get((group, kind), _DEFAULT)
