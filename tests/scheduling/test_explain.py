import pytest

from sparsam.scheduling.demand import compile_pod
from sparsam.scheduling.explain import remedies
from sparsam.scheduling.placement import PendingPod, Placer
from sparsam.scheduling.snapshot import Snapshot
from tests.support.scheduling import node, pod


def told(the_pod, *nodes, bound=()):
    snapshot = Snapshot()
    for each in nodes:
        snapshot.set_node(each)
    for each in bound:
        snapshot.set_pod(each)
    view = Placer(snapshot).view(PendingPod("default/p", compile_pod(the_pod)))
    return [(each.change, each.nodes) for each in remedies(view)]


TAINT = {"key": "dedicated", "value": "gpu", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("fields", "node_fields", "change"),
    [
        ({"cpu": "8"}, {}, "ask for at most 4000m of cpu"),
        ({"cpu": "1"}, {"taints": [TAINT]}, "tolerate dedicated=gpu:NoSchedule, or remove it from the node"),
        ({"cpu": "1"}, {"unschedulable": True}, "uncordon the node"),
        (
            {"nodeSelector": {"disk": "ssd"}},
            {},
            "label the node as the pod's nodeSelector or node affinity asks, or relax these",
        ),
        ({"requests": {"example.com/gpu": "1"}}, {}, "ask for at most 0 of example.com/gpu"),
    ],
)
def test_the_one_change_that_would_do_is_named(fields, node_fields, change):
    assert told(pod("p", **fields), node("a", **node_fields)) == [(change, ("a",))]


def test_what_must_be_freed_is_counted():
    busy = pod("x", cpu="3500m", nodeName="a")
    assert told(pod("p", cpu="1"), node("a"), bound=[busy]) == [("free 500m of cpu", ("a",))]


def test_nodes_that_would_need_two_changes_are_left_out():
    both = node("both", taints=[TAINT])
    assert told(pod("p", cpu="8"), both) == []
    assert told(pod("p", cpu="8", nodeSelector={"disk": "ssd"}), node("a")) == []


def test_what_helps_on_most_nodes_comes_first():
    found = told(pod("p", cpu="1"), node("a", unschedulable=True), *(node(f"t{n}", taints=[TAINT]) for n in range(3)))
    assert [len(nodes) for _, nodes in found] == [3, 1]


def test_a_cordoned_node_is_one_thing():
    cordoned = node(
        "a", unschedulable=True, taints=[{"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}]
    )
    assert told(pod("p", cpu="1"), cordoned) == [("uncordon the node", ("a",))]
