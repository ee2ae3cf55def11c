"""Services and their EndpointSlices as last seen, and which Services changed since they were last looked at. Pure."""

from __future__ import annotations

from typing import Any

from sparsam.proxy.endpoints import service_of

Obj = dict[str, Any]
ServiceKey = tuple[str, str]


class View:
    """Joins the two kinds; every change marks the one Service it concerns."""

    def __init__(self) -> None:
        self.changed: set[ServiceKey] = set()
        self._services: dict[ServiceKey, Obj] = {}
        self._slices: dict[ServiceKey, dict[str, Obj]] = {}
        self._owners: dict[tuple[str, str], ServiceKey] = {}

    def put_service(self, service: Obj) -> None:
        """A Service appeared or changed."""
        key = _key(service)
        self._services[key] = service
        self.changed.add(key)

    def drop_service(self, service: Obj) -> None:
        """A Service is gone."""
        key = _key(service)
        if self._services.pop(key, None) is not None:
            self.changed.add(key)

    def put_slice(self, endpoint_slice: Obj) -> None:
        """An EndpointSlice appeared or changed."""
        key, owner = _key(endpoint_slice), service_of(endpoint_slice)
        if self._owners.get(key) != owner:
            self.drop_slice(endpoint_slice)
        if owner:
            self._owners[key] = owner
            self._slices.setdefault(owner, {})[key[1]] = endpoint_slice
            self.changed.add(owner)

    def drop_slice(self, endpoint_slice: Obj) -> None:
        """An EndpointSlice is gone."""
        key = _key(endpoint_slice)
        owner = self._owners.pop(key, None)
        if owner is None:
            return
        slices = self._slices[owner]
        del slices[key[1]]
        if not slices:
            del self._slices[owner]
        self.changed.add(owner)

    def take_changed(self) -> set[ServiceKey]:
        """The Services that changed since the last call."""
        changed, self.changed = self.changed, set()
        return changed

    def touch_all(self) -> None:
        """Something that concerns every Service changed."""
        self.changed |= self._services.keys()

    def get(self, key: ServiceKey) -> tuple[Obj | None, list[Obj]]:
        """A Service, or None, and its slices in a stable order."""
        slices = self._slices.get(key, {})
        return self._services.get(key), [slices[name] for name in sorted(slices)]


def _key(obj: Obj) -> tuple[str, str]:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
