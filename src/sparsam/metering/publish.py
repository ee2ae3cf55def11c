"""Keeps a node's metering going and its NodePower object current."""

from __future__ import annotations

import asyncio
import logging

import aiohttp

from sparsam.client.api import ApiClient
from sparsam.clock import Clock
from sparsam.errors import AlreadyExists, NotFound, SparsamError
from sparsam.metering.exposition import node_power_status
from sparsam.metering.node import Metered, NodeMeter, Obj
from sparsam.metering.setup import NodeModelHolder
from sparsam.objects.kinds import NODEPOWERS, NODES

log = logging.getLogger(__name__)

CYCLE_SECONDS = 15.0
"""RAPL's counters wrap after about a minute at the very least; a quarter of that leaves room."""
PUBLISH_SECONDS = 30.0
FIRST_SECONDS = 1.0
_FAULTS = (SparsamError, aiohttp.ClientError, OSError, TimeoutError)


async def keep_metering(meter: NodeMeter, clock: Clock) -> None:
    """Meter at a steady pace until cancelled, for a machine without a cluster."""
    try:
        while True:
            await clock.sleep(CYCLE_SECONDS)
            await meter.meter()
    finally:
        await asyncio.shield(meter.close())


class Metering:
    """Meters a node at a steady pace and publishes what it finds."""

    def __init__(
        self, node_name: str, meter: NodeMeter, model: NodeModelHolder, client: ApiClient, clock: Clock
    ) -> None:
        self._node_name = node_name
        self.meter = meter
        self._model = model
        self._client = client
        self._clock = clock
        self._published_at: float | None = None
        self._complained = False

    async def run(self) -> None:
        """Until cancelled. Trouble with the API server is said once and does not stop the metering."""
        try:
            await self._clock.sleep(FIRST_SECONDS)
            while True:
                metered = await self.meter.meter()
                now = self._clock.monotonic()
                if self._published_at is None or now - self._published_at >= PUBLISH_SECONDS:
                    await self._try_to_publish(metered)
                    self._published_at = now
                await self._clock.sleep(CYCLE_SECONDS)
        finally:
            await asyncio.shield(self.meter.close())

    async def _try_to_publish(self, metered: Metered) -> None:
        try:
            node = await self._client.get(NODES, self._node_name)
            self._model.learn(node)
            await self.publish(node, metered)
            self._complained = False
        except _FAULTS as error:
            if not self._complained:
                log.warning("power not published node=%s error=%s", self._node_name, error or type(error).__name__)
            self._complained = True

    async def publish(self, node: Obj, metered: Metered) -> None:
        """Write the NodePower object, which goes when its node goes."""
        body = {"status": node_power_status(metered)}
        try:
            await self._client.patch(NODEPOWERS, self._node_name, body, subresource="status")
        except NotFound:
            owner = {"apiVersion": "v1", "kind": "Node", "name": self._node_name, "uid": node["metadata"]["uid"]}
            metadata = {"name": self._node_name, "ownerReferences": [owner]}
            kind = {"apiVersion": NODEPOWERS.api_version, "kind": NODEPOWERS.kind}
            try:
                await self._client.create(NODEPOWERS, {**kind, "metadata": metadata})
            except AlreadyExists:
                log.debug("NodePower appeared meanwhile node=%s", self._node_name)
            await self._client.patch(NODEPOWERS, self._node_name, body, subresource="status")
