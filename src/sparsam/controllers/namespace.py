"""Empties a namespace that is being deleted, then lets it go.

Source: upstream's namespace controller; conditions and their texts are its.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sparsam.clock import format_time
from sparsam.controllers.customresources import CustomResources
from sparsam.controllers.runtime import Context, Controller, Key, Obj, own_key
from sparsam.errors import MethodNotAllowed, NotFound
from sparsam.objects.kinds import NAMESPACES, PODS, RESOURCES, Resource

FINALIZER = "kubernetes"
AGAIN_SECONDS = 1.0

# Two views of the same objects would only be emptied twice.
_SECOND_VIEWS = {("events.k8s.io", "events"), ("autoscaling", "horizontalpodautoscalers", "v1")}


@dataclass(slots=True)
class Remains:
    """What is left in a namespace: resource to number of objects, and finalizer to number of objects."""

    objects: dict[str, int] = field(default_factory=dict)
    finalizers: dict[str, int] = field(default_factory=dict)


def contents(custom: Iterable[Resource] = ()) -> list[Resource]:
    """Every namespaced resource, these custom ones among them, that can be emptied.

    Pods come first, as long as what they need is still there.
    """
    found = [
        resource
        for resource in (*RESOURCES, *custom)
        if resource.namespaced
        and {"list", "delete", "deletecollection"} <= set(resource.verbs)
        and (resource.group, resource.plural) not in _SECOND_VIEWS
        and (resource.group, resource.plural, resource.version) not in _SECOND_VIEWS
    ]
    return sorted(found, key=lambda resource: resource is not PODS)


def conditions(remains: Remains, now: str, known: list[Obj]) -> list[Obj]:
    """The five conditions of a namespace that is going."""
    content = ", ".join(f"{name} has {count} resource instances" for name, count in sorted(remains.objects.items()))
    held = ", ".join(f"{name} in {count} resource instances" for name, count in sorted(remains.finalizers.items()))
    wanted = [
        ("NamespaceDeletionDiscoveryFailure", False, "ResourcesDiscovered", "All resources successfully discovered"),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            False,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure",
            False,
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization",
        ),
        (
            "NamespaceContentRemaining",
            bool(content),
            "SomeResourcesRemain" if content else "ContentRemoved",
            f"Some resources are remaining: {content}" if content else "All content successfully removed",
        ),
        (
            "NamespaceFinalizersRemaining",
            bool(held),
            "SomeFinalizersRemain" if held else "ContentHasNoFinalizers",
            f"Some content in the namespace has finalizers remaining: {held}"
            if held
            else "All content-preserving finalizers finished",
        ),
    ]
    before = {condition["type"]: condition for condition in known}
    result = []
    for kind, true, reason, message in wanted:
        status = "True" if true else "False"
        old = before.get(kind, {})
        since = old["lastTransitionTime"] if old.get("status") == status else now
        entry = {"type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message}
        result.append(entry)
    return result


class NamespaceController:
    """Keyed by namespace."""

    def __init__(self, context: Context) -> None:
        self._client, self._clock = context.client, context.clock
        self._namespaces = context.informer(NAMESPACES)
        self._custom = CustomResources(context)
        self.controller = Controller("namespace", context, self.sync, workers=2)
        self.controller.watch(self._namespaces, own_key)
        self.controller.needs(self._custom.informer)

    async def sync(self, key: Key) -> None:
        """Empty a namespace that is going; when nothing is left, take our finalizer off."""
        _, name = key
        namespace = self._namespaces.get("", name)
        if namespace is None or "deletionTimestamp" not in namespace["metadata"]:
            return
        if FINALIZER not in (namespace["spec"].get("finalizers") or ()):
            return
        remains = await self._empty(name)
        if remains.objects:
            await self._report(namespace, remains)
            self.controller.queue.add_after(key, AGAIN_SECONDS)
            return
        await self._let_go(name)

    async def _empty(self, name: str) -> Remains:
        remains = Remains()
        for resource in contents(self._custom.collections):
            items = await self._contents(resource, name)
            if not items:
                continue
            for item in items:
                if "deletionTimestamp" not in item["metadata"]:
                    await self._delete(resource, item["metadata"]["name"], name)
            left = await self._contents(resource, name)
            if left:
                remains.objects[resource.group_resource] = len(left)
            for item in left:
                for finalizer in item["metadata"].get("finalizers") or ():
                    remains.finalizers[finalizer] = remains.finalizers.get(finalizer, 0) + 1
            if left and resource is PODS:
                # Network policies, secrets and the like outlive the last pod.
                break
        return remains

    async def _contents(self, resource: Resource, namespace: str) -> list[Obj]:
        try:
            items: list[Obj] = (await self._client.list(resource, namespace))["items"]
        except NotFound:
            # Its definition is gone, hence its objects are.
            return []
        return items

    async def _delete(self, resource: Resource, name: str, namespace: str) -> None:
        try:
            await self._client.delete(resource, name, namespace, propagation="Background")
        except (NotFound, MethodNotAllowed):
            return

    async def _report(self, namespace: Obj, remains: Remains) -> None:
        known = namespace.get("status", {}).get("conditions") or []
        wanted = conditions(remains, format_time(self._clock.now()), known)
        if wanted != known:
            status = {**namespace.get("status", {}), "conditions": wanted}
            await self._client.update(NAMESPACES, {**namespace, "status": status}, subresource="status")

    async def _let_go(self, name: str) -> None:
        try:
            namespace = await self._client.get(NAMESPACES, name)
            kept = [each for each in namespace["spec"].get("finalizers") or () if each != FINALIZER]
            await self._client.update(NAMESPACES, {**namespace, "spec": {"finalizers": kept}}, subresource="finalize")
        except NotFound:
            return
