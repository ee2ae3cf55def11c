"""The names and schemas under which OpenAPI documents know custom resources and lists of them."""

from __future__ import annotations

from sparsam.objects.kinds import Resource
from sparsam.objects.objecttypes import CustomResource
from sparsam.objects.strategy import Obj
from sparsam.objects.structural.publishing import publish_list, publish_v2, publish_v3


def definition_name(group: str, version: str, kind: str) -> str:
    """`com.example.stable.v1.CronTab`."""
    return ".".join([*reversed(group.split(".")), version, kind])


def definitions(resource: Resource, *, openapi: int) -> Obj:
    """The schemas of a custom resource's objects and of their list, by name; none for other resources."""
    if not isinstance(resource, CustomResource):
        return {}
    kind = (resource.group, resource.version, resource.kind)
    name, publish = definition_name(*kind), publish_v2 if openapi == 2 else publish_v3
    list_name = definition_name(resource.group, resource.version, resource.list_kind)
    listed = publish_list(name, resource.plural, kind, resource.list_kind, openapi=openapi)
    return {name: publish(resource.type.schema, kind), list_name: listed}
