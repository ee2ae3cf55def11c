"""Whether a pod fits on the node."""

from __future__ import annotations

from sparsam.agent.fitting import shortages
from tests.support.agent import container, pod


def asking(cpu: str, memory: str = "1Mi") -> dict:
    return pod(container(resources={"requests": {"cpu": cpu, "memory": memory}}))


def test_what_is_missing_is_told_as_upstream_does():
    allocatable = {"cpu": "2", "memory": "1Gi"}
    assert shortages(asking("1500m"), [asking("500m")], allocatable) == []
    (short,) = shortages(asking("1500m"), [asking("600m")], allocatable)
    assert str(short) == "cpu, requested: 1500, used: 600, capacity: 2000"
    assert not short.hopeless
    (short,) = shortages(asking("2500m"), [], allocatable)
    assert short.hopeless


def test_a_resize_that_waits_for_room_takes_none():
    other = asking("500")
    allotted = {"name": "main", "allocatedResources": {"cpu": "500m", "memory": "1Mi"}}
    other["status"] = {"containerStatuses": [allotted]}
    allocatable = {"cpu": "2", "memory": "1Gi"}
    # It may be under way: then it counts as if it were done.
    assert shortages(asking("1500m"), [other], allocatable)
    other["status"]["conditions"] = [{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}]
    assert shortages(asking("1500m"), [other], allocatable) == []
    (short,) = shortages(asking("1600m"), [other], allocatable)
    assert short.used == 500


def test_ended_pods_and_the_pod_itself_take_no_room():
    ended, mine = asking("2"), asking("2")
    ended["status"]["phase"] = "Succeeded"
    assert shortages(mine, [ended, mine], {"cpu": "2", "memory": "1Gi"}) == []
    assert [each.resource for each in shortages(pod(container(resources={"requests": {"x/y": "1"}})), [], {})] == [
        "x/y"
    ]
