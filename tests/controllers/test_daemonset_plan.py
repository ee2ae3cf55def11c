"""Where a DaemonSet's pods are, and which come and go next."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sparsam.controllers.daemonset_plan import Daemons, Place, daemon_spec, manage, node_of, places, roll, status
from tests.support.controllers import READY

NOW = datetime(2026, 11, 1, tzinfo=UTC)
HERE, GONE, STAYS = Place(True, True), Place(False, False), Place(False, True)


def daemon(name: str, node: str, revision: str = "new", *, ready: bool = True, **fields: Any) -> dict[str, Any]:
    metadata = {
        "name": name,
        "labels": {"controller-revision-hash": revision},
        "creationTimestamp": "2026-01-01T00:00:00Z",
    }
    metadata |= fields.pop("metadata", {})
    state = {"phase": "Running", "conditions": [READY] if ready else [], **fields}
    return {"metadata": metadata, "spec": {"nodeName": node}, "status": state}


def situation(where: dict[str, Place], *pods: dict[str, Any], **rolling: Any) -> Daemons:
    by_node: dict[str, list[Any]] = {}
    for pod in pods:
        by_node.setdefault(pod["spec"]["nodeName"], []).append(pod)
    strategy = {"type": "RollingUpdate", "rollingUpdate": rolling}
    return Daemons({"updateStrategy": strategy}, where, by_node, "new", NOW)


def names(pods: Any) -> list[str]:
    return sorted(pod["metadata"]["name"] for pod in pods)


def test_every_place_gets_one_and_strangers_go():
    where = {"a": HERE, "b": HERE, "c": GONE, "d": STAYS, "e": STAYS}
    changes = manage(situation(where, daemon("p", "a"), daemon("q", "c"), daemon("r", "d"), daemon("s", "lost")))
    assert changes.create == ("b",)
    assert names(changes.delete) == ["q", "s"]


def test_only_the_oldest_stays_and_ended_ones_are_cleared_away():
    younger = daemon("young", "a", metadata={"creationTimestamp": "2026-02-01T00:00:00Z"})
    changes = manage(situation({"a": HERE}, younger, daemon("old", "a"), daemon("over", "a", phase="Failed")))
    assert names(changes.delete) == ["over", "young"]
    assert names(changes.ended) == ["over"]
    leaving = daemon("old", "a", metadata={"deletionTimestamp": "2026-11-01T00:00:00Z"})
    assert manage(situation({"a": HERE}, leaving)).create == ()


def test_an_update_takes_down_as_many_as_may_be_missing():
    where = dict.fromkeys("abcd", HERE)
    old = [daemon(f"p{node}", node, "old") for node in "abcd"]
    assert names(roll(situation(where, *old)).delete) == ["pa"]
    assert names(roll(situation(where, *old, maxUnavailable="50%")).delete) == ["pa", "pb"]
    half = [daemon("na", "a", ready=False), *old[1:]]
    assert roll(situation(where, *half)).delete == ()
    broken = [daemon("pa", "a", "old", ready=False), *old[1:]]
    assert names(roll(situation(where, *broken)).delete) == ["pa"]


def test_with_surge_the_new_one_comes_first():
    where = dict.fromkeys("ab", HERE)
    old = [daemon(f"p{node}", node, "old") for node in "ab"]
    surge = {"maxSurge": 1, "maxUnavailable": 0}
    assert roll(situation(where, *old, **surge)).create == ("a",)
    coming = [*old, daemon("na", "a", ready=False)]
    assert roll(situation(where, *coming, **surge)).create == ()
    assert manage(situation(where, *coming, **surge)).delete == ()
    come = [*old, daemon("na", "a")]
    assert names(manage(situation(where, *come, **surge)).delete) == ["pa"]


def test_places_follow_affinity_and_taints():
    spec: dict[str, Any] = {"containers": [{"name": "c", "image": "i"}], "nodeSelector": {"disk": "ssd"}}

    def made(name: str, *taints: dict[str, str], disk: str = "ssd") -> dict[str, Any]:
        return {"metadata": {"name": name, "labels": {"disk": disk}}, "spec": {"taints": list(taints)}}

    nodes = [
        made("plain"),
        made("other", disk="none"),
        made("cordoned", {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}),
        made("mine", {"key": "mine", "effect": "NoSchedule"}),
        made("leave", {"key": "mine", "effect": "NoExecute"}),
    ]
    assert places({"spec": spec}, nodes) == {
        "plain": HERE,
        "other": GONE,
        "cordoned": HERE,
        "mine": STAYS,
        "leave": GONE,
    }


def test_a_pod_is_meant_for_its_node():
    made = daemon_spec({"spec": {"containers": [], "tolerations": [{"operator": "Exists"}]}}, "n1")
    assert node_of({"spec": made}) == "n1"
    assert made["tolerations"][0] == {"operator": "Exists"}
    assert len(made["tolerations"]) == 7
    assert len(daemon_spec({"spec": {"containers": [], "hostNetwork": True}})["tolerations"]) == 7


def test_the_status_counts():
    where = {"a": HERE, "b": HERE, "c": GONE}
    pods = [daemon("p", "a"), daemon("q", "b", "old", ready=False), daemon("r", "c")]
    found = status({"metadata": {"generation": 3}}, situation(where, *pods), 0)
    assert found == {
        "currentNumberScheduled": 2,
        "numberMisscheduled": 1,
        "desiredNumberScheduled": 2,
        "numberReady": 1,
        "observedGeneration": 3,
        "updatedNumberScheduled": 1,
        "numberAvailable": 1,
        "numberUnavailable": 1,
    }
