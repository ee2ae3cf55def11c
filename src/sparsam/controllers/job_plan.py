"""What a Job does next, and its status. Pure.

Source: upstream's job controller; KEP-3939 (replacement of terminating pods), and those named in `job_rules`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sparsam.clock import format_time, parse_time
from sparsam.controllers.job_counts import Counts, count, failures_before, has_failed, is_indexed, replaces_only_failed
from sparsam.controllers.job_indexes import format_indexes, index_of
from sparsam.controllers.job_rules import IGNORE, failure_verdict, success_rule
from sparsam.controllers.podcontrol import ready_since
from sparsam.controllers.runtime import Obj

BURST_PODS = 500
FIRST_BACKOFF_SECONDS, LAST_BACKOFF_SECONDS = 10.0, 600.0
_GOALS = {"SuccessCriteriaMet": "Complete", "FailureTarget": "Failed"}

Words = tuple[str, str, str]
"""Type, reason and message of a condition."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Failures since the last success, and when the latest was (Unix seconds)."""

    failures: int = 0
    latest: float = 0.0


@dataclass(frozen=True, slots=True)
class NewPod:
    """A pod to make: its index, and how often that has failed."""

    index: int | None = None
    failures: int = 0


@dataclass(slots=True)
class JobPlan:
    """Write the status, then take finalizers away, delete and create; look again after `wake_seconds`."""

    status: Obj
    release: list[Obj]
    backoff: Backoff
    create: list[NewPod] = field(default_factory=list)
    delete: list[Obj] = field(default_factory=list)
    events: list[Words] = field(default_factory=list)
    wake_seconds: float | None = None


def is_finished(job: Obj) -> bool:
    """Complete or failed for good."""
    return any(c["type"] in _GOALS.values() and c["status"] == "True" for c in _conditions(job))


def plan(job: Obj, pods: Sequence[Obj], backoff: Backoff, now: datetime, *, settled: bool) -> JobPlan:
    """The next step; `settled` says that the pods are seen as this controller left them."""
    counts = count(job, pods)
    made = JobPlan({}, counts.release, _after(backoff, counts))
    conditions = [dict(condition) for condition in _conditions(job)]
    goal = _goal(conditions) or _reached(job, pods, counts, now)
    start = (job.get("status") or {}).get("startTime")
    if goal is not None:
        start = start or format_time(now)
        made.delete = list(counts.active)
        open_ends = counts.active or counts.terminating or counts.held_back
        ended = settled and not (open_ends or counts.noted_failed or counts.noted_succeeded)
        made.events += _conclude(conditions, goal, now, ended=ended)
    elif job["spec"].get("suspend"):
        made.delete, start = list(counts.active), None
        if _set(conditions, ("Suspended", "JobSuspended", "Job suspended"), True, now):
            made.events.append(("Normal", "Suspended", "Job suspended"))
    else:
        if any(c["type"] == "Suspended" and c["status"] == "True" for c in conditions):
            _set(conditions, ("Suspended", "JobResumed", "Job resumed"), False, now)
            made.events.append(("Normal", "Resumed", "Job resumed"))
        start = start or format_time(now)
        if settled:
            _manage(job, pods, counts, made, now)
        _wake_at_deadline(job, start, made, now)
    made.status = _status(job, counts, conditions, start)
    return made


def _conditions(job: Obj) -> list[Obj]:
    return (job.get("status") or {}).get("conditions") or []


def _goal(conditions: list[Obj]) -> Words | None:
    """Where the job is heading already."""
    for condition in conditions:
        if condition["type"] in _GOALS and condition["status"] == "True":
            return condition["type"], condition.get("reason", ""), condition.get("message", "")
    return None


def _reached(job: Obj, pods: Sequence[Obj], counts: Counts, now: datetime) -> Words | None:
    """Whether the job fails or succeeds now."""
    failure = _failure(job, pods, counts, now)
    if failure is not None:
        return "FailureTarget", *failure
    spec = job["spec"]
    rule = success_rule(job, counts.completed) if is_indexed(job) and spec.get("successPolicy") else None
    if rule is not None:
        return "SuccessCriteriaMet", "SuccessPolicy", f"Matched rules at index {rule}"
    succeeded = counts.succeeded + len(counts.noted_succeeded)
    if spec.get("suspend"):
        return None
    if spec.get("completions") is None:
        complete = succeeded > 0 and not counts.active
    else:
        complete = succeeded >= spec["completions"]
    if complete:
        return "SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods"
    return None


