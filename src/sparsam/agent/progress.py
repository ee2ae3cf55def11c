"""How what the agent alone knows of a container changes: by probes, by failed starts, by an agent before this one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sparsam.agent import lifecycle
from sparsam.agent.podspec import Obj, reported_status
from sparsam.agent.podstate import Progress, Waiting
from sparsam.agent.podtasks import RETRY_SECONDS
from sparsam.agent.probing import LIVENESS, READINESS, STARTUP, ProbeReport, Verdict
from sparsam.agent.runtime import Container
from sparsam.agent.starting import StartFailed

LAST_RETRY_SECONDS = 10.0


def pause_seconds(failures: int) -> float:
    """How long to wait after so many failures in a row."""
    return min(RETRY_SECONDS * 2.0 ** (failures - 1), LAST_RETRY_SECONDS)


def adopted(pod: Obj, containers: Iterable[Container]) -> dict[str, Progress]:
    """Health of containers that ran before this agent: believed as it was last reported."""
    found = {}
    for run in containers:
        entry = reported_status(pod, run.name)
        if entry is None or not run.running or not entry.get("containerID", "").endswith(f"://{run.id}"):
            continue
        ready = True if entry.get("ready") else None
        started = True if entry.get("started") else None
        found[run.name] = Progress(container_id=run.id, ready=ready, started=started)
    return found


def after_probe(progress: Progress, report: ProbeReport) -> Progress:
    """With what a probe found; of an older run nothing is kept."""
    if progress.container_id != report.container_id:
        progress = replace(progress, container_id=report.container_id, ready=None, started=None, failed_probe="")
    success = report.verdict is Verdict.SUCCESS
    failure = report.verdict is Verdict.FAILURE
    if report.kind == READINESS and (success or failure):
        return replace(progress, ready=success)
    if report.kind == STARTUP and success:
        return replace(progress, started=True)
    if report.kind in (LIVENESS, STARTUP) and failure:
        return replace(progress, failed_probe=report.kind)
    return progress


def after_failed_start(progress: Progress, error: StartFailed, now: float) -> Progress:
    """With the reason, and when to try again: images later each time, up to five minutes."""
    failures = progress.failures + 1
    if error.reason == "ErrImagePull":
        pause = min(lifecycle.FIRST_BACKOFF_SECONDS * 2 ** (failures - 1), lifecycle.LAST_BACKOFF_SECONDS)
    else:
        pause = pause_seconds(failures)
    fault = Waiting(error.reason, error.message)
    return replace(progress, fault=fault, fault_at=now, failures=failures, retry_at=now + pause)


def begun(progress: Progress, container_id: str) -> Progress:
    """A container runs, of whose health nothing is known yet; its postStart hook may still be under way."""
    return replace(
        progress, container_id=container_id, ready=None, started=None, failed_probe="", fault=None, failures=0
    )
