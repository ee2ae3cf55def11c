"""Admission policies, compiled: what they say to one request, or make of it. Pure.

Source: the page "Validating Admission Policy"; words and order of decisions are upstream's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from sparsam.objects.cel import mutations
from sparsam.objects.cel.admission import CONDITIONS_LIMIT, POLICY_LIMIT, Environment
from sparsam.objects.cel.conditions import OUT_OF_BUDGET, Budget, Conditions, names_of
from sparsam.objects.cel.errors import CelError, CostExceeded, EvaluationError
from sparsam.objects.cel.program import Program
from sparsam.objects.cel.types import BOOL, DYN, NULL, STRING, Type
from sparsam.objects.strategy import Obj

if TYPE_CHECKING:
    from sparsam.objects.objecttypes import ObjectType

T = TypeVar("T")

MOST_MESSAGE_BYTES = 5 * 1024
"""A longer message of a messageExpression is not used."""


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a policy is against a request."""

    message: str
    reason: str = ""
    """Of the refusal's status; empty when the policy failed rather than was broken."""


class Variables(Mapping[str, Any]):
    """`variables`: each is computed when it is asked for, once."""

    def __init__(self, programs: Mapping[str, Program | CelError], values: dict[str, Any], budget: Budget) -> None:
        self._programs, self._values, self._budget = programs, values, budget
        self._known: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._known:
            self._known[name] = self._compute(name)
        known = self._known[name]
        if isinstance(known, EvaluationError):
            raise known
        return known

    def _compute(self, name: str) -> Any:
        program = self._programs[name]
        if isinstance(program, CelError):
            return EvaluationError(f'composited variable "{name}" fails to compile: {program}')
        try:
            return self._budget.evaluate(program, self._values)
        except CostExceeded:
            raise
        except EvaluationError as error:
            return EvaluationError(f'composited variable "{name}" fails to evaluate: {error}')

    def __contains__(self, name: object) -> bool:
        return name in self._programs

    def __iter__(self) -> Iterator[str]:
        return iter(self._programs)

    def __len__(self) -> int:
        return len(self._programs)


class Composition:
    """A policy's own variables, in an environment in which its other expressions are compiled."""

    def __init__(self, spec: Obj, environment: Environment) -> None:
        self.environment = environment
        self.programs: dict[str, Program | CelError] = {}
        for variable in spec.get("variables") or ():
            program = self.compile(variable.get("expression", ""), DYN)
            self.programs[variable["name"]] = program
            environment.declare(variable["name"], program.result if isinstance(program, Program) else DYN)

    def compile(self, text: str, *returns: Type, authorizer: bool = True) -> Program | CelError:
        """The program of an expression, or what is wrong with it."""
        try:
            return self.environment.compile(text, returns, authorizer=authorizer)
        except CelError as error:
            return error

    def values(self, values: Mapping[str, Any], budget: Budget) -> dict[str, Any]:
        """The values that expressions see, the variables among them."""
        found = dict(values)
        found["variables"] = Variables(self.programs, found, budget)
        return found


