"""Emptying nodes: what moves, what stays, and what it must be worth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsam.scheduling.demand import compile_pod
from sparsam.scheduling.moving import RESERVED, Effort, Mover
from sparsam.scheduling.placement import Placer
from sparsam.scheduling.preemption import Budgets
from sparsam.scheduling.snapshot import Resident, Snapshot
from sparsam.scheduling.watts import SparsamPolicy, Weights
from tests.support.scheduling import node, pod, watts

CAN_SLEEP = {"power.sparsam.dev/sleep-state": "suspended"}
PLENTY = np.full(4, 1 << 50)


def owned(name, cpu="1", kind="ReplicaSet", owner="web", annotations=None, **extra):
    built = pod(name, cpu=cpu, **extra)
    built["metadata"]["labels"] = {"app": "web"}
    built["metadata"]["annotations"] = annotations or {}
    if kind:
        built["metadata"]["ownerReferences"] = [{"kind": kind, "name": owner, "controller": True}]
    return built


class Cluster:
    def __init__(self, *nodes, effort=None, budgets=None):
        self.snapshot = Snapshot()
        for each in nodes:
            self.snapshot.set_node(each)
        placer = Placer(self.snapshot, SparsamPolicy(Weights(sleeps=True)), budgets=budgets)
        self.mover = Mover(placer, effort)

    def put(self, where, *pods):
        for each in pods:
            key = f"default/{each['metadata']['name']}"
            self.snapshot.assume(Resident(key, where, compile_pod(each)))
        return self

    def moves(self, now=0.0, room=PLENTY):
        down = np.zeros(len(self.snapshot.names), np.bool_)
        return [(each.pod, each.node, each.target) for each in self.mover.moves(down, room, now)]


def server(name, idle=100.0, full=200.0, cpu="8"):
    return node(name, cpu=cpu, memory="32Gi", annotations={**watts(idle, full), **CAN_SLEEP})


def test_the_emptier_of_two_equal_nodes_is_emptied_and_room_is_reserved():
    cluster = Cluster(server("a"), server("b"))
    cluster.put("a", owned("p1"), owned("p2"), owned("p3")).put("b", owned("q"))
    assert cluster.moves() == [("default/q", "b", "a")]
    assert cluster.snapshot.resident("default/q" + RESERVED).node == "a"
    assert not cluster.snapshot.unschedulable.any()


@pytest.mark.parametrize(
    "stays",
    [
        owned("q", annotations={"sparsam.dev/do-not-disrupt": "true"}),
        owned("q", annotations={"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}),
        owned("q", kind=""),
        owned("q", owner="single"),
        owned("q", restartPolicy="Never"),
        owned("q", volumes=[{"name": "v", "emptyDir": {}}]),
        owned("q", cpu="6"),
        owned("q", nodeSelector={"kubernetes.io/hostname": "b"}),
    ],
    ids=["says so", "autoscaler says so", "unmanaged", "single", "batch", "local data", "no room", "bound to the node"],
)
def test_what_must_not_be_disturbed_keeps_its_node_awake(stays):
    cluster = Cluster(server("a"), server("b"))
    held = [owned(f"p{number}", annotations={"sparsam.dev/do-not-disrupt": "true"}) for number in range(3)]
    cluster.put("a", *held).put("b", stays, owned("q2"))
    assert cluster.moves() == []
    assert not any(RESERVED in each for residents in cluster.snapshot.residents for each in residents)


def test_pods_of_the_node_itself_do_not_count():
    cluster = Cluster(server("a"), server("b"))
    cluster.put("a", owned("p1"), owned("p2"), owned("p3"))
    cluster.put("b", owned("q"), owned("d", kind="DaemonSet", owner="agent"))
    assert cluster.moves() == [("default/q", "b", "a")]


def test_local_data_may_be_declared_worthless():
    safe = {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true"}
    cluster = Cluster(server("a"), server("b"))
    cluster.put("a", owned("p1"), owned("p2"), owned("p3"))
    cluster.put("b", owned("q", annotations=safe, volumes=[{"name": "v", "emptyDir": {}}]))
    assert len(cluster.moves()) == 1


def test_a_disruption_budget_is_kept():
    budgets = Budgets()
    budget = {
        "metadata": {"namespace": "default", "name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}},
        "status": {"disruptionsAllowed": 0},
    }
    budgets.put(budget)
    cluster = Cluster(server("a"), server("b"), budgets=budgets)
    cluster.put("a", owned("p1"), owned("p2"), owned("p3")).put("b", owned("q"))
    assert cluster.moves() == []
    budgets.put({**budget, "status": {"disruptionsAllowed": 1}})
    assert len(cluster.moves(now=1000.0)) == 1


def test_a_disruption_budget_counts_over_all_nodes_that_are_emptied_at_once():
    budgets = Budgets()
    budgets.put(
        {
            "metadata": {"namespace": "default", "name": "web"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}},
            "status": {"disruptionsAllowed": 1},
        }
    )
    cluster = Cluster(server("a"), server("b"), server("c"), budgets=budgets)
    cluster.put("a", owned("p1"), owned("p2"), owned("p3")).put("b", owned("q")).put("c", owned("r"))
    assert len(cluster.moves()) == 1


def test_a_saving_must_be_worth_its_cost():
    nodes = (server("a", idle=20.0, full=120.0), server("b", idle=20.0, full=120.0))
    for seconds, count in ((60.0, 0), (36000.0, 1)):
        cluster = Cluster(*nodes, effort=Effort(lasts_seconds=seconds))
        cluster.put("a", owned("p1"), owned("p2"), owned("p3")).put("b", owned("q"))
        assert len(cluster.moves()) == count


def test_the_reserve_is_not_given_up():
    cluster = Cluster(server("a"), server("b"))
    cluster.put("a", owned("p1"), owned("p2"), owned("p3")).put("b", owned("q"))
    assert cluster.moves(room=np.array([7999, 1 << 50, 1 << 50, 1 << 50])) == []


def test_what_was_looked_at_rests_for_a_while():
    cluster = Cluster(server("a"), server("b"))
    cluster.put("a", owned("p1"), owned("p2"), owned("p3")).put("b", owned("q", cpu="6"))
    assert cluster.moves() == []
    cluster.put("b", owned("q", cpu="1"))
    assert cluster.moves(now=60.0) == []
    assert cluster.moves(now=1000.0) == [("default/q", "b", "a")]


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 5)), max_size=16), st.integers(1, 20))
def test_nothing_is_overfilled_and_only_whole_nodes_are_emptied(pods, most):
    cluster = Cluster(
        *(server(f"n{number}", idle=100.0 + number) for number in range(5)), effort=Effort(most_pods=most)
    )
    for number, (where, cores) in enumerate(pods):
        row = cluster.snapshot.rows[f"n{where}"]
        if cluster.snapshot.requested[0, row] + 1000 * cores <= 8000:
            cluster.put(f"n{where}", owned(f"p{number}", cpu=str(cores)))
    before = {name: set(cluster.snapshot.residents[row]) for name, row in cluster.snapshot.rows.items()}
    moves = cluster.moves()
    assert len(moves) <= most
    assert (cluster.snapshot.requested <= cluster.snapshot.allocatable).all()
    for source in {source for _, source, _ in moves}:
        assert {key for key, each, _ in moves if each == source} == before[source]
    assert not {source for _, source, _ in moves} & {target for _, _, target in moves}
