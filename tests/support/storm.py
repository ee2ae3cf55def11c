"""kill -9 of a cluster's processes in the middle of each phase of a pod, and what must hold afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import aiohttp

from sparsam.agent.cri import Cri
from sparsam.agent.podspec import is_terminal
from sparsam.agent.runtime import RuntimeFault
from sparsam.client.api import ApiClient
from sparsam.client.informer import Informer
from sparsam.errors import AlreadyExists, Conflict, Invalid, NotFound, StatusError
from sparsam.objects.kinds import CONFIGMAPS, PODS
from tests.support import witness
from tests.support.leaks import NodeFiles, kill_hard
from tests.support.registry import SlowRegistry
from tests.support.witness import Obj, Witness

T = TypeVar("T")
UNREACHED = (aiohttp.ClientError, OSError, TimeoutError)
NAMESPACE = "default"
VICTIMS = (
    *("containerd", "containerd", "containerd", "shim", "shim", "shim", "shim"),
    *("node", "node", "api", "containerd+node", "shim+node"),
)
POPULATION = 8
STRIKERS = 3
TRIGGER_SECONDS = 60.0
CONVERGE_SECONDS = 240.0


@dataclass
class Storm:
    """One run: `blow` kills, `calm` waits until all is as it should be."""

    client: ApiClient
    files: NodeFiles
    children: Callable[[], dict[str, int]]
    witness: Witness
    registry: SlowRegistry
    chance: random.Random
    say: Callable[[str], None] = print
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    sockets: set[str] = field(default_factory=set)
    written: dict[str, int] = field(default_factory=dict)
    """ConfigMaps and the last value of each that the API acknowledged."""
    once: set[tuple[str, str]] = field(default_factory=set)
    """Containers, by pod uid and name, that may start only once."""
    _agenda: list[str] = field(default_factory=list)
    _number: int = 0

    @property
    def phases(self) -> dict[str, Callable[[], Awaitable[str]]]:
        """What is under way when the kill comes; each returns the uid of the pod that it is about."""
        return {
            "sandbox": self._sandbox,
            "volumes": self._volumes,
            "pull": self._pull,
            "init": self._init,
            "start": self._start,
            "sidecar": self._sidecar,
            "running": self._running,
            "probes": self._probes,
            "once": self._once,
            "ephemeral": self._ephemeral,
            "resize": self._resize,
            "termination": self._termination,
            "teardown": self._teardown,
        }

    async def blow(self, kills: int) -> None:
        """Kill so many times, each phase in turn, in an order that chance gives, in several pods at a time."""
        async with self._following():
            await asyncio.gather(*(self._rage(kills) for _ in range(STRIKERS)))

    async def _rage(self, kills: int) -> None:
        while self.kills.total() < kills:
            if not self._agenda:
                self._agenda = self.chance.sample(list(self.phases), len(self.phases))
            await self._strike(self._agenda.pop())
            await self._reap()

    async def _strike(self, phase: str) -> None:
        victim = self.chance.choice(VICTIMS)
        delay = self.chance.uniform(0.0, 0.5)
        try:
            uid = await self.phases[phase]()
        except TimeoutError:
            self.say(f"     {phase:12} did not come about within {TRIGGER_SECONDS:.0f} s")
            return
        await asyncio.sleep(delay)
        self.sockets |= self.files.shim_sockets()
        struck = [part for part in victim.split("+") if self._kill(part, uid)]
        if struck:
            self.kills[phase, "+".join(struck)] += 1
            self.say(f"{self.kills.total():4} {phase:12} {'+'.join(struck):16} after {delay:.2f} s pod {uid}")

    def _kill(self, part: str, uid: str) -> bool:
        if part == "containerd":
            return kill_hard(self.files.engine_pid())
        if part == "shim":
            shims = self.files.shim_pids(uid) or self.files.shim_pids()
            if not shims:
                return False
            return kill_hard(self.chance.choice(sorted(shims.values())))
        name = next((name for name in self.children() if name == part or name.startswith(f"{part}-")), "")
        return kill_hard(self.children().get(name))

    # -- phases ---------------------------------------------------------------------------------------------

    async def _sandbox(self) -> str:
        pod = await self._create(witness.plain)
        await self._until(lambda: self._seen(pod)["spec"].get("nodeName"))
        return uid_of(pod)

    async def _volumes(self) -> str:
        pod = await self._create(witness.voluminous)
        await self._until((self.files.paths.pods_dir / uid_of(pod)).exists)
        return uid_of(pod)

    async def _pull(self) -> str:
        tag = f"t{self.chance.getrandbits(48):x}"
        image = self.registry.image(tag)
        pod = await self._create(lambda name, directory: witness.pulled(name, directory, image))
        await self._until(lambda: tag in self.registry.asked)
        return uid_of(pod)

    async def _init(self) -> str:
        pod = await self._create(witness.initialised)
        await self._until(lambda: self.witness.said("start", uid_of(pod), self.chance.choice(("i1", "i2"))))
        return uid_of(pod)

    async def _start(self) -> str:
        pod = await self._create(witness.plain)
        await self._until_listed(uid_of(pod))
        return uid_of(pod)

    async def _sidecar(self) -> str:
        pod = await self._create(witness.accompanied)
        await self._until(lambda: self.witness.said("start", uid_of(pod), "s"))
        return uid_of(pod)

    async def _running(self) -> str:
        pod = await self._create(witness.plain)
        await self._until(lambda: is_ready(self._seen(pod)))
        return uid_of(pod)

    async def _probes(self) -> str:
        pod = await self._create(witness.probed)
        await self._until(lambda: self.witness.said("probe", uid_of(pod)))
        return uid_of(pod)

    async def _once(self) -> str:
        pod = await self._create(witness.once)
        self.once.add((uid_of(pod), "c"))
        await self._until(lambda: self.witness.said("start", uid_of(pod)))
        return uid_of(pod)

    async def _ephemeral(self) -> str:
        pod = self._any_ready() or await self._ready_pod()
        if uid_of(pod) not in {uid for uid, name in self.once if name == "e"}:
            self.once.add((uid_of(pod), "e"))
            await self._patch(pod, {"spec": {"ephemeralContainers": [witness.ephemeral()]}}, "ephemeralcontainers")
        return uid_of(pod)

    async def _resize(self) -> str:
        pod = self._any_ready() or await self._ready_pod()
        cpu = f"{self.chance.randint(300, 900)}m"
        change = {"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": cpu, "memory": "64Mi"}}}]}}
        if "resources" in pod["spec"]["containers"][0] and pod["spec"]["containers"][0]["resources"]:
            await self._patch(pod, change, "resize")
        return uid_of(pod)

    async def _termination(self) -> str:
        pod = await self._create(witness.accompanied)
        await self._until(lambda: is_ready(self._seen(pod)))
        await self._delete(pod)
        await self._until(lambda: self.witness.said("stopping", uid_of(pod)))
        return uid_of(pod)

    async def _teardown(self) -> str:
        pod = await self._create(witness.voluminous)
        await self._until(lambda: is_ready(self._seen(pod)))
        await self._delete(pod)
        await self._until(lambda: self.witness.said("stop", uid_of(pod)))
        return uid_of(pod)

    # -- the API, patiently ---------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _following(self) -> AsyncIterator[None]:
        self._informer = Informer(self.client, PODS, NAMESPACE)
        tasks = [asyncio.create_task(self._informer.run()), asyncio.create_task(self._write())]
        try:
            await self._informer.synced.wait()
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self) -> None:
        """Creates and changes ConfigMaps all the while, and remembers what was acknowledged."""
        for number in range(1_000_000):
            name = f"kept-{number % 50}"
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": str(number)}}
            with contextlib.suppress(*UNREACHED, StatusError):
                if name in self.written:
                    await self.client.patch(CONFIGMAPS, name, {"data": {"value": str(number)}}, namespace=NAMESPACE)
                else:
                    await self.client.create(CONFIGMAPS, body, NAMESPACE)
                self.written[name] = number
            await asyncio.sleep(0.05)

    async def _create(self, make: Callable[[str, Any], Obj]) -> Obj:
        self._number += 1
        body = make(f"p{self._number}", self.witness.directory)
        with contextlib.suppress(AlreadyExists):
            return await patiently(lambda: self.client.create(PODS, body))
        return await patiently(lambda: self.client.get(PODS, body["metadata"]["name"], NAMESPACE))

    async def _patch(self, pod: Obj, change: Obj, subresource: str) -> None:
        name = pod["metadata"]["name"]
        with contextlib.suppress(NotFound, Conflict, Invalid):
            await patiently(
                lambda: self.client.patch(
                    PODS, name, change, namespace=NAMESPACE, kind="strategic", subresource=subresource
                )
            )

    async def _delete(self, pod: Obj) -> None:
        with contextlib.suppress(NotFound):
            await patiently(lambda: self.client.delete(PODS, pod["metadata"]["name"], NAMESPACE, uid=uid_of(pod)))

    async def _reap(self) -> None:
        """Delete pods beyond the population, whatever state they are in."""
        living = [pod for pod in self._informer.items() if "deletionTimestamp" not in pod["metadata"]]
        for pod in self.chance.sample(living, max(0, len(living) - POPULATION)):
            await self._delete(pod)

    def _seen(self, pod: Obj) -> Obj:
        return self._informer.get(NAMESPACE, pod["metadata"]["name"]) or pod

    def _any_ready(self) -> Obj | None:
        ready = [pod for pod in self._informer.items() if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]]
        return self.chance.choice(ready) if ready else None

    async def _ready_pod(self) -> Obj:
        pod = await self._create(witness.plain)
        await self._until(lambda: is_ready(self._seen(pod)))
        return self._seen(pod)

    async def _until(self, condition: Callable[[], Any]) -> None:
        """Wait for the moment to strike; raises TimeoutError, since what is killed beside it may be in its way."""
        async with asyncio.timeout(TRIGGER_SECONDS):
            while not condition():
                await asyncio.sleep(0.01)

    async def _until_listed(self, uid: str) -> None:
        async with asyncio.timeout(TRIGGER_SECONDS), Cri(str(self.files.socket)) as cri:
            while True:
                with contextlib.suppress(RuntimeFault):
                    states = await cri.container_states()
                    if any(owner == uid for owner, _ in states.values()):
                        return
                await asyncio.sleep(0.01)

    # -- afterwards -----------------------------------------------------------------------------------------

    async def calm(self) -> list[str]:
        """Wait until every pod is as it should be; what is not, in words."""
        deadline = time.monotonic() + CONVERGE_SECONDS
        while True:
            pods = (await patiently(lambda: self.client.list(PODS, NAMESPACE)))["items"]
            wrong = [f"{pod['metadata']['name']}: {why}" for pod in pods if (why := fault_of(pod))]
            if not wrong or time.monotonic() > deadline:
                return wrong
            await asyncio.sleep(0.5)

    async def lost_writes(self) -> dict[str, tuple[int, int]]:
        """ConfigMaps with less in them than was acknowledged."""
        listed = await patiently(lambda: self.client.list(CONFIGMAPS, NAMESPACE))
        kept = {item["metadata"]["name"]: int((item.get("data") or {}).get("value", -1)) for item in listed["items"]}
        return {name: (value, kept.get(name, -1)) for name, value in self.written.items() if kept.get(name, -1) < value}

    async def clear(self) -> list[str]:
        """Delete all pods; those that stay."""
        deadline = time.monotonic() + CONVERGE_SECONDS
        while True:
            pods = (await patiently(lambda: self.client.list(PODS, NAMESPACE)))["items"]
            if not pods or time.monotonic() > deadline:
                self._kill("node", "")  # a sandbox that never came to be is looked for at the next start
                return [pod["metadata"]["name"] for pod in pods]
            for pod in pods:
                if "deletionTimestamp" not in pod["metadata"]:
                    await self._delete(pod)
            await asyncio.sleep(0.5)


async def patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Ask until the API server, which may have been killed a moment ago, answers."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return await work()
        except UNREACHED:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)


def uid_of(pod: Obj) -> str:
    return str(pod["metadata"]["uid"])


def is_ready(pod: Obj) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def fault_of(pod: Obj) -> str:
    """What is not as it should be with a pod; nothing if all is well."""
    status = pod.get("status") or {}
    if "deletionTimestamp" in pod["metadata"]:
        return "still leaving"
    if pod["spec"]["restartPolicy"] == "Never":
        return "" if is_terminal(pod) else f"phase {status.get('phase')}"
    if is_ready(pod) and status.get("phase") == "Running":
        return ""
    states = [each.get("state") for each in status.get("containerStatuses") or ()]
    return f"phase {status.get('phase')} states {states}"
