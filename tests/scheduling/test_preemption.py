"""Making room: what recordings do not show."""

from sparsam.scheduling.demand import compile_pod
from sparsam.scheduling.placement import PendingPod, Placer
from sparsam.scheduling.preemption import Budgets
from sparsam.scheduling.snapshot import Snapshot
from tests.support.scheduling import node, pod


def cluster(*nodes, **bound):
    """A placer over nodes; `bound` gives pods by name as (node, cpu, priority)."""
    snapshot = Snapshot()
    for each in nodes:
        snapshot.set_node(each)
    for name, (where, cpu, priority) in bound.items():
        made = pod(name, cpu=cpu, nodeName=where, priority=priority)
        snapshot.set_pod({**made, "status": {"startTime": "2026-01-01T00:00:00Z"}})
    return Placer(snapshot, budgets=Budgets())


def pending(name, cpu="2", priority=1000, **fields):
    return PendingPod(f"default/{name}", compile_pod(pod(name, cpu=cpu)), priority, **fields)


def test_two_pods_of_one_pass_do_not_count_on_the_same_room():
    placer = cluster(node("a"), node("b"), x=("a", "3", 0), y=("b", "3", 0))
    first, second = placer.schedule([pending("p", "3"), pending("q", "3")]).rejections
    assert {first.preempt.node, second.preempt.node} == {"a", "b"}


def test_nobody_less_important_takes_the_room_that_was_made():
    placer = cluster(node("a"), x=("a", "3", 0))
    [rejection] = placer.schedule([pending("p", "3")]).rejections
    assert rejection.preempt.victims == ("default/x",)
    placer.snapshot.remove_pod("default/x")
    [late] = placer.schedule([pending("late", "3", priority=10)]).rejections
    assert late.counts == {"Insufficient cpu": 1}
    [bind] = placer.schedule([pending("p", "3", nominated="a")]).binds
    assert bind.node == "a"


def test_a_pod_more_important_still_may_take_it():
    placer = cluster(node("a"), x=("a", "3", 0))
    placer.schedule([pending("p", "3")])
    placer.snapshot.remove_pod("default/x")
    [bind] = placer.schedule([pending("boss", "3", priority=5000)]).binds
    assert bind.node == "a"


def test_while_victims_leave_no_more_are_chosen():
    placer = cluster(node("a"), x=("a", "3", 0))
    placer.schedule([pending("p", "3")])
    leaving = pod("x", cpu="3", nodeName="a", priority=0)
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    placer.snapshot.set_pod(leaving)
    [rejection] = placer.schedule([pending("p", "3", nominated="a")]).rejections
    assert rejection.preempt is None
    assert "not eligible due to terminating pods on the nominated node" in rejection.message


def test_the_snapshot_is_as_it_was_after_a_try():
    placer = cluster(node("a"), node("b"), x=("a", "3", 0), y=("b", "1", 0), z=("b", "2", 2000))
    before = placer.snapshot.requested.copy()
    placer.schedule([pending("p", "3")])
    assert (placer.snapshot.requested == before).all()


def test_a_group_is_placed_whole_or_not_at_all():
    def member(name):
        return pending(name, "3", priority=0, group="g")

    placer = cluster(node("a"), node("b"))
    plan = placer.schedule([member("p"), member("q"), member("r")])
    assert plan.binds == ()
    assert {each.pod for each in plan.rejections} == {"default/p", "default/q", "default/r"}
    assert "room for 2 of the 3 pods" in plan.rejections[0].message
    assert placer.snapshot.requested.sum() == 0
    assert len(placer.schedule([member("p"), member("q")]).binds) == 2
