"""Pods from a folder: read, watched, run without the API, and shown there by mirrors.

The folder is looked at once a second, since a look costs less than a watch is worth. A file that turns bad is logged
once and keeps the pod that it made before; a file that goes ends its pod. A changed file is another pod, which starts
when the one before it has ended.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import msgspec

from sparsam.agent.manifests import (
    MAX_BYTES,
    BadManifest,
    Manifest,
    full_name,
    is_mirror,
    mirror_of,
    read_manifest,
    shows,
)
from sparsam.agent.payloads import TokenWish
from sparsam.agent.podapi import PodApi
from sparsam.agent.pods import Pods
from sparsam.agent.podspec import Obj
from sparsam.agent.references import Sources
from sparsam.agent.runtime import RuntimeFault
from sparsam.agent.status import status_patch
from sparsam.client.api import ApiClient
from sparsam.client.informer import Informer
from sparsam.clock import Clock, format_time
from sparsam.errors import Forbidden, NotFound, StatusError
from sparsam.objects.kinds import PODS
from sparsam.objects.objecttypes import type_of

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
ENDING_SECONDS = 0.2
"""How soon to look again while one pod waits for another to end."""
MIRROR_SECONDS = 10.0
"""How often mirrors are looked at unasked, and how soon again after a failure."""
_FAULTS = (StatusError, aiohttp.ClientError, OSError, TimeoutError)

Name = tuple[str, str]
Identity = tuple[int, ...]


class StaticApi(PodApi):
    """The API for all workers: what those of static pods report stays on this node, for their mirrors to show."""

    def __init__(self, inner: PodApi) -> None:
        self._inner = inner
        self._pods: dict[str, Obj] = {}
        self.changed = asyncio.Event()

    def add(self, pod: Obj) -> None:
        """Take a static pod in."""
        self._pods[pod["metadata"]["uid"]] = pod
        self.changed.set()

    def drop(self, uid: str) -> None:
        """Forget a static pod."""
        self._pods.pop(uid, None)
        self.changed.set()

    def pods(self) -> list[Obj]:
        """All static pods with their statuses, those that are ending among them."""
        return list(self._pods.values())

    async def patch_status(self, pod: Obj, patch: Obj) -> Obj:
        """Merge the status of a static pod here; pass others on."""
        from sparsam.objects import patches  # see `read_manifest`

        known = self._pods.get(pod["metadata"]["uid"])
        if known is None:
            return await self._inner.patch_status(pod, patch)
        merged = patches.apply(type_of(PODS), known, "strategic", msgspec.json.encode({"status": patch}))
        revision = str(int(known["metadata"]["resourceVersion"]) + 1)
        updated = {**merged, "metadata": {**known["metadata"], "resourceVersion": revision}}
        self.add(updated)
        return updated

    async def delete(self, pod: Obj) -> None:
        """Static pods have nothing in the API to delete."""
        if pod["metadata"]["uid"] not in self._pods:
            await self._inner.delete(pod)

    async def sources(self, namespace: str, wanted: set[tuple[str, str]], max_age_seconds: float) -> Sources:
        return await self._inner.sources(namespace, wanted, max_age_seconds)

    async def tokens(self, pod: Obj) -> dict[TokenWish, str]:
        return await self._inner.tokens(pod)

    async def runtime_handler(self, runtime_class: str) -> str:
        return await self._inner.runtime_handler(runtime_class)

    def services(self) -> list[Obj]:
        return self._inner.services()

    def event(self, pod: Obj, kind: str, reason: str, message: str, container: str = "") -> None:
        self._inner.event(pod, kind, reason, message, container)


@dataclass(slots=True)
class Folder:
    """The manifests of a folder as last read; a file is read again when it is another one or was written to."""

    path: Path
    node_name: str
    _seen: dict[str, Identity] = field(default_factory=dict)
    _made: dict[str, Obj] = field(default_factory=dict)
    _complaint: str = ""

    def read(self, now: str) -> dict[Name, Obj]:
        """Static pods by namespace and name; logs what is wrong with a file, once."""
        try:
            entries = sorted(self.path.iterdir())
            self._complaint = ""
        except OSError as error:
            self._complain(f"folder of static pods cannot be read, what runs stays path={self.path} error={error}")
            return self._named()
        files = [path for path in entries if not path.name.startswith(".")]
        for name in set(self._seen) - {path.name for path in files}:
            self._seen.pop(name)
            if self._made.pop(name, None) is not None:
                log.info("manifest of a static pod removed file=%s", self.path / name)
        for path in files:
            self._read_if_changed(path, now)
        return self._named()

    def _read_if_changed(self, path: Path, now: str) -> None:
        try:
            found = path.stat()
        except OSError as error:
            why = str(error)
            self._read_once(path, (), lambda: _fail(why))
            return
        identity = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if not stat.S_ISREG(found.st_mode):
            self._read_once(path, identity, lambda: _fail("not a regular file"))
        else:
            self._read_once(path, identity, lambda: self._parse(path, now))

    def _read_once(self, path: Path, identity: Identity, read: Callable[[], Manifest]) -> None:
        if self._seen.get(path.name) == identity:
            return
        self._seen[path.name] = identity
        try:
            manifest = read()
        except (BadManifest, OSError) as error:
            log.error("manifest is no static pod file=%s error=%s", path, error)
            return
        for warning in manifest.warnings:
            log.warning("manifest of a static pod file=%s warning=%s", path, warning)
        self._made[path.name] = manifest.pod
        log.info("manifest of a static pod read file=%s pod=%s/%s", path, *full_name(manifest.pod))

    def _parse(self, path: Path, now: str) -> Manifest:
        # Should the path have become a pipe meanwhile, opening it must not wait for a writer.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123
            return read_manifest(file.read(MAX_BYTES + 1), path=str(path), node_name=self.node_name, now=now)

    def _named(self) -> dict[Name, Obj]:
        named: dict[Name, Obj] = {}
        taken: list[str] = []
        for file in sorted(self._made):
            pod = self._made[file]
            if named.setdefault(full_name(pod), pod) is not pod:
                taken.append(f"pod {'/'.join(full_name(pod))} of {file} is in another file already")
        if taken:
            self._complain("; ".join(taken))
        return named

    def _complain(self, what: str) -> None:
        if what != self._complaint:
            log.error("static pods: %s", what)
        self._complaint = what


def _fail(why: str) -> Manifest:
    raise BadManifest(why)


class StaticPods:
    """Runs what a folder says."""

    def __init__(self, folder: Folder, pods: Pods, api: StaticApi, clock: Clock) -> None:
        self._folder, self._pods, self._api, self._clock = folder, pods, api, clock
        self.looked = asyncio.Event()
        """Set once the folder was looked at: then every static pod that may run is known."""

    async def run(self) -> None:
        """Keep pods like their files until cancelled."""
        while True:
            pause = LOOK_SECONDS
            try:
                if await self.look():
                    pause = ENDING_SECONDS
            except RuntimeFault as error:
                log.warning("static pods not looked at error=%s", error)
            except Exception:
                log.exception("static pods not looked at")
            self.looked.set()
            await asyncio.sleep(pause)

    async def look(self) -> bool:
        """One round; whether some pod waits for another to end."""
        wanted = await asyncio.to_thread(self._folder.read, format_time(self._clock.now()))
        uids = {pod["metadata"]["uid"] for pod in wanted.values()}
        waiting = False
        for pod in self._api.pods():
            uid = pod["metadata"]["uid"]
            if uid in uids:
                continue
            if self._pods.has(uid):
                self._pods.remove(pod)
                waiting = True
            else:
                self._api.drop(uid)
        for pod in wanted.values():
            if self._pods.has(pod["metadata"]["uid"]):
                continue
            if await self._pods.end_namesakes(pod):
                waiting = True
                continue
            self._api.add(pod)
            self._pods.upsert(pod)
        return waiting


class Mirrors:
    """Keeps one object in the API for each static pod, and none for others."""

    def __init__(self, client: ApiClient, informer: Informer, api: StaticApi, node: Callable[[], Obj]) -> None:
        self._client, self._informer, self._api, self._node = client, informer, api, node
        self._failed: dict[Name, str] = {}

    def kick(self) -> None:
        """A mirror changed in the API."""
        self._api.changed.set()

    async def run(self) -> None:
        """Follow static pods and mirrors until cancelled; the API may be away."""
        await self._informer.synced.wait()
        while True:
            self._api.changed.clear()
            await self._keep()
            try:
                async with asyncio.timeout(MIRROR_SECONDS):
                    await self._api.changed.wait()
                    await asyncio.sleep(ENDING_SECONDS)  # a pod that starts changes several times at once
            except TimeoutError:
                continue

    async def _keep(self) -> None:
        static = {full_name(pod): pod for pod in self._api.pods()}
        mirrors = {full_name(pod): pod for pod in self._informer.items()}
        for name in sorted(static.keys() | {name for name, pod in mirrors.items() if is_mirror(pod)}):
            try:
                await self._keep_one(static.get(name), mirrors.get(name))
                self._failed.pop(name, None)
            except _FAULTS as error:
                why = str(error) or type(error).__name__
                if self._failed.get(name) != why:
                    log.warning("mirror of a static pod not kept pod=%s/%s error=%s", *name, why)
                self._failed[name] = why

    async def _keep_one(self, pod: Obj | None, mirror: Obj | None) -> None:
        if pod is None or mirror is None or not is_mirror(mirror) or not shows(mirror, pod):
            mirror = await self._replaced(pod, mirror)
        if pod is not None and mirror is not None:
            await self._tell(pod, mirror)

    async def _replaced(self, pod: Obj | None, mirror: Obj | None) -> Obj | None:
        """The right mirror, by what the API has now: what was seen last may be old."""
        namespace, name = full_name(pod or mirror or {})
        try:
            current = await self._client.get(PODS, name, namespace)
        except (NotFound, Forbidden):
            # A node may not even ask for what is not its own; a namesake elsewhere is found when the mirror is made.
            current = None
        if current is not None and not is_mirror(current):
            if pod is not None:
                raise BadMirror("the API has a pod of this name that is not the mirror of a static pod")
            return None
        if current is not None and (pod is None or not shows(current, pod)):
            await self._client.delete(PODS, name, namespace, grace_seconds=0, uid=current["metadata"]["uid"])
            current = None
        if current is None and pod is not None:
            current = await self._client.create(PODS, mirror_of(pod, self._node()))
        return current

    async def _tell(self, pod: Obj, mirror: Obj) -> None:
        patch = status_patch(mirror.get("status") or {}, pod["status"])
        if patch:
            namespace, name = full_name(mirror)
            body = {"metadata": {"uid": mirror["metadata"]["uid"]}, "status": patch}
            await self._client.patch(PODS, name, body, namespace=namespace, kind="strategic", subresource="status")


class BadMirror(OSError):
    """A static pod cannot be shown; the message says why."""
