"""CustomResourceDefinitions as the API server follows them: names, conditions, the catalog, and the end of objects.

Every server watches the store, its own writes included, so that all of them serve the same. What is written is decided
from what is stored alone and written by compare and set: it does not matter which server is first. A definition's
resources are served from the moment its names are accepted; that it is established is written after that.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from sparsam.apiserver import conversion
from sparsam.apiserver.bootstrap import SELF
from sparsam.apiserver.deletion import DeleteOptions
from sparsam.apiserver.registry import Call, Registry
from sparsam.apiserver.served import Served
from sparsam.errors import NotFound, StatusError
from sparsam.objects import crdnames
from sparsam.objects.catalog import Catalog
from sparsam.objects.customresources import resources_of, stored_resource
from sparsam.objects.kinds import CUSTOMRESOURCEDEFINITIONS, Resource
from sparsam.objects.objecttypes import CustomResource
from sparsam.objects.strategy import Obj
from sparsam.store.interface import Entry, Event, EventType, StoreError

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
AGAIN_SECONDS = 1.0
"""How long to wait for objects that finalizers hold before looking again."""
AT_ONCE = 32
"""How many objects are deleted together: one commit serves all that wait for it."""


class Definitions:
    """Keeps what is served like the stored definitions say."""

    def __init__(self, registry: Registry, served: Served) -> None:
        self._registry, self._store, self._served = registry, registry.store, served
        self._since = 0
        self._known: dict[str, Obj] = {}
        """Of each definition as much as is needed to settle it: schemas would fill the memory."""
        self._resources: dict[str, tuple[CustomResource, ...]] = {}
        self._pending: set[str] = set()
        self._emptying: set[str] = set()
        self._woken = asyncio.Event()

    async def read(self) -> None:
        """Serve all that is stored, and go on from there when run."""
        page = await self._store.list(CUSTOMRESOURCEDEFINITIONS.storage_prefix)
        for name in self._known.keys() - set(map(_name, page.entries)):
            self._forget(name)
        for entry in page.entries:
            self._learn(entry)
        self._exchange()
        self._since = page.revision

    async def run(self) -> None:
        """Follow the store until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="definitions")
            group.create_task(self._work(group), name="definition conditions")

    async def _follow(self) -> None:
        while True:
            try:
                prefix, since = CUSTOMRESOURCEDEFINITIONS.storage_prefix, self._since
                async with self._store.watch(prefix, since=since) as batches:
                    async for batch in batches:
                        for event in batch:
                            self._take(event)
                        if batch:
                            self._exchange()
            except StoreError as error:
                log.warning("definitions are read again error=%s", error or type(error).__name__)
            await asyncio.sleep(RETRY_SECONDS)
            with contextlib.suppress(StoreError):
                await self.read()

    def _take(self, event: Event) -> None:
        if event.type is EventType.DELETED:
            self._forget(_name(event.entry))
        else:
            self._learn(event.entry)

    def _forget(self, name: str) -> None:
        gone = self._known.pop(name, None)
        self._resources.pop(name, None)
        if gone is not None:
            # Its names are free now.
            self._pending |= {each["metadata"]["name"] for each in self._group(gone["spec"]["group"])}
            self._woken.set()

    def _learn(self, entry: Entry) -> None:
        name = _name(entry)
        before = self._resources.pop(name, ())
        try:
            definition = conversion.decode(CUSTOMRESOURCEDEFINITIONS, entry.value, entry.revision)
            after = resources_of(definition)
            slim = crdnames.essence(definition)
        except Exception:
            # What was stored by a program, or by hands, that knew no better must not cost the others theirs.
            log.exception("definition is not served name=%s", name)
            self._known.pop(name, None)
            return
        # What is equal stays, with what was compiled of it.
        self._resources[name] = before if before == after else after
        self._known[name] = slim
        self._pending.add(name)
        self._woken.set()

    def _group(self, group: str) -> list[Obj]:
        return [each for each in self._known.values() if each["spec"]["group"] == group]

    def _exchange(self) -> None:
        custom = tuple(resource for _, resources in sorted(self._resources.items()) for resource in resources)
        if custom != self._served.catalog.custom:
            self._served.exchange(Catalog(custom))

    async def _work(self, group: asyncio.TaskGroup) -> None:
        while True:
            await self._woken.wait()
            self._woken.clear()
            names, self._pending = sorted(self._pending), set()
            for name in names:
                definition = self._known.get(name)
                if definition is None or name in self._emptying:
                    continue
                if "deletionTimestamp" not in definition["metadata"]:
                    await self._attempt(definition, self._settle)
                elif crdnames.FINALIZER in (definition["metadata"].get("finalizers") or ()):
                    # That can take long, and others wait to be established.
                    self._emptying.add(name)
                    group.create_task(self._attempt(definition, self._empty), name=f"emptying {name}")

    async def _attempt(self, definition: Obj, act: Callable[[Obj], Awaitable[None]]) -> None:
        name = definition["metadata"]["name"]
        try:
            await act(definition)
        except NotFound:
            pass
        except (StatusError, StoreError) as error:
            log.warning("definition will be looked at again name=%s error=%s", name, error)
            self._again(name)
        except Exception:
            log.exception("definition is left as it is name=%s", name)
        finally:
            self._emptying.discard(name)

    def _again(self, name: str) -> None:
        def wake() -> None:
            self._pending.add(name)
            self._woken.set()

        asyncio.get_running_loop().call_later(AGAIN_SECONDS, wake)

    async def _settle(self, definition: Obj) -> None:
        """Bring the status of one definition up to date."""
        metadata = definition["metadata"]
        others = [each for each in self._group(definition["spec"]["group"]) if each is not definition]
        now = self._registry.now()
        if crdnames.decide(definition, others, now) == definition.get("status"):
            return

        def decide(current: Obj) -> None:
            # Of a newer state the watch will tell, and it must be served before it is called established.
            if current["metadata"]["resourceVersion"] == metadata["resourceVersion"]:
                current["status"] = crdnames.decide(current, others, now)

        await self._mutate(metadata["name"], decide)

    async def _empty(self, definition: Obj) -> None:
        """Delete all objects of a definition that is going; let it go when none is left."""
        name, now = definition["metadata"]["name"], self._registry.now()
        await self._mutate(name, lambda current: _put_condition(current, crdnames.DELETION_IN_PROGRESS, now))
        whole = await self._registry.read(CUSTOMRESOURCEDEFINITIONS, name)
        resource = stored_resource(whole)
        if resource is not None and await self._delete_objects(resource):
            self._again(name)
            return

        def let_go(current: Obj) -> None:
            _put_condition(current, crdnames.DELETION_COMPLETED, now)
            metadata = current["metadata"]
            metadata["finalizers"] = [each for each in metadata.get("finalizers") or () if each != crdnames.FINALIZER]

        await self._mutate(name, let_go)

    async def _delete_objects(self, resource: Resource) -> int:
        """How many are left, held by finalizers."""
        prefix = resource.storage_prefix

        async def delete(entry: Entry) -> None:
            namespace, _, name = entry.key.removeprefix(prefix).rpartition("/")
            with contextlib.suppress(NotFound):
                await self._registry.delete(Call(resource, namespace, name, SELF, admitted=True), DeleteOptions())

        entries = (await self._store.list(prefix)).entries
        for start in range(0, len(entries), AT_ONCE):
            await asyncio.gather(*map(delete, entries[start : start + AT_ONCE]))
        return len((await self._store.list(prefix)).entries)

    async def _mutate(self, name: str, mutate: Callable[[Obj], None]) -> None:
        await self._registry.mutate(Call(CUSTOMRESOURCEDEFINITIONS, "", name, SELF), mutate)


def _put_condition(definition: Obj, condition: Obj, now: str) -> None:
    status = definition.setdefault("status", {})
    status["conditions"] = crdnames.with_condition(status.get("conditions") or [], condition, now)


def _name(entry: Entry) -> str:
    return entry.key.removeprefix(CUSTOMRESOURCEDEFINITIONS.storage_prefix)