def _failure(job: Obj, pods: Sequence[Obj], counts: Counts, now: datetime) -> tuple[str, str] | None:
    spec = job["spec"]
    if counts.fatal:
        return "PodFailurePolicy", counts.fatal
    if counts.all_failed > spec["backoffLimit"] or _restarted_too_often(job, pods):
        return "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    start, deadline = (job.get("status") or {}).get("startTime"), spec.get("activeDeadlineSeconds")
    if deadline is not None and start and not spec.get("suspend") and _seconds_since(start, now) >= deadline:
        return "DeadlineExceeded", "Job was active longer than specified deadline"
    if is_indexed(job) and spec.get("backoffLimitPerIndex") is not None:
        most = spec.get("maxFailedIndexes")
        if most is not None and len(counts.failed_indexes) > most:
            return "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes"
        if counts.failed_indexes and len(counts.failed_indexes | counts.completed) >= spec["completions"]:
            return "FailedIndexes", "Job has failed indexes"
    return None


def _restarted_too_often(job: Obj, pods: Sequence[Obj]) -> bool:
    """With restartPolicy OnFailure it is restarts within pods that count."""
    spec = job["spec"]
    if spec["template"]["spec"].get("restartPolicy") != "OnFailure":
        return False
    restarts = 0
    for pod in pods:
        status = pod.get("status", {})
        if status.get("phase") in ("Running", "Pending"):
            for field_name in ("initContainerStatuses", "containerStatuses"):
                restarts += sum(entry.get("restartCount", 0) for entry in status.get(field_name) or ())
    return restarts > 0 if spec["backoffLimit"] == 0 else restarts >= spec["backoffLimit"]


def _conclude(conditions: list[Obj], goal: Words, now: datetime, *, ended: bool) -> list[Words]:
    """On the way to the end, and there once every pod is gone and counted; returns events."""
    _set(conditions, goal, True, now)
    if not ended:
        return []
    kind, reason, message = goal
    _set(conditions, (_GOALS[kind], reason, message), True, now)
    return [("Normal", "Completed", "Job completed") if _GOALS[kind] == "Complete" else ("Warning", reason, message)]


def _manage(job: Obj, pods: Sequence[Obj], counts: Counts, made: JobPlan, now: datetime) -> None:
    """Create or delete pods towards the parallelism."""
    spec = job["spec"]
    wanted, parallelism = _wanted_active(job, counts), spec["parallelism"]
    active = counts.active
    surplus = _to_remove(job, counts, max(len(active) - min(wanted, parallelism), 0))
    if surplus:
        made.delete = surplus
        return
    waiting_for = counts.terminating if replaces_only_failed(job) else 0
    missing = min(wanted - waiting_for - len(active), BURST_PODS)
    if missing <= 0:
        return
    if is_indexed(job):
        made.create, made.wake_seconds = _pending_indexes(job, pods, counts, missing, now)
        if spec.get("backoffLimitPerIndex") is not None:
            return
    else:
        made.create = [NewPod()] * missing
    pause = _remaining(made.backoff, now)
    if pause > 0:
        made.create, made.wake_seconds = [], pause


def _wanted_active(job: Obj, counts: Counts) -> int:
    spec, succeeded = job["spec"], counts.succeeded + len(counts.noted_succeeded)
    if spec.get("completions") is None:
        return len(counts.active) if succeeded > 0 else int(spec["parallelism"])
    open_places: int = spec["completions"] - succeeded - len(counts.failed_indexes)
    return max(min(open_places, int(spec["parallelism"])), 0)


def _to_remove(job: Obj, counts: Counts, least: int) -> list[Obj]:
    """Active pods that go: without a valid open index or second of one, then those that are missed least."""
    removed: list[Obj] = []
    order = sorted(counts.active, key=_worth)
    if is_indexed(job):
        taken: set[int] = set()
        for pod in reversed(order):
            index = index_of(pod)
            done = index in counts.completed or index in counts.failed_indexes
            if index is None or index >= job["spec"]["completions"] or done or index in taken:
                removed.append(pod)
            else:
                taken.add(index)
    rest = [pod for pod in order if pod not in removed]
    return removed + rest[: max(least - len(removed), 0)]


def _worth(pod: Obj) -> tuple[bool, bool, bool, str]:
    """Unassigned before assigned, pending before running, not ready before ready, the youngest first."""
    born = pod["metadata"]["creationTimestamp"]
    inverted = "".join(chr(255 - ord(letter)) for letter in born)
    running = pod.get("status", {}).get("phase") == "Running"
    return bool(pod["spec"].get("nodeName")), running, ready_since(pod) is not None, inverted


