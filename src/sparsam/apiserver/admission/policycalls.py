"""One request before the policies that are about it: by which bindings, with which parameters, with which values."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, TypeVar

from sparsam.apiserver.admission import Attributes, policyvalues
from sparsam.apiserver.admission.policyhooks import Binding, PolicyHook, Subject, Surroundings
from sparsam.apiserver.admission.views import View
from sparsam.objects.kinds import Resource
from sparsam.objects.strategy import Obj

T = TypeVar("T")

QUICK = 20_000
"""What expressions may cost before they are moved out of the way of other requests, to a thread: ten milliseconds."""


@dataclass(frozen=True, slots=True)
class Invocation:
    """A policy asked by one binding with one parameter, about the request as one on `seen_as`."""

    binding: Binding
    seen_as: Resource
    params: Obj | None = None
    fault: str = ""
    """Why it cannot be asked."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from others of the same policy."""
        metadata = (self.params or {}).get("metadata") or {}
        return self.binding.name, metadata.get("namespace", ""), metadata.get("name", "")


class Calls:
    """See the module. `subject.new` may change on the way."""

    def __init__(self, subject: Subject, surroundings: Surroundings) -> None:
        self.subject, self._surroundings = subject, surroundings

    @property
    def attributes(self) -> Attributes:
        """The request."""
        return self.subject.attributes

    async def invocations(self, hook: PolicyHook[T]) -> AsyncIterator[Invocation]:
        """How a policy is to be asked; nothing when it is not about the request."""
        seen_as = await self.subject.applies(hook.selection)
        for binding in hook.bindings if seen_as is not None else ():
            selection = binding.selection
            if seen_as is None or (selection is not None and await self.subject.applies(selection) is None):
                continue
            try:
                for params in await self._parameters(hook, binding):
                    yield Invocation(binding, seen_as, params)
            except policyvalues.ConfigurationFault as fault:
                yield Invocation(binding, seen_as, fault=f"failed to configure binding: {fault}")

    async def _parameters(self, hook: PolicyHook[T], binding: Binding) -> list[Obj | None]:
        kind, reference = hook.spec.get("paramKind"), binding.spec.get("paramRef")
        around, namespace = self._surroundings, self.attributes.namespace
        return await policyvalues.parameters(kind, reference, namespace, around.catalog(), around.reader)

    def view(self, seen_as: Resource) -> View:
        """How a policy knows the object."""
        return View(self.attributes, seen_as, self._surroundings.convert)

    async def values(self, invocation: Invocation, names: frozenset[str]) -> dict[str, Any]:
        """The variables of the policy's expressions; the namespace, which has to be read, only if it is in `names`."""
        subject, view = self.subject, self.view(invocation.seen_as)
        namespace = await subject.namespace() if "namespaceObject" in names else None
        return {
            "object": await view.show(subject.new),
            "oldObject": await view.show(subject.old),
            "request": policyvalues.request_value(self.attributes, invocation.seen_as, subject.new),
            "params": invocation.params,
            "namespaceObject": policyvalues.namespace_value(namespace),
            **policyvalues.authorizer_values(self._surroundings.authorizer, self.attributes, subject.name),
        }
