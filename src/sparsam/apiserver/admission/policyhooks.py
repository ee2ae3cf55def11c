"""Admission policies and their bindings as they are stored: read once, compiled when the first request meets them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, TypeVar

from sparsam.apiserver.admission import Attributes, Reader, matching
from sparsam.apiserver.authorization import Authorizer
from sparsam.apiserver.converting import Convert
from sparsam.apiserver.mirror import Mirror
from sparsam.objects.catalog import Catalog
from sparsam.objects.kinds import NAMESPACES, Resource, find
from sparsam.objects.selectors import LabelSelector, parse_label_selector_object
from sparsam.objects.strategy import Obj
from sparsam.store.interface import Store

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where policies look things up."""

    reader: Reader
    authorizer: Authorizer
    catalog: Callable[[], Catalog]
    convert: Convert


@dataclass(frozen=True, slots=True)
class NamedRule:
    """A rule, and the names of objects that it is confined to."""

    rule: matching.Rule
    names: frozenset[str]

    def covers(self, attributes: Attributes, resource: Resource, name: str) -> bool:
        """Whether the rule is about the request, were it one on this resource."""
        return (not self.names or name in self.names) and self.rule.covers(attributes, resource)


class Selection:
    """matchConstraints of a policy, matchResources of a binding."""

    def __init__(self, selection: Obj) -> None:
        self.namespaces = _selector(selection, "namespaceSelector")
        self._objects = _selector(selection, "objectSelector")
        self._rules = _rules(selection.get("resourceRules"))
        self._excluded = _rules(selection.get("excludeResourceRules"))
        self._equivalent = selection.get("matchPolicy") != "Exact"

    def seen_as(self, attributes: Attributes, name: str, new: Obj | None, old: Obj | None) -> Resource | None:
        """The resource by which it is about the request, namespaces aside; None when it is not."""
        if not matching.object_matches(self._objects, new, old) or self._by_rules(self._excluded, attributes, name):
            return None
        return self._by_rules(self._rules, attributes, name) if self._rules else attributes.resource

    def _by_rules(self, rules: tuple[NamedRule, ...], attributes: Attributes, name: str) -> Resource | None:
        known = (attributes.resource, *(matching.equivalents(attributes.resource) if self._equivalent else ()))
        return next((each for each in known if any(rule.covers(attributes, each, name) for rule in rules)), None)


def _rules(rules: Iterable[Obj] | None) -> tuple[NamedRule, ...]:
    return tuple(
        NamedRule(matching.parse_rule(rule), frozenset(rule.get("resourceNames") or ())) for rule in rules or ()
    )


def _selector(selection: Obj, field: str) -> LabelSelector:
    return parse_label_selector_object(selection.get(field) or {})


@dataclass(frozen=True)
class Binding:
    """A binding, read once."""

    name: str
    spec: Obj

    @cached_property
    def selection(self) -> Selection | None:
        """Which of the policy's requests it is about; None: all."""
        return Selection(self.spec["matchResources"]) if self.spec.get("matchResources") is not None else None


class PolicyHook(Generic[T]):
    """A policy with its bindings."""

    def __init__(self, policy: Obj, compile_policy: Callable[[Obj], T]) -> None:
        self.name: str = policy["metadata"]["name"]
        self.identity = policy["metadata"]["uid"], policy["metadata"].get("generation")
        self.spec: Obj = policy["spec"]
        self.may_fail = self.spec.get("failurePolicy") == "Ignore"
        self.selection = Selection(self.spec.get("matchConstraints") or {})
        self.bindings: tuple[Binding, ...] = ()
        self._policy, self._compile = policy, compile_policy

    @cached_property
    def compiled(self) -> T:
        """The policy's expressions."""
        return self._compile(self._policy)


class PolicyBook(Generic[T]):
    """The policies of one kind that have bindings, kept like the store; `hooks` is in the order of their names."""

    def __init__(self, store: Store, policies: str, bindings: str, compile_policy: Callable[[Obj], T]) -> None:
        self._policies = Mirror(store, _resource(policies), self._read)
        self._bindings = Mirror(store, _resource(bindings), self._read)
        self._compile = compile_policy
        self._known: dict[tuple[str, Any], PolicyHook[T]] = {}
        self.hooks: tuple[PolicyHook[T], ...] = ()

    async def load(self) -> None:
        """Read everything, so that no request slips through before it is followed."""
        for mirror in (self._policies, self._bindings):
            await mirror.load()

    async def run(self) -> None:
        """Follow the store until cancelled."""
        async with asyncio.TaskGroup() as group:
            for mirror in (self._policies, self._bindings):
                group.create_task(mirror.run(), name="admission policies")

    def _read(self) -> None:
        bound: dict[str, list[Binding]] = {}
        for _, binding in sorted(self._bindings.objects.items()):
            bound.setdefault(binding["spec"]["policyName"], []).append(
                Binding(binding["metadata"]["name"], binding["spec"])
            )
        known: dict[tuple[str, Any], PolicyHook[T]] = {}
        for (_, name), policy in sorted(self._policies.objects.items()):
            if name in bound:
                # Compiled once for each generation, whatever else changes.
                hook = PolicyHook(policy, self._compile)
                hook = self._known.get(hook.identity, hook)
                hook.bindings = tuple(bound[name])
                known[hook.identity] = hook
        self._known, self.hooks = known, tuple(known.values())


def _resource(plural: str) -> Resource:
    resource = find(matching.ADMISSION_GROUP, "v1", plural)
    if resource is None:
        raise ValueError(f"{plural} is not served")
    return resource


class Subject:
    """A request on its way through the policies, with what is found out about it only once."""

    def __init__(self, attributes: Attributes, new: Obj | None, old: Obj | None, reader: Reader) -> None:
        self.attributes, self.new, self.old = attributes, new, old
        self._reader = reader
        self._namespace: Obj | None = None
        metadata = (new or old or {}).get("metadata") or {}
        self.name = attributes.name or metadata.get("name") or ""

    async def applies(self, selection: Selection) -> Resource | None:
        """The resource by which the request is selected, or None."""
        seen_as = selection.seen_as(self.attributes, self.name, self.new, self.old)
        if seen_as is None or selection.namespaces.is_everything or matching.is_free_of_namespaces(self.attributes):
            return seen_as
        return seen_as if selection.namespaces.matches(matching.labels_of(await self._labelled() or {})) else None

    async def _labelled(self) -> Obj | None:
        """The namespace whose labels count."""
        if self.attributes.resource != NAMESPACES:
            return await self.namespace()
        if matching.carries_namespace(self.attributes):
            return self.new
        return self.old or await self._reader.find(NAMESPACES, self.attributes.name)

    async def namespace(self) -> Obj | None:
        """The namespace of the object; None for those that are in none, namespaces among them."""
        if not self.attributes.namespace or self.attributes.resource == NAMESPACES:
            return None
        if self._namespace is None:
            self._namespace = await self._reader.find(NAMESPACES, self.attributes.namespace)
        return self._namespace