def _pending_indexes(
    job: Obj, pods: Sequence[Obj], counts: Counts, missing: int, now: datetime
) -> tuple[list[NewPod], float | None]:  # fmt: skip
    """The lowest indexes without a pod that may be tried now, and when the next may."""
    taken = counts.completed | counts.failed_indexes | {index_of(pod) for pod in counts.active}
    if replaces_only_failed(job):
        taken |= {index_of(pod) for pod in pods if "deletionTimestamp" in pod["metadata"] and not has_failed(job, pod)}
    last: dict[int | None, Obj] = {}
    if job["spec"].get("backoffLimitPerIndex") is not None:
        for pod in sorted(pods, key=failures_before):
            if has_failed(job, pod):
                last[index_of(pod)] = pod
    chosen: list[NewPod] = []
    pauses: list[float] = []
    for index in range(job["spec"]["completions"]):
        if len(chosen) >= missing:
            break
        if index in taken:
            continue
        failures, pause = _again(job, last.get(index), now)
        if pause > 0:
            pauses.append(pause)
        else:
            chosen.append(NewPod(index, failures))
    return chosen, min(pauses, default=None)


def _again(job: Obj, failed: Obj | None, now: datetime) -> tuple[int, float]:
    """How often an index has failed with this pod, and how long to wait before the next."""
    if failed is None:
        return 0, 0.0
    ignored = failure_verdict(job, failed).action == IGNORE
    failures = failures_before(failed) + (not ignored)
    return failures, _remaining(Backoff(max(failures, 1), _ended_at(failed)), now)


def _after(backoff: Backoff, counts: Counts) -> Backoff:
    """The back-off with what has newly ended."""
    ended = sorted(_ended_at(pod) for pod in counts.new_failed)
    if counts.new_succeeded:
        success = max(_ended_at(pod) for pod in counts.new_succeeded)
        ended = [moment for moment in ended if moment > success]
        backoff = Backoff(0, backoff.latest)
    return Backoff(backoff.failures + len(ended), max([*ended, backoff.latest]))


def _remaining(backoff: Backoff, now: datetime) -> float:
    if backoff.failures == 0:
        return 0.0
    pause = min(FIRST_BACKOFF_SECONDS * 2.0 ** min(backoff.failures - 1, 30), LAST_BACKOFF_SECONDS)
    return max(backoff.latest + pause - now.timestamp(), 0.0)


def _ended_at(pod: Obj) -> float:
    """When a pod's last container ended; else when it was told to go or was made."""
    metadata, status = pod["metadata"], pod.get("status", {})
    moments = [
        ended["finishedAt"]
        for entry in status.get("containerStatuses") or ()
        if (ended := (entry.get("state") or {}).get("terminated")) and ended.get("finishedAt")
    ]
    moment = max(moments) if moments else metadata.get("deletionTimestamp") or metadata["creationTimestamp"]
    return parse_time(moment).timestamp()


def _seconds_since(moment: str, now: datetime) -> float:
    return (now - parse_time(moment)).total_seconds()


def _wake_at_deadline(job: Obj, start: str, made: JobPlan, now: datetime) -> None:
    deadline = job["spec"].get("activeDeadlineSeconds")
    if deadline is not None:
        left = max(deadline - _seconds_since(start, now), 0.0) + 0.01
        made.wake_seconds = left if made.wake_seconds is None else min(made.wake_seconds, left)


def _set(conditions: list[Obj], words: Words, true: bool, now: datetime) -> bool:
    """Set a condition; whether that changed it."""
    kind, reason, message = words
    status = "True" if true else "False"
    known = next((each for each in conditions if each["type"] == kind), None)
    if known is not None and known["status"] == status:
        return False
    moment = format_time(now)
    fresh = {
        "type": kind,
        "status": status,
        "lastProbeTime": moment,
        "lastTransitionTime": moment,
        "reason": reason,
        "message": message,
    }
    if known is None:
        conditions.append(fresh)
    else:
        known.update(fresh)
    return True


def _status(job: Obj, counts: Counts, conditions: list[Obj], start: str | None) -> Obj:
    status: Obj = {}
    if conditions:
        status["conditions"] = conditions
    if start:
        status["startTime"] = start
    complete = next((c for c in conditions if c["type"] == "Complete" and c["status"] == "True"), None)
    if complete is not None:
        status["completionTime"] = complete["lastTransitionTime"]
    for name, number in (("active", len(counts.active)), ("succeeded", counts.succeeded), ("failed", counts.failed)):
        if number:
            status[name] = number
    if is_indexed(job):
        if counts.completed:
            status["completedIndexes"] = format_indexes(counts.completed)
        if job["spec"].get("backoffLimitPerIndex") is not None:
            status["failedIndexes"] = format_indexes(counts.failed_indexes)
    noted = {"succeeded": counts.noted_succeeded, "failed": counts.noted_failed}
    status["uncountedTerminatedPods"] = {name: uids for name, uids in noted.items() if uids}
    return {**status, "terminating": counts.terminating, "ready": counts.ready}
