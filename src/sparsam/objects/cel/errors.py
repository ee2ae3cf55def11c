"""What can be wrong with an expression, before and while it runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MOST_ISSUES = 100
"""So many are told of one expression, as cel-go does."""
LONGEST_MESSAGE = 100_000
"""Fewer are told of long ones, since each shows its line."""


@dataclass(frozen=True, slots=True, order=True)
class Issue:
    """Something wrong with the text, at a character of it."""

    position: int
    message: str


class CelError(ValueError):
    """The expression cannot be compiled; the message is the detail of upstream's causes."""


class EvaluationError(ValueError):
    """The expression has no value for these objects."""

    spent = 0
    """What it took to find out."""


class CostExceeded(EvaluationError):
    """The expression was broken off: it took more than it may."""

    def __init__(self) -> None:
        super().__init__("operation cancelled: actual cost limit exceeded")


def compilation_error(text: str, issues: Sequence[Issue]) -> CelError:
    """The issues with the lines that they are about, as cel-go shows them."""
    known = sorted(set(issues))
    shown = known[: min(MOST_ISSUES, 1 + LONGEST_MESSAGE // (1 + len(text)))]
    lines = [_shown(text, issue) for issue in shown]
    if len(shown) < len(known):
        lines.append(f"{len(known) - len(shown)} more errors were truncated")
    return CelError("compilation failed: " + "\n".join(lines))


def _shown(text: str, issue: Issue) -> str:
    before = text[: issue.position]
    line, column = before.count("\n") + 1, issue.position - (before.rfind("\n") + 1)
    source = text.split("\n")[line - 1].replace("\t", " ")
    return f"ERROR: <input>:{line}:{column + 1}: {issue.message}\n | {source}\n | {'.' * column}^"
