"""A local, ever-fresh copy of one resource: list once, watch from there, list again when the watch is lost."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable
from typing import Any

import aiohttp

from sparsam.client.api import ApiClient
from sparsam.client.sharing import Pool
from sparsam.errors import Gone, StatusError
from sparsam.objects.kinds import Resource

log = logging.getLogger(__name__)

Obj = dict[str, Any]
Handler = Callable[[str, Obj | None, Obj | None], None]
IndexFunction = Callable[[Obj], Iterable[str]]

ADDED, MODIFIED, DELETED = "ADDED", "MODIFIED", "DELETED"
FIRST_BACKOFF_SECONDS = 0.2
LAST_BACKOFF_SECONDS = 10.0


class Informer:
    """Keeps every object of a resource in memory and tells handlers of each change.

    Handlers get (type, old, new), are called on the event loop in the order of the log and must not block; for what
    is there already when a handler is added, it gets ADDED at once. Objects are shared: nobody may change them.
    """

    def __init__(
        self,
        client: ApiClient,
        resource: Resource,
        namespace: str = "",
        *,
        field_selector: str = "",
        label_selector: str = "",
        transform: Callable[[Obj], Obj] | None = None,
    ) -> None:
        self.resource = resource
        self.synced = asyncio.Event()
        self._client = client
        self._namespace = namespace
        self._field_selector, self._label_selector = field_selector, label_selector
        self._transform = transform
        self._objects: dict[tuple[str, str], Obj] = {}
        self._handlers: list[Handler] = []
        self._indexes: dict[str, tuple[IndexFunction, dict[str, dict[tuple[str, str], Obj]]]] = {}
        self._version = ""
        self._pool = Pool()

    def add_handler(self, handler: Handler) -> None:
        """Call `handler` for all that is known and for every change to come."""
        self._handlers.append(handler)
        for obj in list(self._objects.values()):
            handler(ADDED, None, obj)

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Keep objects findable by the texts that `function` gives for them."""
        if name in self._indexes:
            return
        self._indexes[name] = (function, {})
        for key, obj in self._objects.items():
            self._enter(name, key, obj)

    def by_index(self, name: str, value: str) -> list[Obj]:
        """Objects for which the index function gave `value`."""
        return list(self._indexes[name][1].get(value, {}).values())

    def get(self, namespace: str, name: str) -> Obj | None:
        """One object, or None; the namespace is empty for cluster-scoped resources."""
        return self._objects.get((namespace, name))

    def items(self) -> list[Obj]:
        """All objects."""
        return list(self._objects.values())

    async def run(self) -> None:
        """Follow the API until cancelled; errors are waited out."""
        backoff_seconds = FIRST_BACKOFF_SECONDS
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._watch()
                backoff_seconds = FIRST_BACKOFF_SECONDS
                continue
            except Gone:
                self._version = ""
                log.info("watch expired, listing again resource=%s", self.resource.plural)
            except (StatusError, aiohttp.ClientError, OSError, TimeoutError) as error:
                log.warning("watch lost resource=%s error=%s", self.resource.plural, error or type(error).__name__)
            await asyncio.sleep(backoff_seconds * random.uniform(0.5, 1.5))
            backoff_seconds = min(backoff_seconds * 2, LAST_BACKOFF_SECONDS)

    async def _list(self) -> None:
        listed = await self._client.list(
            self.resource,
            self._namespace,
            field_selector=self._field_selector,
            label_selector=self._label_selector,
        )
        seen = set()
        for obj in listed["items"]:
            seen.add(_key(obj))
            known = self._objects.get(_key(obj))
            if known is None or known["metadata"]["resourceVersion"] != obj["metadata"]["resourceVersion"]:
                self._store(MODIFIED if known else ADDED, obj)
        for key in [key for key in self._objects if key not in seen]:
            self._store(DELETED, self._objects[key])
        self._version = listed["metadata"]["resourceVersion"]
        self.synced.set()

    async def _watch(self) -> None:
        watch = self._client.watch(
            self.resource,
            self._namespace,
            resource_version=self._version,
            field_selector=self._field_selector,
            label_selector=self._label_selector,
        )
        async for kind, obj in watch:
            if kind != "BOOKMARK":
                self._store(kind, obj)
            self._version = obj["metadata"]["resourceVersion"]

    def _store(self, kind: str, obj: Obj) -> None:
        # Items of a list come without these; handlers and event recorders want them.
        obj.setdefault("kind", self.resource.kind)
        obj.setdefault("apiVersion", self.resource.api_version)
        # Half of a pod's fields again, and nobody here asks who wrote them; writes without them leave them as they are.
        obj["metadata"].pop("managedFields", None)
        if self._transform is not None:
            obj = self._transform(obj)
        key = _key(obj)
        old = self._objects.pop(key, None)
        obj = self._pool.share(obj) if old is None else self._pool.succeed(obj, old)
        for name in self._indexes:
            if old is not None:
                self._leave(name, key, old)
        if kind != DELETED:
            self._objects[key] = obj
            for name in self._indexes:
                self._enter(name, key, obj)
        elif old is None:
            return
        told = ADDED if old is None else kind if kind == DELETED else MODIFIED
        for handler in self._handlers:
            try:
                handler(told, old, None if kind == DELETED else obj)
            except Exception:
                # One faulty listener must not cost the others their view of the cluster.
                log.exception("handler failed resource=%s key=%s", self.resource.plural, "/".join(key))

    def _enter(self, name: str, key: tuple[str, str], obj: Obj) -> None:
        function, index = self._indexes[name]
        for value in function(obj):
            index.setdefault(value, {})[key] = obj

    def _leave(self, name: str, key: tuple[str, str], obj: Obj) -> None:
        function, index = self._indexes[name]
        for value in function(obj):
            bucket = index.get(value)
            if bucket is not None:
                bucket.pop(key, None)
                if not bucket:
                    del index[value]


