"""Expressions, compiled once and evaluated often."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sparsam.objects.cel.checker import Checker
from sparsam.objects.cel.errors import CelError, EvaluationError, Issue, compilation_error
from sparsam.objects.cel.evaluation import build
from sparsam.objects.cel.folds import Frame, Run
from sparsam.objects.cel.functions import FUNCTIONS
from sparsam.objects.cel.parser import parse
from sparsam.objects.cel.tree import Name, Node, parts
from sparsam.objects.cel.types import BOOL, DYN, Type

CALL_LIMIT = 1_000_000
"""What one evaluation may cost, as upstream's PerCallLimit: about a second of work at the worst."""
MAX_LENGTH = 100_000
"""Characters of an expression; cel-go's limit on code points."""


@dataclass(frozen=True)
class Program:
    """A checked expression."""

    text: str
    tree: Node
    result: Type

    @cached_property
    def names(self) -> frozenset[str]:
        """The variables and types that it names, those of its macros among them."""
        found, rest = set(), [self.tree]
        while rest:
            node = rest.pop()
            rest += parts(node)
            if isinstance(node, Name):
                found.add(node.name.removeprefix("."))
        return frozenset(found)

    @cached_property
    def _run(self) -> Run:
        return build(self.tree, FUNCTIONS)

    def evaluate(self, values: Mapping[str, Any], limit: int = CALL_LIMIT) -> Any:
        """The value for these variables; raises EvaluationError, and CostExceeded when it takes more than `limit`."""
        return self.evaluate_within(values, limit)[0]

    def evaluate_within(self, values: Mapping[str, Any], limit: int) -> tuple[Any, int]:
        """The value, and what is left of the limit; raises as `evaluate` does."""
        allowed = min(limit, CALL_LIMIT)
        frame = Frame(values, allowed)
        try:
            value = self._run(frame)
        except EvaluationError as error:
            error.spent = allowed - max(frame.left, 0)
            raise
        except RecursionError:
            raise EvaluationError("expression is nested too deeply") from None
        return value, limit - (allowed - frame.left)


def compile_expression(
    text: str,
    variables: Mapping[str, Type],
    *,
    returns: Type | Sequence[Type] = BOOL,
    structs: Mapping[str, Type] | None = None,
) -> Program:
    """Compile an expression whose value has one of these types (`DYN`: any); raises CelError.

    `structs` are the types that `Name{field: value}` can make.
    """
    if len(text) > MAX_LENGTH:
        issue = Issue(0, f"expression code point size exceeds limit: size: {len(text)}, limit {MAX_LENGTH}")
        raise compilation_error("", [issue])
    try:
        return _compile(text, variables, (returns,) if isinstance(returns, Type) else tuple(returns), structs or {})
    except RecursionError:
        raise compilation_error(text, [Issue(0, "expression recursion limit exceeded")]) from None


def _compile(
    text: str, variables: Mapping[str, Type], returns: tuple[Type, ...], structs: Mapping[str, Type]
) -> Program:
    tree = parse(text)
    if isinstance(tree, Issue):
        raise compilation_error(text, [tree])
    checker = Checker(variables, FUNCTIONS, structs)
    found = checker.check(tree)
    if checker.issues:
        raise compilation_error(text, checker.issues)
    if DYN not in returns and found not in returns:
        if len(returns) == 1:
            raise CelError(f"must evaluate to {returns[0]} but got {found}")
        names = " ".join(each.name for each in returns)
        raise CelError(f"must evaluate to one of [{names}] but got {found}")
    return Program(text, tree, found)
