"""What a StatefulSet does next: the order of creation, update and deletion, and whole lives with a model of pods."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from sparsam.controllers.statefulset_plan import Create, Delete, ordinal_of, plan
from tests.support.controllers import READY

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def stateful(replicas: int = 3, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "web", "generation": 1}, "spec": {"replicas": replicas, **spec}}


def member(ordinal: int, revision: str = "a", *, ready: bool = True, leaving: bool = False, **status: Any) -> Any:
    labels = {"controller-revision-hash": revision}
    metadata = {"name": f"web-{ordinal}", "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z"}
    if leaving:
        metadata["deletionTimestamp"] = "2026-11-01T00:00:00Z"
    found = {"phase": "Running" if ready else "Pending", "conditions": [READY] if ready else [], **status}
    return {"metadata": metadata, "status": found}


def done(stateful_set: Any, *pods: Any, revisions: tuple[str, str] = ("a", "a")) -> list[Any]:
    return [
        ("+", action.ordinal, action.revision) if isinstance(action, Create) else ("-", action.pod["metadata"]["name"])
        for action in plan(stateful_set, pods, revisions, NOW).actions
    ]


def test_pods_come_one_after_the_other_each_once_the_one_before_is_ready():
    assert done(stateful()) == [("+", 0, "a")]
    assert done(stateful(), member(0, ready=False)) == []
    assert done(stateful(), member(0)) == [("+", 1, "a")]
    assert done(stateful(), member(0), member(1, leaving=True)) == []
    assert done(stateful(minReadySeconds=10**9), member(0)) == []


def test_in_parallel_they_all_come_and_go_at_once():
    assert done(stateful(podManagementPolicy="Parallel"), member(1)) == [("+", 0, "a"), ("+", 2, "a")]
    gone = done(stateful(0, podManagementPolicy="Parallel"), member(0), member(1))
    assert gone == [("-", "web-1"), ("-", "web-0")]


def test_counting_starts_where_it_is_told():
    moved = stateful(2, ordinals={"start": 5})
    assert done(moved) == [("+", 5, "a")]
    assert done(moved, member(5), member(6), member(4)) == [("-", "web-4")]


def test_the_highest_goes_first_and_nobody_else_before_it_is_gone():
    assert done(stateful(1), member(0), member(1), member(2)) == [("-", "web-2")]
    assert done(stateful(1), member(0), member(1), member(2, leaving=True)) == []
    assert done(stateful(1), member(0), member(1, ready=False), member(2)) == [("-", "web-2")]


def test_an_ended_pod_is_made_again():
    (action,) = plan(stateful(1), [member(0, ready=False, phase="Failed")], ("a", "a"), NOW).actions
    assert isinstance(action, Delete)
    assert action.recreated


def test_an_update_goes_from_the_highest_down_to_the_partition():
    old = [member(ordinal) for ordinal in range(3)]
    assert done(stateful(), *old, revisions=("a", "b")) == [("-", "web-2")]
    half = [member(0), member(1), member(2, "b", ready=False)]
    assert done(stateful(), *half, revisions=("a", "b")) == []
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}
    kept = stateful(updateStrategy=rolling)
    assert done(kept, *old[:2], member(2, "b"), revisions=("a", "b")) == []
    assert done(kept, *old[:1], revisions=("a", "b")) == [("+", 1, "a")]
    assert done(kept, *old[:2], revisions=("a", "b")) == [("+", 2, "b")]
    assert done(stateful(updateStrategy={"type": "OnDelete"}), *old, revisions=("a", "b")) == []


def test_several_may_be_unavailable_at_once_in_an_update():
    rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "50%"}}
    many = stateful(5, updateStrategy=rolling)
    old = [member(ordinal) for ordinal in range(5)]
    assert done(many, *old, revisions=("a", "b")) == [("-", "web-4"), ("-", "web-3"), ("-", "web-2")]
    broken = [*old[:4], member(4, "b", ready=False)]
    parallel = stateful(5, updateStrategy=rolling, podManagementPolicy="Parallel")
    assert done(parallel, *broken, revisions=("a", "b")) == [("-", "web-3"), ("-", "web-2")]


def test_the_status_counts_revisions_and_becomes_current_when_all_are_updated():
    status = plan(stateful(), [member(0), member(1), member(2, "b")], ("a", "b"), NOW).status
    assert {name: status[name] for name in ("currentReplicas", "updatedReplicas", "currentRevision")} == {
        "currentReplicas": 2,
        "updatedReplicas": 1,
        "currentRevision": "a",
    }
    over = plan(stateful(), [member(ordinal, "b") for ordinal in range(3)], ("a", "b"), NOW).status
    assert (over["currentRevision"], over["currentReplicas"], over["readyReplicas"]) == ("b", 3, 3)


def test_only_names_of_the_set_are_members():
    assert ordinal_of("web", "web-12") == 12
    assert [ordinal_of("web", name) for name in ("web-01", "web-a", "other-1", "web-1-2", "web")] == [None] * 5
    assert ordinal_of("web-1", "web-1-2") == 2


@settings(max_examples=60)
@given(
    st.integers(0, 4),
    st.integers(0, 4),
    st.sampled_from(["OrderedReady", "Parallel"]),
    st.lists(st.booleans(), min_size=80, max_size=80),
)
def test_every_life_ends_with_exactly_the_wanted_pods_of_the_new_revision(
    before: int, after: int, policy: str, moments: list[bool]
):
    pods = {ordinal: member(ordinal) for ordinal in range(before)}
    wanted = stateful(after, podManagementPolicy=policy)
    for becomes_ready in [*moments, *[True] * 40]:
        for action in plan(wanted, list(pods.values()), ("a", "b"), NOW).actions:
            if isinstance(action, Create):
                assert action.ordinal not in pods
                pods[action.ordinal] = member(action.ordinal, action.revision, ready=becomes_ready)
            else:
                del pods[ordinal_of("web", action.pod["metadata"]["name"])]
        if becomes_ready:
            for ordinal, each in pods.items():
                pods[ordinal] = member(ordinal, each["metadata"]["labels"]["controller-revision-hash"])
    assert sorted(pods) == list(range(after))
    assert plan(wanted, list(pods.values()), ("a", "b"), NOW).actions == ()
    assert {each["metadata"]["labels"]["controller-revision-hash"] for each in pods.values()} <= {"b"}
