"""Leader election by a Lease: of any number of candidates one leads, and it stops before another may start.

Source: client-go `leaderelection`, with its defaults of 15, 10 and 2 seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from sparsam.client.api import ApiClient
from sparsam.clock import Clock, SystemClock, format_micro_time
from sparsam.errors import AlreadyExists, Conflict, NotFound, SparsamError, StatusError
from sparsam.objects.kinds import LEASES

log = logging.getLogger(__name__)

Obj = dict[str, Any]


class LeadershipLost(SparsamError):
    """The lease could not be renewed in time."""


class LeaderElector:
    """Runs something only while this candidate holds the lease."""

    def __init__(
        self,
        client: ApiClient,
        name: str,
        identity: str,
        *,
        namespace: str = "kube-system",
        lease_seconds: int = 15,
        renew_deadline_seconds: float = 10.0,
        retry_seconds: float = 2.0,
        clock: Clock | None = None,
    ) -> None:
        self._client, self._name, self._namespace, self._identity = client, name, namespace, identity
        self._lease_seconds = lease_seconds
        self._deadline_seconds = renew_deadline_seconds
        self._retry_seconds = retry_seconds
        self._clock = clock or SystemClock()
        self._seen: tuple[str, float] | None = None

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait for the lease, then run `lead` until it ends. On cancellation the lease is given back.

        Raises LeadershipLost (in an exception group) after `lead` was cancelled for the lack of the lease: what it
        built up is stale by then, so a fresh process should stand again.
        """
        await self._acquire()
        log.info("leading lease=%s identity=%s", self._name, self._identity)
        try:
            async with asyncio.TaskGroup() as group:
                renewing = group.create_task(self._renew_forever())
                await lead()
                renewing.cancel()
        finally:
            with contextlib.suppress(StatusError, aiohttp.ClientError, OSError, TimeoutError):
                await asyncio.shield(self._release())

    async def _acquire(self) -> None:
        while not await self._try():
            await self._clock.sleep(self._retry_seconds)

    async def _renew_forever(self) -> None:
        renewed = self._clock.monotonic()
        while True:
            await self._clock.sleep(self._retry_seconds)
            if await self._try():
                renewed = self._clock.monotonic()
            elif self._clock.monotonic() - renewed > self._deadline_seconds:
                raise LeadershipLost(self._name)

    async def _try(self) -> bool:
        """Take or renew the lease; False when somebody else holds it or the API cannot be reached."""
        try:
            async with asyncio.timeout(self._deadline_seconds / 2):
                return await self._take()
        except (Conflict, AlreadyExists):
            return False
        except (StatusError, aiohttp.ClientError, OSError, TimeoutError) as error:
            log.warning("lease not renewed lease=%s error=%s", self._name, error or type(error).__name__)
            return False

    async def _take(self) -> bool:
        now = format_micro_time(self._clock.now())
        spec = {"holderIdentity": self._identity, "leaseDurationSeconds": self._lease_seconds, "renewTime": now}
        try:
            lease = await self._client.get(LEASES, self._name, self._namespace)
        except NotFound:
            metadata = {"name": self._name, "namespace": self._namespace}
            fresh = {"metadata": metadata, "spec": {**spec, "acquireTime": now, "leaseTransitions": 0}}
            await self._client.create(LEASES, {"apiVersion": LEASES.api_version, "kind": LEASES.kind, **fresh})
            return True
        held = lease.get("spec", {})
        mine = held.get("holderIdentity") == self._identity
        if held.get("holderIdentity") and not mine and not self._expired(lease):
            return False
        if not mine:
            spec |= {"acquireTime": now, "leaseTransitions": held.get("leaseTransitions", 0) + 1}
        await self._client.update(LEASES, {**lease, "spec": {**held, **spec}})
        return True

    def _expired(self, lease: Obj) -> bool:
        """Judged by our own clock since we last saw the lease change, so that clocks need not agree."""
        version = lease["metadata"]["resourceVersion"]
        now = self._clock.monotonic()
        if self._seen is None or self._seen[0] != version:
            self._seen = (version, now)
            return False
        held_seconds = float(lease["spec"].get("leaseDurationSeconds", self._lease_seconds))
        return now - self._seen[1] > held_seconds

    async def _release(self) -> None:
        lease = await self._client.get(LEASES, self._name, self._namespace)
        if lease.get("spec", {}).get("holderIdentity") == self._identity:
            lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
            await self._client.update(LEASES, lease)
