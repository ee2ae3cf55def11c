"""The custom resources of the moment, as controllers see them: learned from definitions, kept as a Catalog."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sparsam.client.informer import DELETED
from sparsam.controllers.runtime import Context, Obj
from sparsam.objects.catalog import BUILT_IN, Catalog
from sparsam.objects.customresources import resources_of
from sparsam.objects.kinds import CUSTOMRESOURCEDEFINITIONS, Resource

Changed = Callable[[Sequence[Resource], Sequence[Resource], bool], None]
"""(resources that came, resources that went, whether for good: their definition is gone, and its objects before it)."""

_METADATA = ("name", "uid", "resourceVersion", "deletionTimestamp", "finalizers", "ownerReferences")
_VERSION = ("name", "served", "storage", "subresources")


def slim_definition(definition: Obj) -> Obj:
    """What of a definition says which resources there are, and what the garbage collector wants of any object."""
    spec, status = definition["spec"], definition.get("status") or {}
    conditions = [{name: each.get(name) for name in ("type", "status")} for each in status.get("conditions") or ()]
    versions = [{name: each[name] for name in _VERSION if name in each} for each in spec["versions"]]
    return {
        "metadata": {name: definition["metadata"][name] for name in _METADATA if name in definition["metadata"]},
        "spec": {"group": spec["group"], "scope": spec["scope"], "versions": versions},
        "status": {"acceptedNames": status.get("acceptedNames") or {}, "conditions": conditions},
    }


class CustomResources:
    """Follows the definitions; of each only the preferred version is told of, since all show the same objects."""

    def __init__(self, context: Context, changed: Changed | None = None) -> None:
        self.catalog: Catalog = BUILT_IN
        self.informer = context.informers.metadata_informer(CUSTOMRESOURCEDEFINITIONS, slim_definition)
        self._changed = changed
        self._by_definition: dict[str, tuple[Resource, ...]] = {}
        self.informer.add_handler(self._on_definition)

    @property
    def collections(self) -> list[Resource]:
        """The preferred resource of each definition."""
        return [resources[0] for resources in self._by_definition.values() if resources]

    def _on_definition(self, kind: str, old: Obj | None, new: Obj | None) -> None:
        name = (new or old or {})["metadata"]["name"]
        before = self._by_definition.pop(name, ())
        # As much as it takes to reach the objects: that a definition is going does not make others of them.
        after = () if kind == DELETED or new is None else tuple(map(_plain, resources_of(new)))
        if after:
            self._by_definition[name] = after
        if after == before:
            return
        self.catalog = Catalog(each for resources in self._by_definition.values() for each in resources)
        if self._changed is not None and before[:1] != after[:1]:
            self._changed(after[:1], before[:1], kind == DELETED)


def _plain(resource: Resource) -> Resource:
    return Resource(resource.group, resource.version, resource.kind, resource.plural, resource.namespaced)
