"""An object as a webhook or a policy knows it, and back: a Scale, or the version of the API that a rule names."""

from __future__ import annotations

from dataclasses import dataclass

from sparsam.apiserver import conversion
from sparsam.apiserver.admission import Attributes
from sparsam.apiserver.converting import Convert
from sparsam.objects import pipeline, scale
from sparsam.objects.kinds import Resource
from sparsam.objects.objecttypes import CustomResource
from sparsam.objects.strategy import Obj


@dataclass(frozen=True, slots=True)
class View:
    """How the object of a request looks to somebody whose rule is about `seen_as`."""

    attributes: Attributes
    seen_as: Resource
    convert: Convert

    async def show(self, obj: Obj | None) -> Obj | None:
        """The object in that form; raises InternalError when it cannot be converted."""
        if obj is None:
            return None
        if self.attributes.subresource == "scale":
            return scale.view(self.attributes.resource, obj)
        if self._is_other_kind:
            return obj
        return await self._between(self.attributes.resource, obj, self.seen_as)

    async def take_back(self, changed: Obj, before: Obj) -> Obj:
        """What `before` becomes by a change of its shown form; raises StatusError where it makes no object."""
        resource = self.attributes.resource
        if self.attributes.subresource == "scale":
            return scale.update(resource, before, pipeline.reread(resource, changed, "scale"))
        if self._is_other_kind:
            return dict(changed)
        obj = await self._between(self.seen_as, pipeline.reread(self.seen_as, changed), resource)
        if not obj.get("metadata"):
            obj["metadata"] = {}
        pipeline.keep_owners(obj, before)
        return obj

    @property
    def _is_other_kind(self) -> bool:
        """Whether the object is not one of the resource: a Binding, an Eviction, the options of a connection."""
        return bool(self.attributes.subresource) and self.attributes.operation in ("CREATE", "CONNECT")

    async def _between(self, resource: Resource, obj: Obj, other: Resource) -> Obj:
        if resource == other:
            return obj
        if isinstance(resource, CustomResource) and resource.type.needs_conversion:
            return (await self.convert(resource, [obj], other.api_version))[0]
        return {**conversion.between(resource, obj, other), "kind": other.kind, "apiVersion": other.api_version}
