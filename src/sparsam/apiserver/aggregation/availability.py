"""Whether the servers behind APIServices can be reached: looked at again and again, and written into their status.

Every API server looks for itself and writes what it sees; as long as they see the same, nothing is written.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

import msgspec

from sparsam.apiserver.aggregation.aggregator import Aggregator
from sparsam.apiserver.aggregation.apiservices import (
    AUTOMANAGED,
    LOCAL,
    PASSED,
    Backend,
    Documents,
    backend_of,
    condition,
    condition_of,
    local_api_service,
)
from sparsam.apiserver.bootstrap import SELF
from sparsam.apiserver.deletion import DeleteOptions
from sparsam.apiserver.endpoints import slices_of
from sparsam.apiserver.reader import StoreReader
from sparsam.apiserver.registry import Call, Registry
from sparsam.apiserver.served import Served
from sparsam.errors import AlreadyExists, NotFound, StatusError
from sparsam.objects.conditions import set_status_condition
from sparsam.objects.kinds import APISERVICES, SERVICES
from sparsam.objects.strategy import Obj
from sparsam.store.interface import StoreError

log = logging.getLogger(__name__)

ROUND_SECONDS = 1.0
SETTLED_ROUNDS = 10
"""Servers that were seen well are looked at only in every so manieth round."""
CHECK_SECONDS = 5.0
LONGEST_DOCUMENT_BYTES = 4 * 1024 * 1024


class Availability:
    """Keeps the conditions of APIServices, and the APIServices of custom resources."""

    def __init__(self, registry: Registry, reader: StoreReader, served: Served, aggregator: Aggregator) -> None:
        self._registry, self._reader = registry, reader
        self._served, self._aggregator = served, aggregator
        self._round = 0
        self._orphans: set[str] = set()

    async def run(self) -> None:
        """Look until cancelled: in rounds while other servers take part, else when something changes."""
        while True:
            is_watched = True
            try:
                is_watched = await self._look()
            except (StatusError, StoreError) as error:
                log.warning("APIServices will be looked at again error=%s", error)
            self._round += 1
            await asyncio.sleep(ROUND_SECONDS)
            if not is_watched:
                await self._change()

    async def _change(self) -> None:
        events = self._served.exchanged, self._aggregator.woken
        waits = [asyncio.ensure_future(event.wait()) for event in events]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _look(self) -> bool:
        """One round; whether there is somebody to be looked at in the next one."""
        self._served.exchanged.clear()
        self._aggregator.woken.clear()
        known = list(self._aggregator.mirror.objects.values())
        await self._register(known)
        remote = []
        for api in known:
            backend = backend_of(api)
            if backend is None:
                await self._write(api, LOCAL)
            else:
                remote.append((api, backend))
        await asyncio.gather(*(self._look_at(api, backend) for api, backend in remote))
        return bool(remote or self._orphans)

    async def _register(self, known: list[Obj]) -> None:
        """Let there be APIServices for the groups of custom resources that are served, and for no others."""
        wanted = {f"{each.version}.{each.group}": (each.group, each.version) for each in self._served.catalog.custom}
        for name in wanted.keys() - {api["metadata"]["name"] for api in known}:
            obj = local_api_service(*wanted[name], custom=True)
            try:
                await self._registry.create(Call(APISERVICES, "", name, SELF, admitted=True), obj)
            except AlreadyExists:
                continue
        orphans = {
            api["metadata"]["name"] for api in known if (api["metadata"].get("labels") or {}).get(AUTOMANAGED) == "true"
        } - wanted.keys()
        # Another server may know of a definition before this one does: only what is alone for a while goes.
        for name in orphans & self._orphans:
            try:
                await self._registry.delete(Call(APISERVICES, "", name, SELF, admitted=True), DeleteOptions())
            except NotFound:
                continue
        self._orphans = orphans

    async def _look_at(self, api: Obj, backend: Backend) -> None:
        if not backend.available or self._round % SETTLED_ROUNDS == 0:
            await self._write(api, await self._check(backend))

    async def _check(self, backend: Backend) -> Obj:
        """The condition of a server."""
        where = f'service/{backend.service} in "{backend.namespace}"'
        service = await self._reader.find(SERVICES, backend.service, backend.namespace)
        if service is None:
            return condition("ServiceNotFound", f"{where} is not present", status=False)
        if service["spec"].get("type") == "ClusterIP" and (fault := await self._endpoints_fault(backend, service)):
            return fault
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                self._aggregator.learn(backend.name, await self._documents(backend))
        except TimeoutError:
            place = f"https://{backend.server_name}:{backend.port}{backend.path}"
            return condition("FailedDiscoveryCheck", f"timed out waiting for {place}", status=False)
        except (StatusError, ValueError) as error:
            place = f"https://{backend.server_name}:{backend.port}{backend.path}"
            told = f"failing or missing response from {place}: {error}"
            return condition("FailedDiscoveryCheck", told, status=False)
        return PASSED

    async def _endpoints_fault(self, backend: Backend, service: Obj) -> Obj | None:
        where = f'service/{backend.service} in "{backend.namespace}"'
        port = next((each for each in service["spec"].get("ports") or () if each["port"] == backend.port), None)
        if port is None:
            return condition("ServicePortError", f"{where} is not listening on port {backend.port}", status=False)
        slices = await slices_of(self._reader, backend.namespace, backend.service)
        if not slices:
            return condition("EndpointsNotFound", f"cannot find endpointslices for {where}", status=False)
        name = port.get("name", "")
        for each in slices:
            has_port = any(known.get("name", "") == name for known in each.get("ports") or ())
            ready = (end.get("conditions") or {} for end in each.get("endpoints") or ())
            if has_port and any(known.get("ready", True) is not False for known in ready):
                return None
        told = f'endpoints for {where} have no addresses with port name "{name}"'
        return condition("MissingEndpoints", told, status=False)

    async def _documents(self, backend: Backend) -> Documents:
        """What a server says that it serves; raises StatusError, and ValueError when it is nothing of the kind."""
        listed = await self._read(backend, backend.path)
        resources = listed.get("resources") or []
        if not isinstance(resources, list) or not all(_is_resource(each) for each in resources):
            raise ValueError("the answer is no APIResourceList")
        return Documents(tuple(resources), await self._openapi(backend))

    async def _openapi(self, backend: Backend) -> Mapping[str, str]:
        """The server's own part of its OpenAPI documents; a server need not have any."""
        try:
            listed = (await self._read(backend, "/openapi/v3")).get("paths")
        except (StatusError, ValueError):
            return {}
        own = (listed if isinstance(listed, dict) else {}).get(backend.path.removeprefix("/"))
        url = own.get("serverRelativeURL") if isinstance(own, dict) else None
        if not isinstance(url, str) or not url.startswith(f"/openapi/v3{backend.path}"):
            return {}
        return {backend.path.removeprefix("/"): url}

    async def _read(self, backend: Backend, path: str) -> Obj:
        raw = await self._aggregator.read(backend, path, LONGEST_DOCUMENT_BYTES)
        try:
            return msgspec.json.decode(raw, type=dict[str, object])
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ValueError("the answer is no JSON object") from None

    async def _write(self, api: Obj, wanted: Obj) -> None:
        known = condition_of(api)
        if all(known.get(key) == value for key, value in wanted.items()):
            return
        name, now = api["metadata"]["name"], self._registry.now()

        def change(current: Obj) -> None:
            status = current.setdefault("status", {})
            status["conditions"] = set_status_condition(status.get("conditions") or (), wanted, now)

        try:
            await self._registry.mutate(Call(APISERVICES, "", name, SELF), change)
        except NotFound:
            return
        if wanted["reason"] != "Local":
            log.info("APIService changed name=%s available=%s reason=%s", name, wanted["status"], wanted["reason"])


def _is_resource(entry: object) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("name"), str)
