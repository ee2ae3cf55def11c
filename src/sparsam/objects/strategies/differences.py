"""What changed between two JSON values, for messages that refuse a change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sparsam.objects.fields import render

_LINES = 20


def describe(old: Any, new: Any) -> str:
    """One line for each leaf taken away (`-`) or put in (`+`), with its path; long lists are cut."""
    lines = list(_lines(old, new, ""))
    if len(lines) > _LINES:
        lines = [*lines[:_LINES], f"  ... and {len(lines) - _LINES} more"]
    return "\n".join(lines)


def _lines(old: Any, new: Any, path: str) -> Iterator[str]:
    if old == new:
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys((*old, *new)):
            yield from _lines(old.get(name), new.get(name), f"{path}.{name}" if path else name)
        return
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for position, pair in enumerate(zip(old, new, strict=True)):
            yield from _lines(*pair, f"{path}[{position}]")
        return
    if old is not None:
        yield f"- {path}: {render(old)}"
    if new is not None:
        yield f"+ {path}: {render(new)}"
