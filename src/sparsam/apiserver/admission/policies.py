"""ValidatingAdmissionPolicies: what the cluster's own rules, written in CEL, say to a request.

Policies that have no binding cost nothing. There is no audit log, so that the action Audit and audit annotations leave
no trace. Source: the page "Validating Admission Policy"; words are upstream's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparsam.apiserver import statuses
from sparsam.apiserver.admission import Attributes, Reader, matching
from sparsam.apiserver.admission.policyhooks import Binding, PolicyBook, PolicyHook, Subject
from sparsam.apiserver.authorization import Authorizer
from sparsam.errors import Forbidden, Invalid, RequestEntityTooLarge, StatusError, Unauthorized
from sparsam.objects import scale
from sparsam.objects.catalog import Catalog
from sparsam.objects.kinds import Resource
from sparsam.objects.strategy import Obj
from sparsam.store.interface import Store

if TYPE_CHECKING:
    from sparsam.objects.cel.policies import Denial, ValidatingPolicy

QUICK = 20_000
"""What a policy may cost before it is moved out of the way of other requests, to a thread: some ten milliseconds."""
_ERRORS: Mapping[str, type[StatusError]] = {
    each.reason: each for each in (Forbidden, Invalid, RequestEntityTooLarge, Unauthorized)
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a policy has against a request, and by which binding."""

    policy: str
    binding: str
    denial: Denial

    def told(self) -> str:
        """As the answer says it."""
        by = f" with binding '{self.binding}'" if self.binding else ""
        return f"ValidatingAdmissionPolicy '{self.policy}'{by} denied request: {self.denial.message}"


def compile_validating(policy: Obj) -> ValidatingPolicy:
    """A stored policy, compiled."""
    # The language is loaded when the first policy that has a binding meets a request.
    from sparsam.objects.cel.policies import ValidatingPolicy

    return ValidatingPolicy(policy)


class Policies:
    """Asks the policies; costs nothing while there are none."""

    def __init__(self, store: Store, reader: Reader, authorizer: Authorizer, catalog: Callable[[], Catalog]) -> None:
        self._reader, self._authorizer, self._catalog = reader, authorizer, catalog
        self._book = PolicyBook(
            store, "validatingadmissionpolicies", "validatingadmissionpolicybindings", compile_validating
        )

    async def load(self) -> None:
        """Read the policies, so that no request slips through before they are followed."""
        for mirror in self._book.mirrors:
            await mirror.load()

    async def run(self) -> None:
        """Follow the policies until cancelled."""
        async with asyncio.TaskGroup() as group:
            for mirror in self._book.mirrors:
                group.create_task(mirror.run(), name="admission policies")

    async def validate(self, attributes: Attributes, new: Obj, old: Obj | None, _reader: Reader) -> list[str]:
        """Warnings of all policies; raises the first refusal."""
        hooks = self._book.hooks
        if not hooks or matching.is_exempt(attributes.resource):
            return []
        subject = Subject(attributes, None if attributes.operation == "DELETE" else new, old, self._reader)
        asking = _Asking(subject, self._reader, self._authorizer, self._catalog())
        for hook in hooks:
            await asking.ask(hook)
        if asking.refusals:
            raise refused(attributes, subject.name, asking.refusals[0])
        return asking.warnings


class _Asking:
    """One request before all policies."""

    def __init__(self, subject: Subject, reader: Reader, authorizer: Authorizer, catalog: Catalog) -> None:
        self._subject, self._reader, self._authorizer, self._catalog = subject, reader, authorizer, catalog
        self.refusals: list[Refusal] = []
        self.warnings: list[str] = []

    async def ask(self, hook: PolicyHook[ValidatingPolicy]) -> None:
        """Collect what a policy says by each of its bindings."""
        seen_as = await self._subject.applies(hook.selection)
        if seen_as is None:
            return
        for binding in hook.bindings:
            if binding.selection is None or await self._subject.applies(binding.selection) is not None:
                await self._ask_by(hook, binding, seen_as)

    async def _ask_by(self, hook: PolicyHook[ValidatingPolicy], binding: Binding, seen_as: Resource) -> None:
        from sparsam.apiserver.admission.policyvalues import ConfigurationFault, parameters
        from sparsam.objects.cel.policies import Denial

        kind, reference, namespace = hook.spec.get("paramKind"), binding.spec.get("paramRef"), self._subject.attributes
        try:
            known = await parameters(kind, reference, namespace.namespace, self._catalog, self._reader)
        except ConfigurationFault as fault:
            if not hook.may_fail:
                denial = Denial(f"failed to configure binding: {fault}")
                self.refusals.append(Refusal(hook.name, binding.name, denial))
            return
        actions = binding.spec.get("validationActions") or ()
        values = await self._values(seen_as)
        for params in known:
            denials, faults = await _judge(hook.compiled, {**values, "params": params})
            refusals = [Refusal(hook.name, binding.name, each) for each in denials]
            if "Deny" in actions:
                self.refusals += refusals
            if "Warn" in actions:
                self.warnings += [_warning(each) for each in refusals]
            self.refusals += [Refusal(hook.name, binding.name, Denial(each)) for each in faults]

    async def _values(self, seen_as: Resource) -> dict[str, Any]:
        from sparsam.apiserver.admission import policyvalues

        subject, attributes = self._subject, self._subject.attributes
        return {
            "object": shown(attributes, subject.new),
            "oldObject": shown(attributes, subject.old),
            "request": policyvalues.request_value(attributes, seen_as, subject.new),
            "namespaceObject": policyvalues.namespace_value(await subject.namespace()),
            **policyvalues.authorizer_values(self._authorizer, attributes, subject.name),
        }


async def _judge(policy: ValidatingPolicy, values: Mapping[str, Any]) -> tuple[list[Denial], list[str]]:
    from sparsam.objects.cel import CostExceeded

    try:
        return policy.judge(values, QUICK)
    except CostExceeded:
        return await asyncio.to_thread(policy.judge, values)


def shown(attributes: Attributes, obj: Obj | None) -> Obj | None:
    """An object as expressions see it: a Scale for a request on one."""
    return scale.view(attributes.resource, obj) if obj is not None and attributes.subresource == "scale" else obj


def _warning(refusal: Refusal) -> str:
    by = f"ValidatingAdmissionPolicy '{refusal.policy}' with binding '{refusal.binding}'"
    return f"Validation failed for {by}: {refusal.denial.message}"


def refused(attributes: Attributes, name: str, refusal: Refusal) -> StatusError:
    """The answer: forbidden in its words, whatever its reason and code."""
    error = _ERRORS[refusal.denial.reason or "Invalid"]
    resource, message = attributes.resource, refusal.told()
    details = {**statuses.details_of(resource, name or "Unknown"), "causes": [{"message": message}]}
    return error(f'{resource.group_resource} "{name or "Unknown"}" is forbidden: {message}', details=details)
