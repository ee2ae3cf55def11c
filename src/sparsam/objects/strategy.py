"""What a kind adds to the generic life of an object: a Strategy of small pure functions.

The generic pipeline (`pipeline`) decodes, defaults, admits, prepares and validates every object alike; a
kind that needs more registers a Strategy under its (group, kind) in `strategies`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sparsam.errors import Cause

Obj = dict[str, Any]


def _nothing(_obj: Obj) -> None: ...


def _nothing_on_update(_new: Obj, _old: Obj) -> None: ...


def _valid(_obj: Obj) -> list[Cause]:
    return []


def _valid_update(_new: Obj, _old: Obj) -> list[Cause]:
    return []


def _no_warnings(_new: Obj, _old: Obj | None) -> list[str]:
    return []


@dataclass(frozen=True, slots=True)
class Strategy:
    """Hooks of one kind. Functions that change an object change it in place; validators return causes."""

    default: Callable[[Obj], None] = _nothing
    """Fill in what the client left out (runs on create, update and on each patch's result)."""
    prepare_create: Callable[[Obj], None] = _nothing
    """Clear or set what a client may not choose on create (status, generation-like fields)."""
    prepare_update: Callable[[Obj, Obj], None] = _nothing_on_update
    """(new, old): the same for an update of the main resource; the pipeline has already restored old status."""
    prepare_status: Callable[[Obj, Obj], None] = _nothing_on_update
    """(new, old) for updates through /status; the pipeline has already restored the old spec."""
    validate: Callable[[Obj], list[Cause]] = _valid
    """Causes for a create, in upstream's order; metadata itself is checked by the pipeline."""
    validate_update: Callable[[Obj, Obj], list[Cause]] = _valid_update
    """(new, old): causes for an update, upstream's ValidateXUpdate: it says itself whether `validate` runs too."""
    validate_status: Callable[[Obj, Obj], list[Cause]] = _valid_update
    """(new, old): causes for an update through /status."""
    warnings: Callable[[Obj, Obj | None], list[str]] = _no_warnings
    """(new, old or None): texts for Warning headers."""
    name_rule: str = "dns-subdomain"
    """Rule for metadata.name: dns-subdomain, dns-label, dns1035-label, path-segment."""
    has_status: bool = True
    """Whether the main resource ignores status (it has a status subresource)."""
    has_generation: bool = False
    """Whether metadata.generation starts at 1 and rises when the spec changes."""
    generation_fields: tuple[str, ...] | None = ("spec",)
    """Top-level fields whose change raises the generation; None for all but the metadata."""
    allow_unconditional_update: bool = True
    """Whether an update without resourceVersion is taken."""
    allow_create_on_update: bool = False
    """Whether PUT to a name that does not exist creates it."""
    grace_seconds: Callable[[Obj], int] | None = None
    """Default grace period of a graceful delete in seconds; None deletes at once."""
