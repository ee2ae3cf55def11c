"""The node's own objects: registration, status and heartbeat."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import aiohttp

from sparsam.agent.config import AgentConfig
from sparsam.agent.cri import Cri
from sparsam.agent.eviction import pressures
from sparsam.agent.machine import Machine, read_room
from sparsam.agent.node_object import (
    EngineHealth,
    lease_object,
    node_conditions,
    node_object,
    node_status,
    with_extended,
)
from sparsam.agent.podspec import Obj
from sparsam.agent.references import ConfigFault
from sparsam.agent.runtime import RuntimeFault
from sparsam.client.api import ApiClient
from sparsam.clock import Clock, format_micro_time, format_time
from sparsam.errors import AlreadyExists, NotFound, SparsamError
from sparsam.objects.kinds import LEASES, NODES

log = logging.getLogger(__name__)

_CHECK_SECONDS = 10.0
_RETRY_SECONDS = 1.0
_PRESSURE_HOLDS_SECONDS = 300.0
_RENEWALS_PER_LEASE = 4
_FAULTS = (SparsamError, aiohttp.ClientError, OSError, TimeoutError)
_HEARTBEAT_FIELDS = ("lastHeartbeatTime",)


@dataclass(slots=True)
class NodeReporter:
    """Keeps the Node object and its Lease true."""

    config: AgentConfig
    client: ApiClient
    cri: Cri
    clock: Clock
    machine: Machine
    volumes_in_use: Callable[[], list[str]] = list
    """What drivers must keep attached here."""
    _reporting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _node: Obj = field(default_factory=dict)
    _reported_at: float = 0.0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _fault: str = ""
    _pressed_at: dict[str, float] = field(default_factory=dict)

    def announce(self, fault: str) -> None:
        """Say, from now on, that the node is not ready for this reason; an empty one takes it back."""
        self._fault = fault
        self._changed.set()

    @property
    def node(self) -> Obj:
        """The Node as it was last seen; empty before it is registered."""
        return self._node

    async def register(self) -> None:
        """Create the Node, or bring an existing one up to date; retries until the API answers."""
        wanted = node_object(self.config)
        while True:
            try:
                self._node = await self._create_or_adopt(wanted)
                await self.report()
                break
            except _FAULTS as error:
                log.warning("not registered node=%s error=%s", self.config.node_name, error or type(error).__name__)
                await self.clock.sleep(_RETRY_SECONDS)
        log.info("registered node=%s", self.config.node_name)

    async def keep_status(self) -> None:
        """Look at the machine every ten seconds; report changes at once, and all is well every few minutes."""
        while True:
            try:
                await self.report()
            except NotFound:
                await self.register()
            except _FAULTS as error:
                log.warning("node status not sent error=%s", error or type(error).__name__)
            try:
                async with asyncio.timeout(_CHECK_SECONDS):
                    await self._changed.wait()
                await self.clock.sleep(_RETRY_SECONDS)
            except TimeoutError:
                continue

    async def keep_lease(self) -> None:
        """Renew the heartbeat; a lease that is gone is made anew."""
        interval = self.config.lease_seconds / _RENEWALS_PER_LEASE
        while True:
            try:
                await self._renew()
            except _FAULTS as error:
                log.warning("lease not renewed error=%s", error or type(error).__name__)
                await self.clock.sleep(_RETRY_SECONDS)
                continue
            await self.clock.sleep(interval)

    async def report(self) -> None:
        """Send the status if it changed or was last sent long ago."""
        async with self._reporting:
            await self._report()

    async def report_volumes(self) -> None:
        """Say which volumes are in use, and return once that is known; raises ConfigFault."""
        try:
            await self.report()
        except _FAULTS as error:
            raise ConfigFault(f"volumes in use not reported: {error or type(error).__name__}") from error

    async def _report(self) -> None:
        self._changed.clear()
        engine = await self._engine_health()
        images = []
        if not engine.fault:
            images = await self.cri.list_images()
        if self._fault:
            engine = replace(engine, fault=self._fault)
        moment = format_time(self.clock.now())
        # Others write into the status too.
        self._node = await self.client.get(NODES, self.config.node_name)
        old: Obj = self._node.get("status") or {}
        status = with_extended(node_status(self.config, self.machine, engine, images), old)
        in_use = self.volumes_in_use()
        if in_use or old.get("volumesInUse"):
            status["volumesInUse"] = in_use
        conditions = node_conditions(old.get("conditions") or (), self._pressed(), engine, moment)
        due = self.clock.monotonic() - self._reported_at >= self.config.status_seconds
        changed = {name: value for name, value in status.items() if old.get(name) != value}
        if not changed and not due and _same_conditions(old.get("conditions") or (), conditions):
            return
        if "addresses" in changed:
            # They merge by type, of which there may be two.
            changed["addresses"] = [*changed["addresses"], {"$patch": "replace"}]
        if "allocatable" in changed:
            changed["allocatable"] = dict.fromkeys(old.get("allocatable") or ()) | changed["allocatable"]
        body = {"status": {**changed, "conditions": conditions}}
        self._node = await self.client.patch(NODES, self.config.node_name, body, kind="strategic", subresource="status")
        self._reported_at = self.clock.monotonic()

    def note_pressure(self, conditions: Iterable[str]) -> None:
        """Report these conditions soon, and for as long as pressure holds."""
        noted = dict.fromkeys(conditions, self.clock.monotonic())
        if noted.keys() - self._pressed_at.keys():
            self._changed.set()
        self._pressed_at.update(noted)

    def _pressed(self) -> set[str]:
        """What the node is short of, or was within the last minutes, so that pods do not come back at once."""
        now = self.clock.monotonic()
        for each in pressures(read_room(self.config.data_dir), self.config.floors):
            self._pressed_at[each.condition] = now
        return {name for name, moment in self._pressed_at.items() if now - moment < _PRESSURE_HOLDS_SECONDS}

    async def _create_or_adopt(self, wanted: Obj) -> Obj:
        try:
            return await self.client.create(NODES, wanted)
        except AlreadyExists:
            pass
        current = await self.client.get(NODES, self.config.node_name)
        patch: dict[str, Any] = {}
        for name in ("labels", "annotations"):
            present = current["metadata"].get(name) or {}
            missing = {key: value for key, value in wanted["metadata"][name].items() if present.get(key) != value}
            if missing:
                patch.setdefault("metadata", {})[name] = missing
        if not current["spec"].get("podCIDR"):
            patch["spec"] = {name: wanted["spec"][name] for name in ("podCIDR", "podCIDRs")}
        return await self.client.patch(NODES, self.config.node_name, patch) if patch else current

    async def _engine_health(self) -> EngineHealth:
        try:
            name, version = await self.cri.version()
            conditions = await self.cri.conditions()
        except RuntimeFault as error:
            known = (self._node.get("status") or {}).get("nodeInfo", {}).get("containerRuntimeVersion", "://")
            name, _, version = known.partition("://")
            return EngineHealth(name, version, f"container runtime is down: {error}")
        for condition, words in (("RuntimeReady", "container runtime"), ("NetworkReady", "container runtime network")):
            ready, message = conditions.get(condition, (True, ""))
            if not ready:
                return EngineHealth(name, version, f"{words} not ready: {message}")
        return EngineHealth(name, version)

    async def _renew(self) -> None:
        now = format_micro_time(self.clock.now())
        lease = lease_object(self.config, self._node, now)
        namespace = lease["metadata"]["namespace"]
        try:
            await self.client.patch(LEASES, self.config.node_name, {"spec": lease["spec"]}, namespace=namespace)
        except NotFound:
            await self.client.create(LEASES, lease, namespace)


def _same_conditions(old: Any, new: list[Obj]) -> bool:
    def essence(conditions: Any) -> list[dict[str, Any]]:
        return [
            {name: value for name, value in condition.items() if name not in _HEARTBEAT_FIELDS}
            for condition in conditions
            if condition["type"] in {c["type"] for c in new}
        ]

    def order(condition: dict[str, Any]) -> str:
        return str(condition["type"])

    return sorted(essence(old), key=order) == sorted(essence(new), key=order)