class InformerFactory:
    """One shared informer for each resource, started together."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._informers: dict[Resource, Informer] = {}
        self._slim: dict[Resource, Informer] = {}
        self._group: asyncio.TaskGroup | None = None
        self._tasks: dict[Informer, asyncio.Task[None]] = {}

    def informer(self, resource: Resource) -> Informer:
        """The informer of whole objects of a resource, over all namespaces."""
        if resource not in self._informers:
            self._informers[resource] = self._begin(Informer(self._client, resource))
        return self._informers[resource]

    def metadata_informer(self, resource: Resource, transform: Callable[[Obj], Obj]) -> Informer:
        """An informer for callers that need no more than `transform` keeps; whole objects if those are kept anyway."""
        if resource in self._informers:
            return self._informers[resource]
        if resource not in self._slim:
            self._slim[resource] = self._begin(Informer(self._client, resource, transform=transform))
        return self._slim[resource]

    def drop(self, resource: Resource) -> None:
        """Stop following a resource that is not served any more."""
        for known in (self._informers, self._slim):
            informer = known.pop(resource, None)
            task = self._tasks.pop(informer, None) if informer is not None else None
            if task is not None:
                task.cancel()

    def start(self, group: asyncio.TaskGroup) -> None:
        """Run every informer, also those asked for later, in a task group."""
        self._group = group
        for informer in (*self._informers.values(), *self._slim.values()):
            self._begin(informer)

    async def synced(self) -> None:
        """Wait until every informer has listed once."""
        informers = (*self._informers.values(), *self._slim.values())
        await asyncio.gather(*(informer.synced.wait() for informer in informers))

    def _begin(self, informer: Informer) -> Informer:
        if self._group is not None:
            name = f"informer {informer.resource.plural}"
            self._tasks[informer] = self._group.create_task(informer.run(), name=name)
        return informer


def _key(obj: Obj) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
