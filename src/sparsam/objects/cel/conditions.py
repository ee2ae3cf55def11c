"""matchConditions: whether a request is any business of a policy or a webhook."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sparsam.objects.cel.admission import CONDITIONS_LIMIT, Environment
from sparsam.objects.cel.errors import CelError, CostExceeded, EvaluationError
from sparsam.objects.cel.program import Program
from sparsam.objects.cel.types import DYN

OUT_OF_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"


class Budget:
    """What the expressions of one policy may still cost for one request."""

    def __init__(self, limit: int) -> None:
        self.left = limit

    def run(self, program: Program | CelError, values: Mapping[str, Any]) -> Any:
        """The value of an expression; raises EvaluationError, and CostExceeded when nothing is left for others."""
        if isinstance(program, CelError):
            raise EvaluationError(f"compilation error: {program}")
        try:
            return self.evaluate(program, values)
        except EvaluationError as error:
            if isinstance(error, CostExceeded) and self.left <= 0:
                raise
            raise EvaluationError(f"expression '{program.text}' resulted in error: {error}") from None

    def evaluate(self, program: Program, values: Mapping[str, Any]) -> Any:
        """The same with the error as it is; expressions that this one asks for have paid for themselves."""
        limit = self.left
        try:
            value, rest = program.evaluate_within(values, limit)
        except EvaluationError as error:
            self.left -= error.spent
            raise
        self.left -= limit - rest
        return value


class Conditions:
    """Compiled match conditions; ones that do not compile fail when they are asked."""

    def __init__(self, conditions: Sequence[Mapping[str, str]], *, has_params: bool = False) -> None:
        environment = Environment(params=DYN if has_params else None)
        self._programs = [compile_or_keep(environment, each.get("expression", "")) for each in conditions]
        self.names = names_of(self._programs)
        """The variables that they name."""

    def matches(self, values: Mapping[str, Any], *, fail: bool, limit: int = CONDITIONS_LIMIT) -> bool:
        """Whether all are true; one that is false settles it whatever befalls others.

        With `fail` (failurePolicy Fail) errors are raised as EvaluationError, else they count as false. Raises
        CostExceeded when `limit` is less than what conditions may cost, and too little.
        """
        budget = Budget(limit)
        faults: list[str] = []
        for program in self._programs:
            try:
                if budget.run(program, values) is not True:
                    return False
            except CostExceeded:
                if limit < CONDITIONS_LIMIT:
                    raise
                faults = [OUT_OF_BUDGET]
                break
            except EvaluationError as error:
                faults.append(str(error))
        if not faults:
            return True
        if fail:
            raise EvaluationError(faults[0] if len(faults) == 1 else f"[{', '.join(faults)}]")
        return False


def names_of(programs: Iterable[Program | CelError | None]) -> frozenset[str]:
    """The variables that some of these name."""
    return frozenset(name for each in programs if isinstance(each, Program) for name in each.names)


def compile_or_keep(environment: Environment, text: str, *, authorizer: bool = True) -> Program | CelError:
    """The program of a match condition, or what is wrong with it."""
    try:
        return environment.compile(text.strip(), authorizer=authorizer)
    except CelError as error:
        return error
