"""Joules per request: pods that export a counter of requests, and the energy that their load took meanwhile.

A pod says where its counters are with the annotations that Prometheus setups know (`prometheus.io/scrape`, `/port`,
`/path`), and which one counts requests with `power.sparsam.dev/request-counter`. Only the pod's own address is asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from sparsam.clock import Clock
from sparsam.metering.node import NodeMeter, RequestRate

log = logging.getLogger(__name__)

Obj = dict[str, Any]

SCRAPE, PORT, PATH, SCHEME = (f"prometheus.io/{name}" for name in ("scrape", "port", "path", "scheme"))
COUNTER_ANNOTATION = "power.sparsam.dev/request-counter"
DEFAULT_COUNTER = "http_requests_total"
CYCLE_SECONDS = 10.0
WINDOW_SECONDS = 60.0
"""Over how long energy and requests are compared, at most; a counter that fell begins a new window."""
_SCRAPE_SECONDS = 2.0
_MOST_BYTES = 8 << 20
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Target:
    """Where a pod's counter of requests is."""

    uid: str
    name: str
    """Namespace and name of the pod, for the log."""
    url: str
    counter: str


@dataclass(frozen=True, slots=True)
class Look:
    """Energy and requests of a pod since it started, at a moment."""

    seconds: float
    joules: float
    requests: float


@dataclass(slots=True)
class Window:
    """The looks at one pod that a rate is taken from."""

    looks: deque[Look] = field(default_factory=deque)

    def add(self, look: Look) -> None:
        """Take a look in; what is too old, or before the counter began anew, goes."""
        if self.looks and (look.requests < self.looks[-1].requests or look.joules < self.looks[-1].joules):
            self.looks.clear()
        self.looks.append(look)
        while len(self.looks) > 2 and look.seconds - self.looks[1].seconds >= WINDOW_SECONDS:
            self.looks.popleft()

    def rate(self, counter: str) -> RequestRate | None:
        """What the window says; None before there are two looks."""
        first, last = (self.looks[0], self.looks[-1]) if self.looks else (None, None)
        if first is None or last is None or last.seconds <= first.seconds:
            return None
        seconds, requests = last.seconds - first.seconds, last.requests - first.requests
        each = (last.joules - first.joules) / requests if requests > 0 else None
        return RequestRate(counter, last.requests, requests / seconds, each, seconds)


def target_of(pod: Obj) -> Target | None:
    """The counter that a pod's annotations name; None for a pod without one, not running, or on the node's network."""
    metadata, status = pod["metadata"], pod.get("status") or {}
    annotations: Mapping[str, str] = metadata.get("annotations") or {}
    port, address = annotations.get(PORT, ""), status.get("podIP", "")
    if annotations.get(SCRAPE) != "true" or status.get("phase") != "Running" or not address:
        return None
    # A pod on the node's network would have the agent ask the node's own services.
    if (pod.get("spec") or {}).get("hostNetwork") or annotations.get(SCHEME, "http") != "http":
        return None
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        return None
    path = annotations.get(PATH, "/metrics")
    host = f"[{address}]" if ":" in address else address
    url = f"http://{host}:{int(port)}/{path.removeprefix('/')}"
    counter = annotations.get(COUNTER_ANNOTATION) or DEFAULT_COUNTER
    return Target(metadata["uid"], f"{metadata['namespace']}/{metadata['name']}", url, counter)


def counted(text: str, counter: str) -> float | None:
    """The sum of a counter's series in Prometheus' text; None when it has none."""
    total, found = 0.0, False
    for line in text.splitlines():
        if not line.startswith(counter):
            continue
        rest = line[len(counter) :]
        if rest.startswith("{"):
            # Label values may hold anything, braces included, but no newline: the last one closes.
            rest = rest.rpartition("}")[2]
        elif not rest.startswith((" ", "\t")):
            continue
        words = rest.split()
        try:
            value = float(words[0])
        except (IndexError, ValueError):
            continue
        if 0.0 <= value < float("inf"):
            total, found = total + value, True
    return total if found else None


class RequestWatch:
    """Looks at the counters of a node's pods at a steady pace and tells the node's meter what it finds."""

    def __init__(self, meter: NodeMeter, pods: Callable[[], Iterable[Obj]], clock: Clock) -> None:
        self._meter, self._pods, self._clock = meter, pods, clock
        self._windows: dict[str, Window] = {}
        self._complaints: dict[str, str] = {}

    async def run(self) -> None:
        """Until cancelled. Without a pod that asks for it, nothing is done."""
        timeout = aiohttp.ClientTimeout(total=_SCRAPE_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, headers={"Accept": "text/plain;version=0.0.4"}) as session:
            while True:
                await self.look(session)
                await self._clock.sleep(CYCLE_SECONDS)

    async def look(self, session: aiohttp.ClientSession) -> None:
        """One round over all pods."""
        targets = [target for pod in self._pods() if (target := target_of(pod)) is not None]
        known = {target.uid for target in targets}
        self._windows = {uid: window for uid, window in self._windows.items() if uid in known}
        self._complaints = {uid: why for uid, why in self._complaints.items() if uid in known}
        if not targets:
            self._meter.requests = {}
            return
        gate = asyncio.Semaphore(_AT_ONCE)
        counts = await asyncio.gather(*(self._count(session, target, gate) for target in targets))
        metered = await self._meter.meter(1.0)
        joules = {pod.uid: pod.joules for pod in metered.pods}
        moment, rates = self._clock.monotonic(), {}
        for target, count in zip(targets, counts, strict=True):
            window = self._windows.setdefault(target.uid, Window())
            if count is not None and target.uid in joules:
                window.add(Look(moment, joules[target.uid], count))
            rate = window.rate(target.counter)
            if rate is not None:
                rates[target.uid] = rate
        self._meter.requests = rates

    async def _count(self, session: aiohttp.ClientSession, target: Target, gate: asyncio.Semaphore) -> float | None:
        async with gate:
            try:
                async with session.get(target.url, allow_redirects=False) as answer:
                    if answer.status != 200:
                        raise ValueError(f"HTTP {answer.status}")
                    raw = await _all(answer)
                found = counted(raw.decode("utf-8", "replace"), target.counter)
                if found is None:
                    raise ValueError(f"no counter {target.counter}")
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                self._complain(target, str(error) or type(error).__name__)
                return None
        self._complaints.pop(target.uid, None)
        return found

    def _complain(self, target: Target, why: str) -> None:
        if self._complaints.get(target.uid) != why:
            log.warning("requests not counted pod=%s url=%s why=%s", target.name, target.url, why)
        self._complaints[target.uid] = why


async def _all(answer: aiohttp.ClientResponse) -> bytes:
    parts, size = [], 0
    async for chunk in answer.content.iter_any():
        parts.append(chunk)
        size += len(chunk)
        if size > _MOST_BYTES:
            raise ValueError(f"more than {_MOST_BYTES} bytes")
    return b"".join(parts)
