"""Regular expressions with RE2, the engine of upstream: no pattern can take exponential time.

The library is loaded when the first pattern is met.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from sparsam.objects.cel.errors import EvaluationError


@lru_cache(maxsize=512)
def compiled(pattern: str) -> Any:
    """The pattern, ready to search; raises EvaluationError."""
    import re2

    options: Any = re2.Options()
    compile_with: Any = re2.compile
    options.log_errors = False
    try:
        return compile_with(pattern, options)
    except re2.error as error:
        detail = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise EvaluationError(f"error parsing regexp: {detail}") from None


def matches(text: str, pattern: str) -> bool:
    """Whether any part of the text matches."""
    return compiled(pattern).search(text) is not None


def find(text: str, pattern: str) -> str:
    """The first part that matches; empty when there is none."""
    found = compiled(pattern).search(text)
    return found.group() if found else ""


def find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    """The parts that match, at most `limit` of them unless it is negative."""
    found: list[str] = []
    for each in compiled(pattern).finditer(text):
        if 0 <= limit <= len(found):
            break
        found.append(each.group())
    return found
