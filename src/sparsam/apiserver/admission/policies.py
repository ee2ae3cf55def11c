"""ValidatingAdmissionPolicies: what the cluster's own rules, written in CEL, say to a request.

Policies that have no binding cost nothing. There is no audit log, so that the action Audit and audit annotations leave
no trace. Source: the page "Validating Admission Policy"; words are upstream's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sparsam.apiserver import statuses
from sparsam.apiserver.admission import Attributes, Reader, matching
from sparsam.apiserver.admission.policycalls import QUICK, Calls
from sparsam.apiserver.admission.policyhooks import PolicyBook, PolicyHook, Subject, Surroundings
from sparsam.errors import Forbidden, Invalid, RequestEntityTooLarge, StatusError, Unauthorized
from sparsam.objects.cel import CostExceeded
from sparsam.objects.cel.policies import Denial, ValidatingPolicy
from sparsam.objects.strategy import Obj
from sparsam.store.interface import Store

_ERRORS: Mapping[str, type[StatusError]] = {
    each.reason: each for each in (Forbidden, Invalid, RequestEntityTooLarge, Unauthorized)
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a policy has against a request, and by which binding."""

    policy: str
    binding: str
    denial: Denial

    @property
    def told(self) -> str:
        """As the answer says it."""
        by = f"ValidatingAdmissionPolicy '{self.policy}' with binding '{self.binding}'"
        return f"{by} denied request: {self.denial.message}"

    @property
    def warning(self) -> str:
        """As a Warning header says it."""
        by = f"ValidatingAdmissionPolicy '{self.policy}' with binding '{self.binding}'"
        return f"Validation failed for {by}: {self.denial.message}"


class ValidatingPolicies:
    """Asks the policies; costs nothing while there are none."""

    def __init__(self, store: Store, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self.book = PolicyBook(
            store, "validatingadmissionpolicies", "validatingadmissionpolicybindings", ValidatingPolicy
        )

    async def validate(self, attributes: Attributes, new: Obj, old: Obj | None, _reader: Reader) -> list[str]:
        """Warnings of all policies; raises the first refusal."""
        hooks = self.book.hooks
        if not hooks or matching.is_exempt(attributes.resource):
            return []
        subject = Subject(attributes, None if attributes.operation == "DELETE" else new, old, self._surroundings.reader)
        calls, refusals, warnings = Calls(subject, self._surroundings), [], []
        for hook in hooks:
            denied, told = await _ask(calls, hook)
            refusals += denied
            warnings += told
        if refusals:
            raise _refused(attributes, subject.name, refusals[0])
        return warnings


async def _ask(calls: Calls, hook: PolicyHook[ValidatingPolicy]) -> tuple[list[Refusal], list[str]]:
    """What a policy refuses, and what it warns of, by all of its bindings."""
    refusals: list[Refusal] = []
    warnings: list[str] = []
    async for invocation in calls.invocations(hook):
        name, actions = invocation.binding.name, invocation.binding.spec.get("validationActions") or ()
        if invocation.fault:
            if not hook.may_fail:
                refusals.append(Refusal(hook.name, name, Denial(invocation.fault)))
            continue
        denials, faults = await _judge(hook.compiled, await calls.values(invocation, hook.compiled.names))
        found = [Refusal(hook.name, name, each) for each in denials]
        if "Deny" in actions:
            refusals += found
        if "Warn" in actions:
            warnings += [each.warning for each in found]
        refusals += [Refusal(hook.name, name, Denial(each)) for each in faults]
    return refusals, warnings


async def _judge(policy: ValidatingPolicy, values: Mapping[str, Any]) -> tuple[list[Denial], list[str]]:
    try:
        return policy.judge(values, QUICK)
    except CostExceeded:
        return await asyncio.to_thread(policy.judge, values)


def _refused(attributes: Attributes, name: str, refusal: Refusal) -> StatusError:
    """The answer: forbidden in its words, whatever its reason and code."""
    error = _ERRORS[refusal.denial.reason or "Invalid"]
    resource, name = attributes.resource, name or "Unknown"
    details = {**statuses.details_of(resource, name), "causes": [{"message": refusal.told}]}
    return error(f'{resource.group_resource} "{name}" is forbidden: {refusal.told}', details=details)
