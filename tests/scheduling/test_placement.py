import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsam.power.catalogue import profiles
from sparsam.power.model import encode
from sparsam.power.server import MODEL_ANNOTATION
from sparsam.scheduling.demand import compile_pod
from sparsam.scheduling.placement import PendingPod, Placer
from sparsam.scheduling.policy import KubeDefault
from sparsam.scheduling.snapshot import Snapshot
from sparsam.units import parse_quantity
from tests.support.scheduling import node, pod, watts


def snapshot(*nodes, bound=()):
    snap = Snapshot()
    for each in nodes:
        snap.set_node(each)
    for each in bound:
        snap.set_pod(each)
    return snap


def plan(snap, *pods):
    return Placer(snap, explains=True).schedule(
        PendingPod(f"default/{p['metadata']['name']}", compile_pod(p)) for p in pods
    )


def bound_to(snap, *pods):
    return [bind.node for bind in plan(snap, *pods).binds]


def test_the_node_that_adds_the_fewest_watts_wins():
    snap = snapshot(
        node("hungry", annotations=watts(100, 500)), node("thrifty", annotations=watts(100, 180)), node("plain")
    )
    [bind] = plan(snap, pod("a", cpu="1")).binds
    assert bind.node == "plain"
    snap.set_node(node("plain", unschedulable=True))
    [bind] = plan(snap, pod("b", cpu="1")).binds
    assert (bind.node, bind.watts_delta) == ("thrifty", 20)
    assert (bind.ranked[1].node, bind.ranked[1].watts_delta) == ("hungry", 100)


def test_equal_nodes_are_filled_evenly():
    snap = snapshot(*(node(f"n{i}") for i in range(3)))
    placed = bound_to(snap, *(pod(f"p{i}", cpu="500m") for i in range(6)))
    assert sorted(placed) == ["n0", "n0", "n1", "n1", "n2", "n2"]


def test_where_opening_a_server_costs_watts_the_fullest_takes_the_next_pod():
    [model] = [one.model for one in profiles() if one.name == "epyc-7742-2s"]
    epyc = {MODEL_ANNOTATION: encode(model).decode()}
    servers = [node(f"n{i}", cpu="256", memory="256Gi", annotations=epyc) for i in range(3)]
    bound = [pod("big", cpu="200", nodeName="n1"), pod("small", cpu="60", nodeName="n2")]
    assert set(bound_to(snapshot(*servers, bound=bound), *(pod(f"p{i}", cpu="1") for i in range(5)))) == {"n1"}


def test_upstreams_words_for_a_pod_that_fits_nowhere():
    tainted = node("t", taints=[{"key": "k", "effect": "NoSchedule"}])
    [rejection] = plan(
        snapshot(node("a"), node("b"), tainted), pod("big", cpu="3900m"), pod("big2", cpu="8")
    ).rejections
    assert rejection.pod == "default/big2"
    assert rejection.message == (
        "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. no new claims to deallocate, "
        "preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    )


def test_room_that_could_be_made_is_told_from_room_that_cannot():
    snap = snapshot(node("a"), bound=[pod("old", cpu="3", nodeName="a")])
    assert "1 No preemption victims found" in plan(snap, pod("new", cpu="2")).rejections[0].message


def test_no_nodes_at_all():
    assert plan(snapshot(), pod("a")).rejections[0].message == "no nodes available to schedule pods"


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"nodeSelector": {"disk": "ssd"}}, {"a"}),
        ({"nodeName": "b"}, {"b"}),
        ({"tolerations": [{"operator": "Exists"}]}, {"a", "b", "t", "off"}),
        ({"tolerations": [{"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}]}, {"a", "b", "t"}),
        ({"tolerations": [{"key": "k", "value": "other", "effect": "NoSchedule"}]}, {"a", "b"}),
    ],
)
def test_where_a_pod_may_go(spec, wanted):
    nodes = [
        node("a", labels={"disk": "ssd"}),
        node("b", labels={"disk": "hdd"}),
        node("t", taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}]),
        node("off", unschedulable=True),
    ]
    assert feasible_nodes(nodes, pod("p", **spec)) == wanted


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ({"key": "gen", "operator": "In", "values": ["3", "4"]}, {"a", "b"}),
        ({"key": "gen", "operator": "NotIn", "values": ["3"]}, {"b", "c", "d"}),
        ({"key": "gen", "operator": "Exists"}, {"a", "b", "d"}),
        ({"key": "gen", "operator": "DoesNotExist"}, {"c"}),
        ({"key": "gen", "operator": "Gt", "values": ["3"]}, {"b"}),
        ({"key": "gen", "operator": "Lt", "values": ["4"]}, {"a"}),
    ],
)
def test_node_affinity_operators(expression, wanted):
    nodes = [node("a", labels={"gen": "3"}), node("b", labels={"gen": "4"}), node("c"), node("d", labels={"gen": "x"})]
    term = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": term}}
    assert feasible_nodes(nodes, pod("p", affinity=affinity)) == wanted


def test_match_fields_names_the_node():
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}
    assert feasible_nodes([node("a"), node("b")], pod("p", affinity=affinity)) == {"b"}


