from datetime import UTC, datetime, timedelta

import pytest

from sparsam.controllers.nodehealth import eviction_time, ready_status, silent_conditions, wanted_taints

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
STAMP = "2026-11-23T12:00:00Z"


def node(ready="True", taints=(), unschedulable=False, **conditions):
    listed = [{"type": "Ready", "status": ready, "lastHeartbeatTime": "2026-11-23T11:59:00Z"}] if ready else []
    listed += [{"type": kind, "status": status} for kind, status in conditions.items()]
    return {
        "metadata": {"name": "n", "creationTimestamp": "2026-11-23T11:00:00Z"},
        "spec": {"taints": list(taints), "unschedulable": unschedulable},
        "status": {"conditions": listed},
    }


def keys(taints):
    return [(taint["key"].removeprefix("node.kubernetes.io/"), taint["effect"]) for taint in taints]


def test_a_silent_node_becomes_unknown_with_upstreams_words():
    conditions = silent_conditions(node(MemoryPressure="False"), NOW)
    ready = next(c for c in conditions if c["type"] == "Ready")
    assert ready == {
        "type": "Ready",
        "status": "Unknown",
        "lastHeartbeatTime": "2026-11-23T11:59:00Z",
        "lastTransitionTime": STAMP,
        "reason": "NodeStatusUnknown",
        "message": "Kubelet stopped posting node status.",
    }
    assert {c["type"] for c in conditions} == {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"}
    silent = node()
    silent["status"]["conditions"] = conditions
    assert silent_conditions(silent, NOW) is None
    assert ready_status(silent) == "Unknown"


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (node(), []),
        (node(ready="False"), [("not-ready", "NoSchedule"), ("not-ready", "NoExecute")]),
        (node(ready="Unknown"), [("unreachable", "NoSchedule"), ("unreachable", "NoExecute")]),
        (node(ready=""), [("not-ready", "NoSchedule"), ("not-ready", "NoExecute")]),
        (node(MemoryPressure="True"), [("memory-pressure", "NoSchedule")]),
        (node(unschedulable=True), [("unschedulable", "NoSchedule")]),
    ],
)
def test_taints_follow_conditions(given, wanted):
    assert keys(wanted_taints(given, NOW)) == wanted


def test_taints_of_others_stay_and_ours_keep_their_time():
    foreign = {"key": "team", "value": "a", "effect": "NoSchedule"}
    old = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": "2026-11-23T11:00:00Z"}
    taints = wanted_taints(node(ready="Unknown", taints=[foreign, old]), NOW)
    assert taints[0] == foreign
    assert old in taints
    assert wanted_taints(node(taints=[foreign, old]), NOW) == [foreign]


LOST = {"key": "node.kubernetes.io/unreachable", "effect": "NoExecute", "timeAdded": STAMP}


@pytest.mark.parametrize(
    ("tolerations", "seconds"),
    [
        ([], 0),
        ([{"key": LOST["key"], "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}], 300),
        ([{"key": LOST["key"], "operator": "Exists", "effect": "NoExecute"}], None),
        ([{"operator": "Exists"}], None),
        ([{"key": "other", "operator": "Exists"}], 0),
        ([{"operator": "Exists", "tolerationSeconds": 60}, {"operator": "Exists", "tolerationSeconds": 30}], 30),
        ([{"operator": "Exists", "tolerationSeconds": -5}], 0),
    ],
)
def test_how_long_a_pod_may_stay_on_a_lost_node(tolerations, seconds):
    leave = eviction_time({"spec": {"tolerations": tolerations}}, [LOST], NOW)
    assert leave == (None if seconds is None else NOW + timedelta(seconds=seconds))


def test_a_taint_that_only_keeps_new_pods_away_evicts_nobody():
    assert eviction_time({"spec": {}}, [{"key": "k", "effect": "NoSchedule"}], NOW) is None
