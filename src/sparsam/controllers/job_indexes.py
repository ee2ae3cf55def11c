"""Completion indexes of an Indexed Job, and how its status writes them: `1,3-5`. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from sparsam.controllers.runtime import Obj

INDEX = "batch.kubernetes.io/job-completion-index"


def index_of(pod: Obj) -> int | None:
    """The completion index of a pod; None when it has none."""
    text = (pod["metadata"].get("annotations") or {}).get(INDEX, "")
    return int(text) if text.isdigit() else None


def parse_indexes(text: str | None, completions: int) -> set[int]:
    """The indexes below `completions` that a status lists; what cannot be read is left out."""
    found: set[int] = set()
    for part in (text or "").split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and (not last or last.isdigit()):
            found.update(range(int(first), min(int(last or first) + 1, completions)))
    return {index for index in found if index < completions}


def format_indexes(indexes: Iterable[int]) -> str:
    """Single indexes and ranges; two neighbours are written with a comma, as upstream does."""
    runs: list[list[int]] = []
    for index in sorted(indexes):
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(_run(first, last) for first, last in runs)


def _run(first: int, last: int) -> str:
    if first == last:
        return str(first)
    return f"{first},{last}" if last == first + 1 else f"{first}-{last}"