def test_preferred_affinity_moves_the_choice_among_equals():
    term = {"weight": 50, "preference": {"matchExpressions": [{"key": "z", "operator": "In", "values": ["1"]}]}}
    affinity = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [term]}}
    nodes = [*(node(f"n{i}") for i in range(5)), node("liked", labels={"z": "1"})]
    assert bound_to(snapshot(*nodes), pod("p", affinity=affinity)) == ["liked"]


def test_host_ports_are_given_once_per_node():
    port = {"containerPort": 80, "hostPort": 8080}
    one, two, three = (pod(f"p{i}", ports=[port]) for i in range(3))
    result = plan(snapshot(node("a"), node("b")), one, two, three)
    assert sorted(bind.node for bind in result.binds) == ["a", "b"]
    assert result.rejections[0].counts == {"node(s) didn't have free ports for the requested pod ports": 2}


def test_host_ports_of_different_addresses_live_together():
    def claim(name, address):
        return pod(name, ports=[{"containerPort": 80, "hostPort": 8080, "hostIP": address}])

    assert len(plan(snapshot(node("a")), claim("x", "10.0.0.1"), claim("y", "10.0.0.2")).binds) == 2
    assert len(plan(snapshot(node("a")), claim("x", "10.0.0.1"), claim("y", "0.0.0.0")).binds) == 1


def test_extended_resources_count():
    snap = snapshot(node("a", resources={"example.com/gpu": "1"}), node("b"))
    gpu = {"requests": {"example.com/gpu": "1"}}
    result = plan(snap, pod("one", requests={"example.com/gpu": "1"}), pod("two", **gpu))
    assert [bind.node for bind in result.binds] == ["a"]
    assert result.rejections[0].counts == {"Insufficient example.com/gpu": 2}


def test_a_node_that_leaves_and_returns_still_holds_its_pods():
    snap = snapshot(node("a"), bound=[pod("old", cpu="3", nodeName="a")])
    snap.remove_node("a")
    assert plan(snap, pod("new")).rejections
    snap.set_node(node("a"))
    assert plan(snap, pod("new", cpu="2")).rejections
    snap.remove_pod("default/old")
    assert bound_to(snap, pod("new", cpu="2")) == ["a"]


def feasible_nodes(nodes, wanted_pod):
    """Which of the nodes would take the pod, asked one node at a time."""
    taking = set()
    for each in nodes:
        if plan(snapshot(each), wanted_pod).binds:
            taking.add(each["metadata"]["name"])
    return taking


CPU_TEXT = st.sampled_from(["", "100m", "250m", "1", "2500m"])
PODS = st.lists(st.tuples(CPU_TEXT, st.sampled_from(["", "64Mi", "3Gi"])), max_size=12)
NODES = st.lists(
    st.tuples(st.sampled_from(["1", "2", "4"]), st.sampled_from(["2Gi", "8Gi"]), st.integers(20, 200)), max_size=6
)


@settings(deadline=None, max_examples=60)
@given(NODES, PODS, st.randoms())
def test_no_node_is_overfilled_and_the_order_of_nodes_does_not_matter(nodes, pods, chance: random.Random):
    built = [node(f"n{i}", cpu=c, memory=m, annotations=watts(w / 3, w)) for i, (c, m, w) in enumerate(nodes)]
    waiting = [pod(f"p{i}", cpu=c, memory=m) for i, (c, m) in enumerate(pods)]
    first = plan(snapshot(*built), *waiting)
    chance.shuffle(built)
    assert plan(snapshot(*built), *waiting) == first
    decided = [bind.pod for bind in first.binds] + [rejection.pod for rejection in first.rejections]
    assert sorted(decided) == sorted(f"default/{p['metadata']['name']}" for p in waiting)
    for each in built:
        mine = {bind.pod for bind in first.binds if bind.node == each["metadata"]["name"]}
        for resource in ("cpu", "memory"):
            asked = sum(
                parse_quantity(p["spec"]["containers"][0]["resources"]["requests"].get(resource, "0"))
                for p in waiting
                if f"default/{p['metadata']['name']}" in mine
            )
            assert asked <= parse_quantity(each["status"]["allocatable"][resource])


def test_pods_of_one_controller_spread_over_nodes_without_a_service():
    owner = {"kind": "ReplicaSet", "name": "web", "uid": "u", "controller": True}
    snap = snapshot(*(node(f"n{i}", cpu="8", labels={"kubernetes.io/hostname": f"n{i}"}) for i in range(3)))
    selector = {"matchLabels": {"app": "web"}}
    replicas = {
        "kind": "ReplicaSet",
        "metadata": {"namespace": "default", "name": "web"},
        "spec": {"selector": selector},
    }
    pods = [pod(f"p{i}", cpu="100m") for i in range(3)]
    for each in pods:
        each["metadata"] |= {"labels": {"app": "web"}, "ownerReferences": [owner]}
    pending = [PendingPod(f"default/p{i}", compile_pod(each)) for i, each in enumerate(pods)]
    assert Placer(snap, KubeDefault()).view(pending[0]).assessment.spread is None
    snap.set_selector(replicas)
    assert len({bind.node for bind in Placer(snap, KubeDefault()).schedule(pending).binds}) == 3
    snap.remove_selector(replicas)
    assert Placer(snap, KubeDefault()).view(pending[0]).assessment.spread is None
