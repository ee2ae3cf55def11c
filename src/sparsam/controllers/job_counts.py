"""Counting a Job's pods exactly once, with the help of a finalizer on each of them. Pure.

A pod that ended is first noted by its uid in the status (`uncountedTerminatedPods`), then loses its finalizer, and only
then moves from the note into the counters, in one write of the status. Whatever dies in between, nothing is counted
twice or forgotten. Source: KEP-2307. Pods with an index count by it: `completedIndexes` is a set already.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sparsam.controllers.job_indexes import index_of, parse_indexes
from sparsam.controllers.job_rules import FAIL_INDEX, FAIL_JOB, IGNORE, failure_verdict
from sparsam.controllers.podcontrol import has_ended, is_active, ready_since
from sparsam.controllers.runtime import Obj

FINALIZER = "batch.kubernetes.io/job-tracking"
FAILURES = "batch.kubernetes.io/job-index-failure-count"
_MAX_UNCOUNTED = 500


@dataclass(slots=True)
class Counts:
    """A job's pods in numbers; `succeeded` and `failed` are those of the status, without what is only noted."""

    succeeded: int = 0
    failed: int = 0
    noted_succeeded: list[str] = field(default_factory=list)
    noted_failed: list[str] = field(default_factory=list)
    completed: set[int] = field(default_factory=set)
    failed_indexes: set[int] = field(default_factory=set)
    active: list[Obj] = field(default_factory=list)
    terminating: int = 0
    ready: int = 0
    new_succeeded: list[Obj] = field(default_factory=list)
    new_failed: list[Obj] = field(default_factory=list)
    release: list[Obj] = field(default_factory=list)
    """Pods whose finalizer goes once the status is written."""
    held_back: bool = False
    """Whether more pods wait to be noted."""
    fatal: str = ""
    """Why a single pod's failure ends the job."""

    @property
    def all_failed(self) -> int:
        """Failures, those noted among them."""
        return self.failed + len(self.noted_failed)


def is_indexed(job: Obj) -> bool:
    """Whether pods have completion indexes."""
    return bool(job["spec"].get("completionMode") == "Indexed")


def replaces_only_failed(job: Obj) -> bool:
    """Whether a pod that is terminating keeps its place until it has failed."""
    return bool(job["spec"].get("podReplacementPolicy") == "Failed" or job["spec"].get("podFailurePolicy"))


def has_failed(job: Obj, pod: Obj) -> bool:
    """Failed, or on the way out where that counts."""
    phase = pod.get("status", {}).get("phase")
    if phase == "Failed":
        return True
    return "deletionTimestamp" in pod["metadata"] and phase != "Succeeded" and not replaces_only_failed(job)


def has_finalizer(pod: Obj) -> bool:
    """Whether a pod is not accounted for yet."""
    return FINALIZER in (pod["metadata"].get("finalizers") or ())


def failures_before(pod: Obj) -> int:
    """Failures of the pod's index before this pod."""
    text = (pod["metadata"].get("annotations") or {}).get(FAILURES, "")
    return int(text) if text.isdigit() else 0


def count(job: Obj, pods: Sequence[Obj]) -> Counts:
    """The counts as they should be written now."""
    found = _carried_over(job, pods)
    noted = {*found.noted_succeeded, *found.noted_failed}
    kept = _last_failures(job, pods, found) if job["spec"].get("backoffLimitPerIndex") is not None else set()
    for pod in pods:
        if is_active(pod):
            found.active.append(pod)
            found.ready += ready_since(pod) is not None
        elif not has_ended(pod):
            found.terminating += 1
        if not has_finalizer(pod):
            continue
        if pod["metadata"]["uid"] in noted:
            found.release.append(pod)
        elif len(noted) + len(found.release) >= _MAX_UNCOUNTED:
            found.held_back = True
        elif pod.get("status", {}).get("phase") == "Succeeded":
            _take_success(job, pod, found)
        elif has_failed(job, pod) and pod["metadata"]["uid"] not in kept:
            _take_failure(job, pod, found)
    if is_indexed(job):
        found.succeeded = len(found.completed)
        found.failed_indexes -= found.completed
    return found


def _carried_over(job: Obj, pods: Sequence[Obj]) -> Counts:
    """What the status says, with notes moved into the counters whose pods have lost their finalizer."""
    status, completions = job.get("status") or {}, job["spec"].get("completions") or 0
    noted = status.get("uncountedTerminatedPods") or {}
    waiting = {pod["metadata"]["uid"] for pod in pods if has_finalizer(pod)}
    found = Counts(status.get("succeeded") or 0, status.get("failed") or 0)
    found.noted_succeeded = [uid for uid in noted.get("succeeded") or () if uid in waiting]
    found.noted_failed = [uid for uid in noted.get("failed") or () if uid in waiting]
    found.succeeded += len(noted.get("succeeded") or ()) - len(found.noted_succeeded)
    found.failed += len(noted.get("failed") or ()) - len(found.noted_failed)
    if is_indexed(job):
        found.completed = parse_indexes(status.get("completedIndexes"), completions)
        found.failed_indexes = parse_indexes(status.get("failedIndexes"), completions)
    return found


def _take_success(job: Obj, pod: Obj, found: Counts) -> None:
    found.new_succeeded.append(pod)
    found.release.append(pod)
    if not is_indexed(job):
        found.noted_succeeded.append(pod["metadata"]["uid"])
        return
    index = index_of(pod)
    if index is not None and index < job["spec"]["completions"]:
        found.completed.add(index)


def _take_failure(job: Obj, pod: Obj, found: Counts) -> None:
    found.release.append(pod)
    verdict = failure_verdict(job, pod)
    if verdict.action == FAIL_JOB:
        found.fatal = found.fatal or verdict.message
    if verdict.action != IGNORE:
        found.new_failed.append(pod)
        found.noted_failed.append(pod["metadata"]["uid"])


def _last_failures(job: Obj, pods: Sequence[Obj], found: Counts) -> set[str]:
    """Failed pods that must stay until their index has a successor, since they tell how often it has failed.

    Indexes that may not be tried again are put among the failed ones.
    """
    limit = job["spec"]["backoffLimitPerIndex"]
    last: dict[int, Obj] = {}
    followed: set[str] = set()
    for pod in sorted(pods, key=lambda each: (failures_before(each), each["metadata"]["creationTimestamp"])):
        index = index_of(pod)
        if index is None or index >= job["spec"]["completions"]:
            continue
        if index in last:
            followed.add(last[index]["metadata"]["uid"])
        last[index] = pod
    kept = set()
    for index, pod in last.items():
        if not has_failed(job, pod) or index in found.completed:
            continue
        verdict = failure_verdict(job, pod)
        if verdict.action == FAIL_INDEX or (verdict.action != IGNORE and failures_before(pod) >= limit):
            found.failed_indexes.add(index)
        elif verdict.action != FAIL_JOB and index not in found.failed_indexes:
            kept.add(pod["metadata"]["uid"])
    return kept - followed
