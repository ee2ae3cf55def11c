"""Probes: the pure counting of results, and one task for each probe of a running container."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from sparsam.agent.podspec import Obj

LIVENESS, READINESS, STARTUP = "liveness", "readiness", "startup"
PROBE_FIELDS = {LIVENESS: "livenessProbe", READINESS: "readinessProbe", STARTUP: "startupProbe"}


class Verdict(Enum):
    """What a series of results comes to."""

    UNDECIDED = "undecided"
    SUCCESS = "success"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Attempt:
    """Result of one probe run: None when it could not be made; `message` is its output."""

    success: bool | None
    message: str = ""


@dataclass(frozen=True, slots=True)
class Tally:
    """Results in a row, and the verdict they led to."""

    verdict: Verdict = Verdict.UNDECIDED
    success: bool = True
    in_a_row: int = 0

    def add(self, success: bool, success_threshold: int, failure_threshold: int) -> Tally:
        """One more result: a verdict changes only after as many equal results as its threshold says."""
        row = self.in_a_row + 1 if success == self.success else 1
        threshold = success_threshold if success else failure_threshold
        verdict = self.verdict
        if row >= threshold:
            verdict = Verdict.SUCCESS if success else Verdict.FAILURE
        return replace(self, verdict=verdict, success=success, in_a_row=row)


@dataclass(frozen=True, slots=True)
class ProbeSettings:
    """Numbers of a probe, with upstream's defaults."""

    initial_delay_seconds: float
    period_seconds: float
    timeout_seconds: float
    success_threshold: int
    failure_threshold: int

    @classmethod
    def of(cls, probe: Obj) -> ProbeSettings:
        """Read from a probe's spec."""
        return cls(
            initial_delay_seconds=probe.get("initialDelaySeconds") or 0,
            period_seconds=probe.get("periodSeconds") or 10,
            timeout_seconds=probe.get("timeoutSeconds") or 1,
            success_threshold=probe.get("successThreshold") or 1,
            failure_threshold=probe.get("failureThreshold") or 3,
        )


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """A verdict on a container; `failed` is set for each failed attempt, whatever the verdict."""

    container_id: str
    name: str
    kind: str
    verdict: Verdict
    attempt: Attempt


Check = Callable[[Obj, float], Awaitable[Attempt]]
Report = Callable[[ProbeReport], None]


def probe_kinds(spec: Obj, started: bool) -> list[str]:
    """Probes due for a container: the startup probe alone until it is through, then the others."""
    if STARTUP_FIELD in spec and not started:
        return [STARTUP]
    return [kind for kind in (LIVENESS, READINESS) if PROBE_FIELDS[kind] in spec]


STARTUP_FIELD = PROBE_FIELDS[STARTUP]


class Probes:
    """The probe tasks of one pod."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    def keep(self, wanted: dict[tuple[str, str], tuple[Obj, Check, float]]) -> None:
        """Run exactly the wanted probes, by (container id, kind); each with spec, check and running time so far."""
        for key in self._tasks.keys() - wanted.keys():
            self._tasks.pop(key).cancel()
        for (container_id, kind), (spec, check, age_seconds) in wanted.items():
            if (container_id, kind) not in self._tasks:
                loop = self._probe((container_id, kind), spec, check, age_seconds)
                self._tasks[container_id, kind] = asyncio.create_task(loop)

    async def stop(self) -> None:
        """End all probes."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _probe(self, key: tuple[str, str], spec: Obj, check: Check, age_seconds: float) -> None:
        container_id, kind = key
        probe: dict[str, Any] = spec[PROBE_FIELDS[kind]]
        settings = ProbeSettings.of(probe)
        delay = settings.initial_delay_seconds - age_seconds
        if age_seconds > settings.period_seconds:
            delay = max(
                delay, random.uniform(0, settings.period_seconds)
            )  # an agent that restarts must not probe all at once
        await asyncio.sleep(max(0.0, delay))
        tally = Tally()
        while True:
            began = asyncio.get_running_loop().time()
            try:
                attempt = await asyncio.wait_for(check(probe, settings.timeout_seconds), settings.timeout_seconds + 5)
            except TimeoutError:
                attempt = Attempt(False, "probe timed out")
            if attempt.success is not None:
                tally = tally.add(attempt.success, settings.success_threshold, settings.failure_threshold)
            self._report(ProbeReport(container_id, spec["name"], kind, tally.verdict, attempt))
            spent = asyncio.get_running_loop().time() - began
            await asyncio.sleep(max(0.0, settings.period_seconds - spent))
