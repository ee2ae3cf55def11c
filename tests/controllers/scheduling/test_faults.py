"""The scheduler before an API that loses, delays and repeats: it never overfills a node and in the end binds all that fits."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import pytest

from sparsam.clock import SystemClock
from sparsam.controllers.scheduling.feed import NEEDED, Feed
from sparsam.controllers.scheduling.placers import Placers
from sparsam.controllers.scheduling.shell import Scheduler
from sparsam.controllers.scheduling.volumebinding import VolumeBinder
from sparsam.controllers.scheduling.writing import Writer
from sparsam.errors import Conflict, NotFound
from sparsam.objects.kinds import NODES, PODS
from sparsam.scheduling.preemption import Budgets
from sparsam.scheduling.snapshot import Snapshot
from tests.support.scheduling import node, pod

Obj = dict[str, Any]

NODE_COUNT, POD_COUNT, CPU_OF_NODE, CPU_OF_POD = 4, 30, 2000, 250
FASTER = 200.0


class FastClock:
    """Seconds that pass in milliseconds."""

    def monotonic(self):
        return asyncio.get_running_loop().time() * FASTER

    def now(self):
        return SystemClock().now()

    async def sleep(self, seconds):
        await asyncio.sleep(seconds / FASTER)


class Informer:
    """Delivers changes when the test lets it, some of them twice, some only after a fresh list."""

    def __init__(self, chance):
        self.synced = asyncio.Event()
        self.synced.set()
        self._chance, self._objects, self._waiting, self._handlers = chance, {}, [], []

    def add_handler(self, handler):
        self._handlers.append(handler)
        for obj in list(self._objects.values()):
            handler("ADDED", None, obj)

    def get(self, namespace, name):
        return self._objects.get((namespace, name))

    def happened(self, kind, obj):
        self._waiting.append((kind, obj))

    def deliver(self, truth):
        fate = self._chance.random()
        if fate < 0.05:
            self._relist(truth)
        elif self._waiting:
            kind, obj = self._waiting.pop(0)
            self._tell(kind, obj)
            if fate < 0.2 and kind != "DELETED":
                self._tell("MODIFIED", obj)

    def _relist(self, truth):
        self._waiting.clear()
        for key in [key for key in self._objects if key not in truth]:
            self._tell("DELETED", self._objects[key])
        for obj in list(truth.values()):
            self._tell("ADDED", obj)

    def _tell(self, kind, obj):
        metadata = obj["metadata"]
        key = (metadata.get("namespace", ""), metadata["name"])
        old = self._objects.get(key)
        if kind == "DELETED":
            if self._objects.pop(key, None) is None:
                return
        else:
            self._objects[key] = obj
            kind = "MODIFIED" if old is not None else "ADDED"
        for handler in self._handlers:
            handler(kind, old, None if kind == "DELETED" else obj)


class World:
    """The truth, as an API server would have it, and a client whose calls may fail before or after they count."""

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.informers = {resource: Informer(self.chance) for resource in NEEDED}
        self.pods: dict[tuple[str, str], Obj] = {}
        self.nodes: dict[tuple[str, str], Obj] = {}
        self.refused_binds = 0
        self._version = 0

    def put(self, store, resource, obj):
        self._version += 1
        obj = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(self._version)}}
        key = (obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        kind = "MODIFIED" if key in store else "ADDED"
        store[key] = obj
        self.informers[resource].happened(kind, obj)

    def drop(self, key):
        self.informers[PODS].happened("DELETED", self.pods.pop(key))

    def used(self, name):
        return CPU_OF_POD * sum(each["spec"].get("nodeName") == name for each in self.pods.values())

    async def _fault(self):
        await asyncio.sleep(self.chance.random() / 500)
        if self.chance.random() < 0.1:
            raise TimeoutError("the call got lost")

    async def create(self, resource, binding, namespace, *, name, subresource):
        assert (resource, subresource) == (PODS, "binding")
        await self._fault()
        current = self.pods.get((namespace, name))
        if current is None:
            raise NotFound("gone")
        if current["spec"].get("nodeName") or current["metadata"]["uid"] != binding["metadata"]["uid"]:
            self.refused_binds += 1
            raise Conflict("already assigned")
        where = binding["target"]["name"]
        self.put(self.pods, PODS, {**current, "spec": {**current["spec"], "nodeName": where}})
        assert self.used(where) <= CPU_OF_NODE, f"{where} is overfilled"
        await self._fault()

    async def get(self, resource, name, namespace):
        await self._fault()
        if (namespace, name) not in self.pods:
            raise NotFound("gone")
        return self.pods[namespace, name]

    async def patch(self, resource, name, patch, *, namespace, kind, subresource):
        await self._fault()
        current = self.pods.get((namespace, name))
        if current is None:
            raise NotFound("gone")
        status = {**current.get("status", {}), **patch["status"]}
        self.put(self.pods, PODS, {**current, "status": status})


class Recorder:
    def event(self, *_, **options):
        pass


def made(number, generation=0):
    one = pod(f"p{number}", cpu=f"{CPU_OF_POD}m")
    one["metadata"]["uid"] = f"uid-{number}-{generation}"
    return one


async def disturb(world, seconds):
    """Deliver what happened bit by bit, and let pods come and go meanwhile."""
    loop, generation = asyncio.get_running_loop(), 0
    until = loop.time() + seconds
    while loop.time() < until:
        for resource, informer in world.informers.items():
            informer.deliver({NODES: world.nodes, PODS: world.pods}.get(resource, {}))
        if world.chance.random() < 0.05:
            generation += 1
            number = world.chance.randrange(POD_COUNT)
            if ("default", f"p{number}") in world.pods:
                world.drop(("default", f"p{number}"))
            world.put(world.pods, PODS, made(number, generation))
        await asyncio.sleep(0.001)


async def settle(world, running):
    """No more changes and no more losses: everything is delivered until nothing happens."""
    world.chance.random = lambda: 0.99
    deadline = asyncio.get_running_loop().time() + 60.0
    while asyncio.get_running_loop().time() < deadline and not running.done():
        for resource, informer in world.informers.items():
            informer.deliver({NODES: world.nodes, PODS: world.pods}.get(resource, {}))
        if all(each["spec"].get("nodeName") for each in world.pods.values()):
            return
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("seed", range(12))
async def test_nothing_is_overfilled_or_forgotten(seed):
    world, clock = World(seed), FastClock()
    snapshot, budgets = Snapshot(), Budgets()
    writer = Writer(world, Recorder(), clock, "default-scheduler")
    placers = Placers(snapshot, budgets)
    feed, no_volumes = Feed(snapshot, budgets, placers), VolumeBinder(world, Informer(None), Informer(None), clock)
    scheduler = Scheduler(world.informers, feed, placers, writer, no_volumes, clock=clock)
    for number in range(NODE_COUNT):
        world.put(world.nodes, NODES, node(f"n{number}", cpu=f"{CPU_OF_NODE}m"))
    for number in range(POD_COUNT):
        world.put(world.pods, PODS, made(number))
    running = asyncio.create_task(scheduler.run())
    try:
        await disturb(world, 0.4)
        await settle(world, running)
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
    assert [each["metadata"]["name"] for each in world.pods.values() if not each["spec"].get("nodeName")] == []
    assert all(world.used(f"n{number}") <= CPU_OF_NODE for number in range(NODE_COUNT))
