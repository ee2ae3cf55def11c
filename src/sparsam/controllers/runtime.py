"""What every controller shares: informers, an event recorder, and a loop over a work queue of keys.

A controller is a name, the resources it watches and a coroutine that brings one key in order. The runtime owns
the queue, the workers and the retries; deciding what to do stays in pure functions beside each controller.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sparsam.client.api import ApiClient
from sparsam.client.events import EventRecorder
from sparsam.client.informer import Informer, InformerFactory
from sparsam.client.queue import WorkQueue
from sparsam.clock import Clock
from sparsam.objects.kinds import Resource

log = logging.getLogger(__name__)

Obj = dict[str, Any]
Key = tuple[str, str]
"""(namespace, name)."""


@dataclass(frozen=True, slots=True)
class Context:
    """What controllers are given."""

    client: ApiClient
    informers: InformerFactory
    clock: Clock

    def informer(self, resource: Resource) -> Informer:
        """The shared informer of a resource."""
        return self.informers.informer(resource)

    def recorder(self, component: str) -> EventRecorder:
        """A recorder of events; run it beside the controller."""
        return EventRecorder(self.client, component, clock=self.clock)


class Controller:
    """A work queue, its workers and its event recorder."""

    def __init__(
        self, name: str, context: Context, sync: Callable[[Key], Awaitable[None]], *, workers: int = 4
    ) -> None:
        self.name = name
        self.queue: WorkQueue[Key] = WorkQueue(name)
        self.recorder = context.recorder(name)
        self._sync = sync
        self._workers = workers
        self._needed: list[Informer] = []

    def watch(self, informer: Informer, keys: Callable[[Obj], Iterable[Key]]) -> None:
        """Queue the keys that `keys` gives for an object, for its old and its new state, at each change."""
        self._needed.append(informer)

        def on_change(_kind: str, old: Obj | None, new: Obj | None) -> None:
            for obj in (old, new):
                if obj is not None:
                    for key in keys(obj):
                        self.queue.add(key)

        informer.add_handler(on_change)

    def needs(self, informer: Informer) -> None:
        """Do not start before this informer has listed."""
        self._needed.append(informer)

    async def run(self) -> None:
        """Work until cancelled."""
        await asyncio.gather(*(informer.synced.wait() for informer in self._needed))
        async with asyncio.TaskGroup() as group:
            group.create_task(self.recorder.run(), name=f"{self.name} events")
            group.create_task(self.queue.run(self._sync, workers=self._workers), name=f"{self.name} workers")


def own_key(obj: Obj) -> list[Key]:
    """The key of the object itself."""
    return [key_of(obj)]


def key_of(obj: Obj) -> Key:
    """(namespace, name) of an object."""
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def controller_of(obj: Obj) -> Obj | None:
    """The owner reference that manages an object, or None."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            return dict(reference)
    return None


def owner_key(kind: str) -> Callable[[Obj], list[Key]]:
    """Keys of the managing owner, when it is of this kind."""

    def keys(obj: Obj) -> list[Key]:
        owner = controller_of(obj)
        return [(obj["metadata"].get("namespace", ""), owner["name"])] if owner and owner["kind"] == kind else []

    return keys


def controller_reference(owner: Obj, resource: Resource) -> Obj:
    """The owner reference that makes `owner` manage an object."""
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
