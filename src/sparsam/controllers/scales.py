"""Scales of whatever can be scaled, built in or custom: found by kind through discovery, read, and changed.

Source: the scale subresource of autoscaling/v1, as upstream's scale client and REST mapper reach it.
"""

from __future__ import annotations

from typing import Any

from sparsam.client.api import ApiClient
from sparsam.errors import NotFound, SparsamError
from sparsam.objects.kinds import RESOURCES, Resource

Obj = dict[str, Any]


class NoMatch(SparsamError):
    """No resource of this kind is served."""


class NoScale(SparsamError):
    """The resource is served, but has no scale subresource."""


class Scales:
    """Scale subresources over an API client."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def resource(self, group: str, kind: str) -> Resource:
        """The resource whose objects are of this kind; raises NoMatch, and NoScale when it cannot be scaled."""
        found = await self.lookup(group, kind)
        if "scale" not in found.subresources:
            raise NoScale(f"{found.group_resource} does not implement the scale subresource")
        return found

    async def lookup(self, group: str, kind: str) -> Resource:
        """The resource whose objects are of this kind, in the version that the server prefers; raises NoMatch."""
        builtin = next((each for each in RESOURCES if (each.group, each.kind) == (group, kind)), None)
        return builtin or await self._discovered(group, kind)

    async def _discovered(self, group: str, kind: str) -> Resource:
        missing = NoMatch(f'no matches for kind "{kind}" in group "{group}"')
        if not group:
            raise missing
        try:
            preferred = (await self._client.get_json(f"/apis/{group}"))["preferredVersion"]["version"]
            listed = (await self._client.get_json(f"/apis/{group}/{preferred}")).get("resources") or []
        except NotFound:
            raise missing from None
        for each in listed:
            if each["kind"] == kind and "/" not in each["name"]:
                prefix = f"{each['name']}/"
                parts = tuple(e["name"].removeprefix(prefix) for e in listed if e["name"].startswith(prefix))
                return Resource(group, preferred, kind, each["name"], each["namespaced"], subresources=parts)
        raise missing

    async def get(self, resource: Resource, name: str, namespace: str) -> Obj:
        """The Scale of one object; raises NotFound."""
        return await self._client.get(resource, name, namespace, subresource="scale")

    async def resize(self, resource: Resource, scale: Obj, replicas: int) -> None:
        """Wish for another number of replicas; raises Conflict when the object changed since `scale` was read."""
        await self._client.update(resource, {**scale, "spec": {"replicas": replicas}}, subresource="scale")
