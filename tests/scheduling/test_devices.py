import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsam.scheduling.demand import compile_pod
from sparsam.scheduling.devices import Rooms
from sparsam.scheduling.placement import PendingPod, Placer
from sparsam.scheduling.snapshot import Resident, Snapshot
from sparsam.scheduling.watts import SparsamPolicy
from tests.support.scheduling import node, pod

GPU = "example.org/gpu"


def wanting(cards, cpu="100m", **spec):
    return compile_pod(pod("p", requests={"cpu": cpu, **({GPU: str(cards)} if cards else {})}, **spec))


def cluster(*nodes):
    """Nodes as (name, cards, model)."""
    snapshot = Snapshot()
    for name, cards, model in nodes:
        more = {GPU: str(cards)} if cards else {}
        snapshot.set_node(node(name, labels={"model": model}, resources={"cpu": "16", "memory": "64Gi", **more}))
    return snapshot


def taken(snapshot, demand):
    found = Rooms().taken(snapshot, demand, slice(None))
    return {name: found[row] for name, row in snapshot.rows.items()}


def placed(snapshot, *demands):
    pending = [PendingPod(f"default/p{number}", demand) for number, demand in enumerate(demands)]
    return [each.node for each in Placer(snapshot, SparsamPolicy()).schedule(pending).binds]


def test_devices_exist_once_a_node_has_some_or_a_pod_wants_some():
    rooms, snapshot = Rooms(), cluster(("a", 0, "x"))
    assert not rooms.exist(snapshot)
    snapshot.set_node(node("b", resources={"cpu": "16", GPU: "2"}))
    assert rooms.exist(snapshot)


def test_a_wish_for_devices_that_no_node_has_is_no_matter_to_others():
    placer = Placer(cluster(("a", 0, "x")), SparsamPolicy())
    plain = PendingPod("default/plain", wanting(0))
    first = placer.consider(plain)
    assert len(placer.schedule([PendingPod("default/wants", wanting(1))]).rejections) == 1
    assert placer.consider(plain) == first


def test_the_model_that_others_insist_on_is_dearer():
    snapshot = cluster(("a", 4, "wanted"), ("b", 4, "any"))
    assert taken(snapshot, wanting(1))["a"] == pytest.approx(taken(snapshot, wanting(1))["b"])
    snapshot.wishes.see(wanting(1, nodeSelector={"model": "wanted"}), 5)
    found = taken(snapshot, wanting(1))
    assert found["a"] > found["b"]
    assert placed(snapshot, *[wanting(1)] * 4) == ["b"] * 4


def test_pods_that_insist_find_their_cards_after_the_others_came():
    snapshot = cluster(("a", 4, "wanted"), *((f"b{n}", 4, "any") for n in range(3)))
    picky = wanting(1, nodeSelector={"model": "wanted"})
    snapshot.wishes.see(picky, 4)
    snapshot.wishes.see(wanting(1), 12)
    assert len(placed(snapshot, *[wanting(1)] * 12, *[picky] * 4)) == 16


def test_the_rarer_model_is_dearer_where_both_are_wanted_as_often():
    snapshot = cluster(("a", 4, "rare"), ("b", 4, "usual"), ("c", 4, "usual"))
    for model in ("rare", "usual"):
        snapshot.wishes.see(wanting(1, nodeSelector={"model": model}), 10)
    found = taken(snapshot, wanting(1))
    assert found["a"] > found["b"] == pytest.approx(found["c"])


def test_whole_nodes_stay_whole_for_pods_that_want_all_cards():
    snapshot = cluster(("a", 4, "x"), ("b", 4, "x"))
    snapshot.wishes.see(wanting(4), 10)
    snapshot.assume(Resident("default/there", "a", wanting(1)))
    found = taken(snapshot, wanting(1))
    assert found["a"] < found["b"]


def test_cpu_beside_free_cards_is_dear_and_beside_taken_ones_is_not():
    snapshot = cluster(("free", 4, "x"), ("taken", 4, "x"), ("none", 0, "x"))
    snapshot.assume(Resident("default/there", "taken", wanting(4)))
    found = taken(snapshot, wanting(0, cpu="8"))
    assert found["free"] > 0.0
    assert found["taken"] == found["none"] == 0.0


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 4)), min_size=1, max_size=5), st.integers(0, 4), st.data())
def test_what_is_taken_is_never_negative_and_the_same_for_some_rows_as_for_all(nodes, cards, data):
    snapshot = cluster(*((f"n{number}", size, "x") for number, (size, _) in enumerate(nodes)), ("other", 2, "x"))
    for number, (size, used) in enumerate(nodes):
        snapshot.assume(Resident(f"default/r{number}", f"n{number}", wanting(min(size, used), cpu="2")))
    rooms, demand = Rooms(), wanting(cards)
    whole = rooms.taken(snapshot, demand, slice(None))
    assert (whole >= 0.0).all()
    rows = np.array(data.draw(st.lists(st.integers(0, len(nodes) - 1), min_size=1, max_size=4)))
    assert rooms.taken(snapshot, demand, rows) == pytest.approx(whole[rows])
