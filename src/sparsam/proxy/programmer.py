"""Keeps the kernel's rules and the DNS zone in step with the Services.

The first change of a quiet time is applied at once, those that follow gather for a moment: a rollout is a burst of
small changes. A refused update is followed by a replacement of the whole table, so that no disagreement with the
kernel lasts; while that fails too, it is tried again, and the rules of before stay.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Iterable
from typing import Protocol

from sparsam.clock import Clock
from sparsam.proxy.conntrack import forget_udp
from sparsam.proxy.nftables import Nftables, NftablesError, has_table
from sparsam.proxy.ruleset import Ruleset, Transaction
from sparsam.proxy.services import EMPTY, Fragment, Network, compile_service
from sparsam.proxy.view import ServiceKey, View
from sparsam.proxy.zone import Zone, compile_records

log = logging.getLogger(__name__)

_RETRY_SECONDS = 1.0


class Follower(Protocol):
    """Keeps something else in step with the Services: addresses, health checks."""

    def put(self, key: ServiceKey, fragment: Fragment) -> None:
        """Note what a Service needs now in an address family; nothing when it is empty."""
        ...

    async def settle(self, *, healthy: bool) -> bool:
        """Bring about what was noted; False to be asked again soon. `healthy` says whether the kernel has the rules."""
        ...


class Side:
    """One address family: its rules, and what follows them."""

    def __init__(self, network: Network, followers: Iterable[Follower] = ()) -> None:
        self.ruleset = Ruleset(network)
        self.followers = tuple(followers)


class Programmer:
    """Applies what changed in a view, for each address family; `notice` it after each change."""

    def __init__(self, *, view: View, zone: Zone, sides: tuple[Side, ...], nftables: Nftables, table: str) -> None:
        self.view = view
        self.zone = zone
        self.sides = sides
        self._nftables = nftables
        self._table = table
        self._noticed = asyncio.Event()
        self._gone_udp_targets: set[tuple[str, int]] = set()
        self._warned: dict[ServiceKey, tuple[str, ...]] = {}

    def notice(self) -> None:
        """Say that the view changed."""
        self._noticed.set()

    def move(self, zone: str) -> None:
        """The node stands in another zone now: every Service may have other endpoints near it."""
        moved = [each.ruleset for each in self.sides if each.ruleset.network.zone != zone]
        for ruleset in moved:
            ruleset.network = dataclasses.replace(ruleset.network, zone=zone)
        if moved:
            self.view.touch_all()
            self.notice()

    async def prepare(self) -> None:
        """Put the rules that need no Service in place, unless a table of an earlier run is there to go on with."""
        if not await self._has_table():
            with contextlib.suppress(NftablesError):
                await self._replace_table()

    async def run(self, clock: Clock, *, batch_seconds: float, check_seconds: float) -> None:
        """Replace the whole table, then follow the changes until cancelled."""
        self.zone.complete = True
        complete = await self.replace_all()
        settled = await self._settle(complete)
        while True:
            wait = check_seconds if complete and settled else _RETRY_SECONDS
            try:
                async with asyncio.timeout(wait):
                    await self._noticed.wait()
            except TimeoutError:
                complete = complete and await self._has_table()
            if complete:
                complete = await self.apply_changes()
            if not complete:
                complete = await self.replace_all()
            settled = await self._settle(complete)
            await clock.sleep(batch_seconds)

    async def apply_changes(self) -> bool:
        """Bring the kernel what changed since the last call; False if it refused."""
        transactions = [each for each in self._take_changes() if each]
        if not transactions:
            return True
        try:
            text = "".join(each.render(self._table) for each in transactions)
            await asyncio.to_thread(self._nftables.run, text)
        except NftablesError as error:
            log.warning("update of the service rules refused, replacing the table error=%s", error)
            return False
        await self._forget_udp()
        return True

    async def replace_all(self) -> bool:
        """Replace the whole table by what the view says; False if that failed."""
        self._take_changes()
        try:
            await self._replace_table()
        except NftablesError as error:
            log.error("service rules not in place error=%s", error)
            return False
        await self._forget_udp()
        log.info("service rules in place services=%d", sum(len(each.ruleset.fragments) for each in self.sides))
        return True

    async def _settle(self, complete: bool) -> bool:
        return all([await each.settle(healthy=complete) for side in self.sides for each in side.followers])

    async def _replace_table(self) -> None:
        text = "".join(each.ruleset.render(self._table) for each in self.sides)
        await asyncio.to_thread(self._nftables.run, text)

    async def _has_table(self) -> bool:
        tables = [f"{each.ruleset.network.family.nft} {self._table}" for each in self.sides]
        try:
            return all([await asyncio.to_thread(has_table, self._nftables, each) for each in tables])
        except NftablesError:
            return False

    async def _forget_udp(self) -> None:
        """Only after the rules are in place: before, a flow would find its way back to the old endpoint."""
        if self._gone_udp_targets:
            gone, self._gone_udp_targets = self._gone_udp_targets, set()
            await asyncio.to_thread(forget_udp, gone)

    def _take_changes(self) -> list[Transaction]:
        transactions = []
        for side, changes in zip(self.sides, self._compile_changes(), strict=True):
            transactions.append(side.ruleset.replace(changes))
            self._gone_udp_targets |= transactions[-1].gone_udp_targets
        return transactions

    def _compile_changes(self) -> list[dict[ServiceKey, Fragment]]:
        """The new fragments of what changed, for each side."""
        self._noticed.clear()
        fragments: list[dict[ServiceKey, Fragment]] = [{} for _ in self.sides]
        for key in self.view.take_changed():
            for side, made, fragment in zip(self.sides, fragments, self._compile(key), strict=True):
                made[key] = fragment
                for each in side.followers:
                    each.put(key, fragment)
        return fragments

    def _compile(self, key: ServiceKey) -> list[Fragment]:
        nothing = [EMPTY for _ in self.sides]
        service, slices = self.view.get(key)
        if service is None:
            self.zone.replace(*key, None)
            self._warned.pop(key, None)
            return nothing
        try:
            records = compile_records(service, slices)
            fragments = [compile_service(service, slices, each.ruleset.network) for each in self.sides]
        except (KeyError, TypeError, ValueError) as error:
            # One object that breaks the rules must not stop the others.
            log.error("service skipped service=%s/%s error=%r", *key, error)
            records, fragments = None, nothing
        self.zone.replace(*key, records)
        self._warn(key, tuple(warning for each in fragments for warning in each.warnings))
        return fragments

    def _warn(self, key: ServiceKey, warnings: tuple[str, ...]) -> None:
        if self._warned.get(key, ()) != warnings:
            for each in warnings:
                log.warning("service not served in full service=%s/%s reason=%s", *key, each)
            self._warned[key] = warnings
