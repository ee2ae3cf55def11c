"""What a Job does next: tables for the rules, and whole lives with a model of pods and of a writer that may die."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsam.clock import format_time
from sparsam.controllers.job_counts import FAILURES, FINALIZER
from sparsam.controllers.job_indexes import INDEX
from sparsam.controllers.job_plan import Backoff, JobPlan, NewPod, plan

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def job(status: Any = None, restart: str = "Never", **spec: Any) -> dict[str, Any]:
    given_spec = {"parallelism": 2, "completions": 3, "backoffLimit": 6, "podReplacementPolicy": "TerminatingOrFailed"}
    template = {"spec": {"restartPolicy": restart}}
    return {
        "metadata": {"name": "j", "namespace": "d", "uid": "job"},
        "spec": {**given_spec, "template": template, **spec},
        "status": status or {},
    }


def task(name: str, phase: str = "Running", index: int | None = None, **fields: Any) -> dict[str, Any]:
    code, held = fields.pop("code", 1), fields.pop("held", True)
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": "d",
        "uid": name,
        "creationTimestamp": "2026-11-01T11:00:00Z",
        "finalizers": [FINALIZER] if held else [],
        "annotations": {},
    }
    if index is not None:
        metadata["annotations"] = {INDEX: str(index), FAILURES: str(fields.pop("failures", 0))}
    if fields.pop("leaving", False):
        metadata["deletionTimestamp"] = "2026-11-01T11:30:00Z"
    status: dict[str, Any] = {"phase": phase, **fields}
    if phase in ("Succeeded", "Failed"):
        ended = {"exitCode": 0 if phase == "Succeeded" else code, "finishedAt": "2026-11-01T11:30:00Z"}
        status["containerStatuses"] = [{"name": "c", "restartCount": 0, "state": {"terminated": ended}}]
    return {"metadata": metadata, "spec": {"nodeName": "n"}, "status": status}


def made(of: dict[str, Any], *pods: Any, now: datetime = LATER, settled: bool = True) -> JobPlan:
    return plan(of, pods, Backoff(), now, settled=settled)


def conditions(found: JobPlan) -> list[tuple[str, str, str]]:
    return [(c["type"], c["status"], c["reason"]) for c in found.status.get("conditions", ())]


def names(pods: Any) -> list[str]:
    return [pod["metadata"]["name"] for pod in pods]


def test_pods_are_made_up_to_parallelism_and_to_what_is_left():
    assert made(job()).create == [NewPod(), NewPod()]
    assert made(job(), task("a")).create == [NewPod()]
    assert made(job({"succeeded": 2}), task("a")).create == []
    assert made(job(completions=None, parallelism=3)).create == [NewPod()] * 3
    assert made(job(), settled=False).create == []
    assert len(made(job(parallelism=1), task("a"), task("b")).delete) == 1


def test_an_ended_pod_is_noted_then_released_then_counted():
    first = made(job(), task("a", "Succeeded"), task("b", "Failed"))
    assert first.status["uncountedTerminatedPods"] == {"succeeded": ["a"], "failed": ["b"]}
    assert (first.status.get("succeeded"), first.status.get("failed")) == (None, None)
    assert names(first.release) == ["a", "b"]
    again = made(job(first.status), task("a", "Succeeded"), task("b", "Failed"))
    assert again.status == first.status
    second = made(job(first.status), task("a", "Succeeded", held=False), task("b", "Failed"))
    assert second.status["uncountedTerminatedPods"] == {"failed": ["b"]}
    assert second.status["succeeded"] == 1
    third = made(job(second.status))
    assert (third.status["succeeded"], third.status["failed"]) == (1, 1)
    assert third.status["uncountedTerminatedPods"] == {}


def test_failures_are_followed_by_a_growing_pause():
    fresh = [task("a", "Failed"), task("b", "Failed")]
    moment = datetime(2026, 11, 1, 11, 30, 5, tzinfo=UTC)
    found = made(job(), *fresh, now=moment)
    assert found.create == []
    assert found.wake_seconds == 15.0
    assert found.backoff.failures == 2
    found = made(job(), *fresh, task("c", "Succeeded"), now=moment)
    assert found.backoff.failures == 0


def test_too_many_failures_end_the_job_once_its_pods_are_gone():
    failing = job({"failed": 1}, backoffLimit=1)
    found = made(failing, task("a", "Failed"), task("b"))
    assert conditions(found) == [("FailureTarget", "True", "BackoffLimitExceeded")]
    assert names(found.delete) == ["b"]
    ended = made(job({**found.status, "failed": 2, "uncountedTerminatedPods": {}}, backoffLimit=1))
    assert conditions(ended)[-1] == ("Failed", "True", "BackoffLimitExceeded")
    assert ended.events == [("Warning", "BackoffLimitExceeded", "Job has reached the specified backoff limit")]


def test_restarts_within_pods_count_with_on_failure():
    restarted = task("a", containerStatuses=[{"name": "c", "restartCount": 7, "state": {}}])
    assert conditions(made(job(restart="OnFailure"), restarted))[0][2] == "BackoffLimitExceeded"
    assert conditions(made(job(restart="Never"), restarted)) == []


def test_success_is_declared_at_once_and_complete_when_nothing_runs():
    found = made(job({"succeeded": 2}), task("a", "Succeeded"), task("b"))
    assert conditions(found) == [("SuccessCriteriaMet", "True", "CompletionsReached")]
    assert names(found.delete) == ["b"]
    after = made(job({**found.status, "succeeded": 3, "uncountedTerminatedPods": {}}))
    assert conditions(after)[-1] == ("Complete", "True", "CompletionsReached")
    assert after.status["completionTime"] == format_time(LATER)
    assert after.events == [("Normal", "Completed", "Job completed")]


def test_a_deadline_ends_the_job():
    started = {"startTime": "2026-11-01T11:00:00Z"}
    found = made(job(started, activeDeadlineSeconds=60), task("a"))
    assert conditions(found) == [("FailureTarget", "True", "DeadlineExceeded")]
    waiting = made(job({"startTime": format_time(NOW)}, activeDeadlineSeconds=60), task("a"), now=NOW)
    assert waiting.wake_seconds == pytest.approx(60.01)


def test_suspension_stops_pods_and_the_clock_and_resuming_starts_both():
    found = made(job({"startTime": "2026-11-01T11:00:00Z"}, suspend=True), task("a"))
    assert names(found.delete) == ["a"]
    assert "startTime" not in found.status
    assert conditions(found) == [("Suspended", "True", "JobSuspended")]
    again = made(job(found.status))
    assert conditions(again) == [("Suspended", "False", "JobResumed")]
    assert again.status["startTime"] == format_time(LATER)
    assert again.events == [("Normal", "Resumed", "Job resumed")]


def test_indexes_are_made_in_order_and_completed_as_a_set():
    indexed = job({"completedIndexes": "0", "succeeded": 1}, completionMode="Indexed", completions=5, parallelism=3)
    found = made(indexed, task("a", index=2), task("b", "Succeeded", 1), task("c", "Succeeded", 1))
    assert found.status["completedIndexes"] == "0,1"
    assert found.status["succeeded"] == 2
    assert names(found.release) == ["b", "c"]
    assert [each.index for each in found.create] == [3, 4]
    doubled = made(indexed, task("a", index=2), task("b", index=2), task("x", index=0))
    assert sorted(names(doubled.delete))[-1] == "x"
    assert len(doubled.delete) == 2


def test_an_index_may_fail_on_its_own():
    limited = job(
        completionMode="Indexed", completions=3, backoffLimitPerIndex=1, parallelism=3, backoffLimit=2**31 - 1
    )
    found = made(limited, task("a", "Failed", 0), task("b", index=1), task("c", index=2))
    assert found.create == [NewPod(0, 1)]
    assert found.release == []
    after = made(limited, task("a", "Failed", 0), task("d", "Failed", 0, failures=1), task("b", index=1))
    assert after.status["failedIndexes"] == "0"
    assert sorted(names(after.release)) == ["a", "d"]
    done = {"completedIndexes": "1,2", "succeeded": 2, "failedIndexes": "0"}
    over = made({**limited, "status": done})
    assert conditions(over) == [("FailureTarget", "True", "FailedIndexes"), ("Failed", "True", "FailedIndexes")]
    strict = job(done, completionMode="Indexed", completions=9, backoffLimitPerIndex=1, maxFailedIndexes=0)
    assert conditions(made(strict))[0][2] == "MaxFailedIndexesExceeded"


def test_rules_decide_what_a_failure_means():
    def ruled(action: str, **rule: Any) -> dict[str, Any]:
        return job(podFailurePolicy={"rules": [{"action": action, **rule}]}, podReplacementPolicy="Failed")

    exits = {"onExitCodes": {"containerName": None, "operator": "In", "values": [42]}}
    fatal = made(ruled("FailJob", **exits), task("a", "Failed", code=42))
    (condition,) = fatal.status["conditions"]
    assert condition["reason"] == "PodFailurePolicy"
    assert condition["message"] == "Container c for pod d/a failed with exit code 42 matching FailJob rule at index 0"
    assert conditions(made(ruled("FailJob", **exits), task("a", "Failed", code=1))) == []
    disrupted = {"onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    evicted = task("a", "Failed", conditions=[{"type": "DisruptionTarget", "status": "True"}])
    ignored = made(ruled("Ignore", **disrupted), evicted)
    assert names(ignored.release) == ["a"]
    assert ignored.status["uncountedTerminatedPods"] == {}
    assert len(ignored.create) == 2


def test_terminating_pods_are_replaced_at_once_or_when_they_have_failed():
    leaving = [task("a", leaving=True), task("b")]
    at_once = made(job(), *leaving)
    assert len(at_once.create) == 1
    assert at_once.status["uncountedTerminatedPods"] == {"failed": ["a"]}
    assert at_once.status["terminating"] == 1
    later = made(job(podReplacementPolicy="Failed"), *leaving)
    assert later.create == []
    assert later.status["uncountedTerminatedPods"] == {}


@pytest.mark.parametrize(
    ("rule", "met"),
    [
        ({"succeededIndexes": "0-1"}, True),
        ({"succeededIndexes": "0-2"}, False),
        ({"succeededCount": 2}, True),
        ({"succeededIndexes": "1-4", "succeededCount": 1}, True),
        ({"succeededIndexes": "1-4", "succeededCount": 2}, False),
    ],
)
def test_a_success_policy_may_be_content_with_less(rule: Any, met: bool):
    policy = {"rules": [rule]}
    spec = {"completionMode": "Indexed", "completions": 5, "successPolicy": policy}
    found = made(job({"completedIndexes": "0,1"}, **spec), task("a", index=2))
    wanted = [("SuccessCriteriaMet", "True", "SuccessPolicy")] if met else []
    assert conditions(found) == wanted


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(1, 4),
    st.booleans(),
    st.lists(st.tuples(st.sampled_from(["Succeeded", "Failed"]), st.integers(0, 3)), min_size=40, max_size=40),
)
def test_every_pod_counts_exactly_once_whatever_dies_in_between(
    completions: int, parallelism: int, indexed: bool, fates: list[tuple[str, int]]
):
    """A pod's fate, and after which step the writer dies in that round: before all, after the status, after a release."""
    mode = "Indexed" if indexed else "NonIndexed"
    current = job(completions=completions, parallelism=parallelism, completionMode=mode, backoffLimit=1000)
    pods: dict[str, Any] = {}
    numbers = itertools.count()
    moment, truth = NOW, {"Succeeded": 0, "Failed": 0}
    for fate, dies_after in [*fates, *[("Succeeded", 9)] * (4 * completions + 8)]:
        moment += timedelta(hours=2)
        decided = plan(current, list(pods.values()), Backoff(), moment, settled=True)
        if dies_after == 0:
            continue
        current = {**current, "status": decided.status}
        for pod in decided.release[: 1 if dies_after == 1 else None]:
            pods.pop(pod["metadata"]["uid"])
        if dies_after == 1:
            continue
        for pod in decided.delete:
            pods.pop(pod["metadata"]["uid"], None)
        for each in decided.create:
            name = f"p{next(numbers)}"
            pods[name] = task(name, index=each.index)
        for name, pod in list(pods.items())[:2]:
            if pod["status"]["phase"] == "Running":
                pods[name] = task(name, fate, (None if not indexed else int(pod["metadata"]["annotations"][INDEX])))
                truth[fate] += 1
    final = current["status"]
    assert conditions(JobPlan(final, [], Backoff()))[-1] == ("Complete", "True", "CompletionsReached")
    assert final["uncountedTerminatedPods"] == {}
    assert final["succeeded"] == completions
    assert final.get("failed", 0) == truth["Failed"]
    if indexed:
        assert final["completedIndexes"].startswith("0")
