"""CustomResourceDefinitions for tests, and waiting until they are served."""

import asyncio
from typing import Any

from sparsam.client.api import ApiClient
from sparsam.objects.customresources import condition_is_true
from sparsam.objects.kinds import CUSTOMRESOURCEDEFINITIONS, Resource

Obj = dict[str, Any]
WAIT_SECONDS = 30

OPEN = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
SCHEMA: Obj = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "color": {"type": "string", "default": "red"},
                "size": {"type": "integer", "minimum": 1},
                "replicas": {"type": "integer"},
            },
        },
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}


def version(name: str = "v1", schema: Obj | None = None, **fields: Any) -> Obj:
    """An entry of `spec.versions`."""
    schemas = {"openAPIV3Schema": schema or SCHEMA}
    return {"name": name, "served": True, "storage": name == "v1", "schema": schemas, **fields}


def definition(
    *versions: Obj, kind: str = "Widget", group: str = "example.com", scope: str = "Namespaced", **names: Any
) -> Obj:
    """A definition as clients send it; names follow from the kind."""
    plural = names.pop("plural", f"{kind.lower()}s")
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"plural": plural, "kind": kind, **names},
            "versions": list(versions) or [version()],
        },
    }


def accepted(obj: Obj) -> Obj:
    """A definition as it is stored once its names are accepted."""
    names = {"singular": obj["spec"]["names"]["kind"].lower(), **obj["spec"]["names"]}
    names.setdefault("listKind", f"{names['kind']}List")
    conditions = [{"type": "NamesAccepted", "status": "True"}, {"type": "Established", "status": "True"}]
    return obj | {"status": {"acceptedNames": names, "conditions": conditions}}


def widgets(served: str = "v1", **fields: Any) -> Resource:
    """The resource of the usual definition, as clients know it."""
    return Resource("example.com", served, "Widget", "widgets", **fields)


def widget(name: str, served: str = "v1", namespace: str = "default", **spec: Any) -> Obj:
    """An object of it."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": f"example.com/{served}", "kind": "Widget", "metadata": metadata, "spec": spec}


async def established(client: ApiClient, obj: Obj) -> Obj:
    """Create a definition and wait until its objects are served; the definition then."""
    await client.create(CUSTOMRESOURCEDEFINITIONS, obj)
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            found = await client.get(CUSTOMRESOURCEDEFINITIONS, obj["metadata"]["name"])
            if condition_is_true(found, "Established"):
                return found
            await asyncio.sleep(0.02)
