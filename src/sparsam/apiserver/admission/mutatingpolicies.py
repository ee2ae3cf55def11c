"""MutatingAdmissionPolicies: what the cluster's own rules, written in CEL, make of an object before it is stored.

They come after the built-in plug-ins and before webhooks. When one changed something, the plug-ins look again, and
earlier policies do that asked for it (reinvocationPolicy), once; so they do when a webhook changed something. Source:
the page "Mutating Admission Policy", KEP-3962; words are upstream's.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping
from functools import partial
from typing import Any

from sparsam.apiserver import statuses
from sparsam.apiserver.admission import Attributes, Mutator, Rerun, matching
from sparsam.apiserver.admission.policycalls import QUICK, Calls, Invocation
from sparsam.apiserver.admission.policyhooks import PolicyBook, PolicyHook, Subject, Surroundings
from sparsam.apiserver.admission.webhooks import Reinvocation
from sparsam.errors import StatusError
from sparsam.objects.cel import CostExceeded, EvaluationError
from sparsam.objects.cel.policies import MutatingPolicy
from sparsam.objects.objecttypes import ObjectType, type_of
from sparsam.objects.strategy import Obj
from sparsam.store.interface import Store


class DeniedByPolicy(StatusError):
    """A policy failed and must not: code and reason are not those of one another, upstream."""

    code = 403
    reason = "Invalid"


class MutatingPolicies:
    """Lets the policies change objects, then `after`, the webhooks; costs nothing while there are none."""

    def __init__(self, store: Store, surroundings: Surroundings, after: Mutator) -> None:
        self._surroundings, self._after = surroundings, after
        self.book = PolicyBook(store, "mutatingadmissionpolicies", "mutatingadmissionpolicybindings", MutatingPolicy)

    async def mutate(self, attributes: Attributes, new: Obj, old: Obj | None, rerun: Rerun) -> tuple[Obj, list[str]]:
        """`new` (empty for a delete) as policies and webhooks want it, and warnings; raises StatusError.

        The object that is given may be changed in place.
        """
        hooks = self.book.hooks
        if not hooks or attributes.operation == "DELETE" or matching.is_exempt(attributes.resource):
            return await self._after(attributes, new, old, rerun)
        passing = _Passing(Subject(attributes, new, old, self._surroundings.reader), self._surroundings, hooks)
        new = await passing.through(new)
        if passing.state.changed:
            new = await passing.again(new, rerun)

        async def rerun_all(obj: Obj) -> None:
            changed = await passing.again(obj, rerun)
            if changed is not obj:
                obj.clear()
                obj.update(changed)

        return await self._after(attributes, new, old, rerun_all)


class _Passing:
    """One object on its way through the policies."""

    def __init__(
        self, subject: Subject, surroundings: Surroundings, hooks: tuple[PolicyHook[MutatingPolicy], ...]
    ) -> None:
        self._calls, self._hooks = Calls(subject, surroundings), hooks
        self.state = Reinvocation()
        self._left: Obj = {}
        """The object as the policies left it."""

    async def again(self, new: Obj, rerun: Rerun) -> Obj:
        """The object once the built-in plug-ins, and the policies that want to, have looked again."""
        self.state.is_second = True
        await rerun(new)
        if new != self._left:
            self.state.note_change()
        return await self.through(new)

    async def through(self, new: Obj) -> Obj:
        """The object after all policies; raises DeniedByPolicy with what failed."""
        faults: list[str] = []
        self._calls.subject.new = new
        for hook in self._hooks:
            async for invocation in self._calls.invocations(hook):
                try:
                    await self._invoke(hook, invocation)
                except _Fault as fault:
                    if not hook.may_fail:
                        by = f"policy '{hook.name}' with binding '{invocation.binding.name}'"
                        faults.append(f"{by} denied request: {fault}")
        if faults:
            raise _denied(self._calls, faults)
        left = self._calls.subject.new or {}
        self._left = copy.deepcopy(left)
        return left

    async def _invoke(self, hook: PolicyHook[MutatingPolicy], invocation: Invocation) -> None:
        if invocation.fault:
            raise _Fault(invocation.fault)
        key = "/".join((hook.name, *invocation.key))
        if self.state.is_second and key not in self.state.required:
            return
        values = await self._calls.values(invocation, hook.compiled.names)
        if not await _matches(hook, values):
            return
        before = self._calls.subject.new
        for place in range(len(hook.compiled)):
            await self._mutate(hook, invocation, place)
        if self._calls.subject.new != before:
            self.state.note_change()
        if hook.spec.get("reinvocationPolicy") == "IfNeeded":
            self.state.invoked.add(key)

    async def _mutate(self, hook: PolicyHook[MutatingPolicy], invocation: Invocation, place: int) -> None:
        subject, view = self._calls.subject, self._calls.view(invocation.seen_as)
        values = await self._calls.values(invocation, hook.compiled.names)
        try:
            changed = await _change(hook.compiled, place, type_of(invocation.seen_as), values)
        except EvaluationError as error:
            raise _Fault(str(error)) from None
        if changed != values["object"]:
            subject.new = await view.take_back(changed, subject.new or {})


class _Fault(Exception):
    """Why a policy could not do its work."""


async def _matches(hook: PolicyHook[MutatingPolicy], values: Mapping[str, Any]) -> bool:
    matches = partial(hook.compiled.conditions.matches, values, fail=not hook.may_fail)
    try:
        try:
            return matches(limit=QUICK)
        except CostExceeded:
            return await asyncio.to_thread(matches)
    except EvaluationError as error:
        raise _Fault(str(error)) from None


async def _change(policy: MutatingPolicy, place: int, kind: ObjectType, values: Mapping[str, Any]) -> Obj:
    try:
        return policy.change(place, kind, values, QUICK)
    except CostExceeded:
        return await asyncio.to_thread(policy.change, place, kind, values)


def _denied(calls: Calls, faults: list[str]) -> DeniedByPolicy:
    details = statuses.details_of(calls.attributes.resource, calls.subject.name or "Unknown")
    return DeniedByPolicy(faults[0], details={**details, "causes": [{"message": each} for each in faults]})
