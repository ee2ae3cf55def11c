from collections import Counter

import numpy as np

from sparsam.scheduling.consolidation import Caution, Consolidator
from sparsam.scheduling.demand import compile_pod
from sparsam.scheduling.placement import PendingPod, Placer
from sparsam.scheduling.snapshot import Snapshot
from sparsam.scheduling.watts import SparsamPolicy, Weights
from tests.support.scheduling import node, pod, watts

CAN_SLEEP = {"power.sparsam.dev/sleep-state": "suspended"}


def fleet(*idle_watts, cpu="4", **labels):
    snapshot = Snapshot()
    for number, idle in enumerate(idle_watts):
        annotations = {**watts(idle, idle + 100), **CAN_SLEEP}
        snapshot.set_node(node(f"n{number}", cpu=cpu, annotations=annotations))
    return snapshot


def pending(name="p", cpu="1", **spec):
    return PendingPod(f"default/{name}", compile_pod(pod(name, cpu=cpu, **spec)))


class Nights:
    """A consolidator whose plans are carried out at once."""

    def __init__(self, snapshot, **caution):
        self.snapshot = snapshot
        self.consolidator = Consolidator(Placer(snapshot, SparsamPolicy(Weights(sleeps=True))), Caution(**caution))
        self.asleep = np.zeros(len(snapshot.names), np.bool_)
        self.waking = self.asleep.copy()

    def at(self, now, *waiting):
        plan = self.consolidator.consolidate(self.asleep, self.waking, waiting, now)
        for decisions, sleeps in ((plan.sleeps, True), (plan.wakes, False)):
            for each in decisions:
                row = self.snapshot.rows[each.node]
                self.asleep[row] = self.snapshot.unschedulable[row] = sleeps
                self.snapshot.static.add(row)
                self.snapshot.set_asleep(row, sleeps)
        return [each.node for each in plan.sleeps], [each.node for each in plan.wakes]


def bind(snapshot, name, where, cpu="1"):
    built = pod(name, cpu=cpu)
    built["spec"]["nodeName"] = where
    snapshot.set_pod(built)


def test_empty_nodes_sleep_after_a_while_the_dearest_first():
    nights = Nights(fleet(100, 300, 200))
    nights.consolidator.note(pending(), 0.0)
    assert nights.at(0.0) == ([], [])
    assert nights.at(119.0) == ([], [])
    assert nights.at(121.0) == (["n1", "n2"], [])


def test_a_node_with_a_pod_does_not_sleep():
    snapshot = fleet(100, 300)
    bind(snapshot, "r", "n1")
    nights = Nights(snapshot)
    nights.at(0.0)
    assert nights.at(200.0)[0] == ["n0"]


def test_a_node_that_had_a_pod_meanwhile_waits_anew():
    snapshot = fleet(100, 300)
    nights = Nights(snapshot)
    nights.at(0.0)
    bind(snapshot, "r", "n1")
    nights.at(60.0)
    snapshot.remove_pod("default/r")
    assert "n1" not in nights.at(130.0)[0]
    assert "n1" in nights.at(260.0)[0]


def test_a_node_that_cannot_sleep_stays_awake():
    snapshot = fleet(100)
    snapshot.set_node(node("plain", cpu="4", annotations=watts(500, 600)))
    nights = Nights(snapshot)
    nights.at(0.0)
    assert nights.at(200.0)[0] == ["n0"]


def test_the_largest_pod_seen_keeps_its_room():
    nights = Nights(fleet(100, 200, 300))
    nights.consolidator.note(pending(cpu="3"), 0.0)
    nights.consolidator.note(pending(cpu="1"), 0.0)
    nights.at(0.0)
    assert nights.at(200.0)[0] == ["n2", "n1"]
    assert nights.asleep.tolist()[:3] == [False, True, True]


def test_as_much_stays_awake_as_the_demand_grew_while_a_node_wakes():
    snapshot = fleet(*[100] * 10)
    nights = Nights(snapshot, memory_seconds=10_000.0)
    for step in range(4):
        for n in range(8):
            bind(snapshot, f"burst-{n}", f"n{n % 2}")
        nights.at(200.0 * step)
        for n in range(8):
            snapshot.remove_pod(f"default/burst-{n}")
        nights.at(200.0 * step + 100.0)
    nights.at(1000.0)
    # Bursts of eight CPUs came within a hundred seconds: two nodes of four stay up for the next.
    assert int((~nights.asleep[:10]).sum()) == 2


def test_pods_that_wait_wake_the_node_on_which_they_cost_least():
    snapshot = fleet(100, 300, 200)
    nights = Nights(snapshot)
    nights.at(0.0)
    nights.at(200.0)
    assert nights.asleep.tolist()[:3] == [True, True, True]
    assert nights.at(300.0, pending())[1] == ["n0"]


def test_pods_that_wait_share_a_waking_node_and_take_as_many_as_they_need():
    nights = Nights(fleet(100, 100, 100, 100))
    nights.at(0.0)
    nights.at(200.0)
    waiting = [pending(f"p{n}", cpu="2") for n in range(4)]
    assert len(nights.at(300.0, *waiting)[1]) == 2


def test_a_pod_that_no_node_could_take_wakes_none():
    nights = Nights(fleet(100, 100))
    nights.at(0.0)
    nights.at(200.0)
    assert nights.at(300.0, pending(cpu="1", nodeSelector={"disk": "ssd"}))[1] == []


def test_nothing_sleeps_while_something_must_wake():
    snapshot = fleet(100, 100, 100)
    nights = Nights(snapshot)
    nights.at(0.0)
    nights.at(200.0)
    sleeps, wakes = nights.at(400.0, pending())
    assert (sleeps, len(wakes)) == ([], 1)


def test_only_a_part_of_the_nodes_is_on_its_way_at_once():
    nights = Nights(fleet(*[100] * 40))
    nights.at(0.0)
    down, _ = nights.at(121.0)
    assert len(down) == 10
    nights.waking[:7] = True
    down, _ = nights.at(122.0)
    assert len(down) == 3
    nights.waking[:10] = True
    assert nights.at(123.0) == ([], [])


def test_a_morning_wakes_a_part_of_the_nodes_at_once_those_that_pods_wait_for_first():
    snapshot = fleet(*[100] * 39, 50)
    nights = Nights(snapshot)
    for moment in (0.0, 121.0, 122.0, 123.0, 124.0):
        nights.at(moment)
    assert nights.asleep.sum() == 40
    waiting = [pending(f"p{number}", cpu="4") for number in range(30)]
    woken = nights.at(200.0, *waiting)[1]
    assert len(woken) == 10
    assert "n39" in woken


def test_equal_nodes_take_turns():
    snapshot = fleet(100, 100, 100)
    nights = Nights(snapshot, most_turning_ratio=1.0)
    nights.consolidator.note(pending(cpu="4"), 0.0)
    slept = Counter()
    for night in range(1, 10):
        wake_all(nights)
        slept.update(nights.at(1000.0 * night - 500.0)[0])
        slept.update(nights.at(1000.0 * night)[0])
    assert slept.total() == 18
    assert set(slept.values()) == {6}


def wake_all(nights):
    for row in np.flatnonzero(nights.asleep).tolist():
        nights.asleep[row] = nights.snapshot.unschedulable[row] = False
        nights.snapshot.set_asleep(row, False)
        nights.snapshot.static.add(row)
