"""Regular expressions of schemas: RE2's syntax, which Go has too, matched in linear time.

Who writes objects chooses the text, hence a backtracking engine would let a client stall the server on a pattern that
was written in good faith. The library is loaded when the first pattern is met.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

# Where Go words an error otherwise than the library.
_GO_WORDS = {
    "missing )": "missing closing )",
    "missing ]": "missing closing ]",
    "no argument for repetition operator": "missing argument to repetition operator",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid repetition size": "invalid repeat count",
    "invalid perl operator": "invalid or unsupported Perl syntax",
}


class BadPattern(ValueError):
    """A text that is no regular expression, in Go's words."""


@lru_cache(maxsize=4096)
def compile_pattern(pattern: str) -> Callable[[str], object]:
    """Whether a text holds the pattern, as a function that is true then; raises BadPattern."""
    import re2

    options: Any = re2.Options()
    compile_with: Any = re2.compile
    options.log_errors, options.never_capture = False, True
    try:
        search: Callable[[bytes], object] = compile_with(pattern, options).search
    except re2.error as error:
        raise BadPattern(_in_go(error.args[0])) from None
    # Where in the text it holds is not asked, and costs more to tell in characters than in bytes.
    return lambda text: search(text.encode())


def _in_go(problem: bytes | str) -> str:
    text = problem.decode(errors="replace") if isinstance(problem, bytes) else problem
    code, _, part = text.partition(": ")
    return f"error parsing regexp: {_GO_WORDS.get(code, code)}: `{part}`"
