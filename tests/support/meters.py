"""A meter whose numbers a test writes down beforehand."""

from __future__ import annotations

import asyncio
from collections import deque

from sparsam.clock import Clock
from sparsam.hardware.meter import Domain, Fault, Gap, Provenance, Reading


class ScriptedMeter:
    """Yields watts, gaps and delays in turn; the last one for ever."""

    def __init__(
        self,
        clock: Clock,
        *script: float | Fault | Exception | asyncio.Event,
        source: str = "scripted",
        domain: Domain = Domain.WALL,
        provenance: Provenance = Provenance.MEASURED,
        uncertainty_ratio: float = 0.05,
        parts: dict[str, float] | None = None,
        age_seconds: float = 0.0,
    ) -> None:
        self.source = source
        self.domain = domain
        self.provenance = provenance
        self.closed = False
        self.script = deque(script)
        self._clock = clock
        self._uncertainty_ratio = uncertainty_ratio
        self._parts = parts or {}
        self._age_seconds = age_seconds

    async def read(self) -> Reading | Gap:
        """The next of the script."""
        step = self.script.popleft() if len(self.script) > 1 else self.script[0]
        if isinstance(step, Exception):
            raise step
        if isinstance(step, asyncio.Event):
            await step.wait()
            return await self.read()
        now = self._clock.monotonic()
        if isinstance(step, Fault):
            return Gap(now, step, "", self.source)
        at = now - self._age_seconds
        return Reading(at, step, self.domain, self.source, self._uncertainty_ratio, self.provenance, parts=self._parts)

    async def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True