class ValidatingPolicy:
    """See the module."""

    def __init__(self, policy: Obj) -> None:
        spec = policy["spec"]
        self.may_fail = spec.get("failurePolicy") == "Ignore"
        has_params = spec.get("paramKind") is not None
        self.conditions = Conditions(spec.get("matchConditions") or (), has_params=has_params)
        self._composition = Composition(spec, Environment(params=DYN if has_params else None, composed=True))
        compile_one = self._composition.compile
        self._validations = [
            (
                each,
                compile_one(each["expression"], BOOL),
                compile_one(text, STRING, authorizer=False) if (text := each.get("messageExpression")) else None,
            )
            for each in spec.get("validations") or ()
        ]
        self._annotations = [
            compile_one(each["valueExpression"].strip(), STRING, NULL) for each in spec.get("auditAnnotations") or ()
        ]
        programs = [program for _, *pair in self._validations for program in pair]
        self.names = self.conditions.names | names_of([*self._composition.programs.values(), *programs])
        self.names |= names_of(self._annotations)
        """The variables that its expressions name."""

    def judge(self, values: Mapping[str, Any], limit: int = POLICY_LIMIT) -> tuple[list[Denial], list[str]]:
        """What speaks against a request, and errors in audit annotations, whose values go nowhere without an audit log.

        Errors count unless failurePolicy is Ignore. Raises CostExceeded when `limit` is less than what a policy may
        cost, and too little.
        """
        try:
            if not self.conditions.matches(values, fail=not self.may_fail, limit=min(limit, CONDITIONS_LIMIT)):
                return [], []
        except CostExceeded:
            raise
        except EvaluationError as error:
            return [Denial(str(error))], []
        denials = self._within(limit, values, self._denials, Denial(OUT_OF_BUDGET))
        return denials, self._within(limit, values, self._annotation_faults, OUT_OF_BUDGET)

    def _within(
        self, limit: int, values: Mapping[str, Any], look: Callable[[Mapping[str, Any], Budget], list[T]], over: T
    ) -> list[T]:
        budget = Budget(limit)
        try:
            return look(self._composition.values(values, budget), budget)
        except CostExceeded:
            if limit < POLICY_LIMIT:
                raise
            return [] if self.may_fail else [over]

    def _denials(self, known: Mapping[str, Any], budget: Budget) -> list[Denial]:
        found = (self._validate(*each, known, budget) for each in self._validations)
        return [denial for denial in found if denial is not None]

    def _validate(
        self,
        validation: Obj,
        program: Program | CelError,
        message: Program | CelError | None,
        known: Mapping[str, Any],
        budget: Budget,
    ) -> Denial | None:
        try:
            if budget.run(program, known) is True:
                return None
        except CostExceeded:
            raise
        except EvaluationError as error:
            return None if self.may_fail else Denial(str(error))
        return Denial(_message(validation, message, known, budget), validation.get("reason") or "Invalid")

    def _annotation_faults(self, known: Mapping[str, Any], budget: Budget) -> list[str]:
        faults: list[str] = []
        for program in self._annotations:
            try:
                budget.run(program, known)
            except CostExceeded:
                raise
            except EvaluationError as error:
                faults.append(str(error))
        return [] if self.may_fail else faults


class MutatingPolicy:
    """A MutatingAdmissionPolicy: `conditions` say whether it is about a request, `change` makes one mutation."""

    def __init__(self, policy: Obj) -> None:
        spec = policy["spec"]
        has_params = spec.get("paramKind") is not None
        self.conditions = Conditions(spec.get("matchConditions") or (), has_params=has_params)
        environment = Environment(params=DYN if has_params else None, composed=True, structs=mutations.STRUCTS)
        self._composition = Composition(spec, environment)
        self._mutations = [self._compile(each) for each in spec.get("mutations") or ()]
        programs = [*self._composition.programs.values(), *(program for _, program in self._mutations)]
        self.names = self.conditions.names | names_of(programs)
        """The variables that its expressions name."""

    def _compile(self, mutation: Obj) -> tuple[bool, Program | CelError]:
        kind = mutation["patchType"]
        text = mutation["jsonPatch" if kind == "JSONPatch" else "applyConfiguration"]["expression"]
        return kind == "JSONPatch", self._composition.compile(text, mutations.RETURNS[kind])

    def __len__(self) -> int:
        """How many mutations there are."""
        return len(self._mutations)

    def change(self, place: int, kind: ObjectType, values: Mapping[str, Any], limit: int = POLICY_LIMIT) -> Obj:
        """`values["object"]` after one mutation; raises EvaluationError, and CostExceeded when it takes too much."""
        is_patch, program = self._mutations[place]
        budget = Budget(limit)
        found = budget.run(program, self._composition.values(values, budget))
        obj: Obj = values["object"]
        return mutations.patched(obj, found) if is_patch else mutations.applied(kind, obj, found)


def _message(validation: Obj, message: Program | CelError | None, known: Mapping[str, Any], budget: Budget) -> str:
    """The message of a broken validation; a messageExpression that fails or says nothing usable does not count."""
    text = ""
    if message is not None:
        try:
            found = budget.run(message, known)
            text = found.strip() if isinstance(found, str) else ""
        except CostExceeded:
            raise
        except EvaluationError:
            text = ""
        if len(text.encode()) > MOST_MESSAGE_BYTES or "\n" in text:
            text = ""
    return text or validation.get("message", "").strip() or f"failed expression: {validation['expression'].strip()}"
