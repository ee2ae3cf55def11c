"""What is kept of a pod's kind and brought up to date is what a look at everything would find."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsam.scheduling.assessment import FEW, Assessment
from sparsam.scheduling.demand import compile_pod
from sparsam.scheduling.policy import KubeDefault
from sparsam.scheduling.powercolumns import SLEEP_ANNOTATION
from sparsam.scheduling.profile import Profile
from sparsam.scheduling.snapshot import Resident, Snapshot
from sparsam.scheduling.watts import LeastIncrease, Peaks, SparsamPolicy, Weights
from tests.support.scheduling import node, pod, watts

NODES = FEW + 5
KINDS = [
    compile_pod(pod("small", cpu="250m", memory="64Mi")),
    compile_pod(pod("large", cpu="2", memory="3Gi")),
    compile_pod(pod("bound", cpu="100m", ports=[{"containerPort": 80, "hostPort": 80}])),
    compile_pod(pod("carded", cpu="100m", requests={"example.com/card": "1"})),
    compile_pod(pod("picky", cpu="100m", nodeSelector={"disk": "ssd"})),
]
POLICIES = (SparsamPolicy, LeastIncrease, Peaks, KubeDefault, lambda: SparsamPolicy(Weights(sleeps=True)))


def made(number, *, cordoned=False, cards=0):
    labels = {"disk": "ssd"} if number % 3 else {}
    room = {"cpu": "4", "memory": "8Gi", "pods": "5"} | ({"example.com/card": str(cards)} if cards else {})
    annotations = {**watts(50 + 7 * number, 200), SLEEP_ANNOTATION: "suspend"}
    built = node(f"n{number}", resources=room, labels=labels, annotations=annotations)
    if cordoned:
        built["spec"] = {"unschedulable": True}
    return built


def change(snapshot, what, number, amount):
    name, row = f"n{number}", snapshot.rows.get(f"n{number}")
    match what:
        case "place":
            snapshot.assume(Resident(f"default/p{amount}", name, KINDS[amount % len(KINDS)]))
        case "remove":
            snapshot.remove_pod(f"default/p{amount}")
        case "node":
            snapshot.set_node(made(number, cordoned=amount % 2 == 1, cards=amount % 3))
        case "gone":
            snapshot.remove_node(name)
        case "power":
            state = ("Awake", "Asleep")[amount % 2]
            snapshot.set_power(name, {"state": state, "utilization": amount / 40, "cpuPressure": amount / 60})
        case "loads":
            snapshot.observe_loads(np.arange(len(snapshot.names)), np.linspace(0.0, amount / 20, len(snapshot.names)))
        case "sleep" if row is not None:
            snapshot.set_asleep(row, amount % 2 == 0)
        case "inlets":
            snapshot.observe_inlets(np.arange(len(snapshot.names)), np.full(len(snapshot.names), 15.0 + amount))


WHAT = st.sampled_from(["place"] * 4 + ["remove"] * 2 + ["node", "gone", "power", "loads", "sleep", "inlets"])
CHANGES = st.lists(st.tuples(WHAT, st.integers(0, NODES - 1), st.integers(0, 19), st.booleans()), max_size=30)


@settings(deadline=None, max_examples=200)
@given(CHANGES, st.sampled_from(POLICIES))
def test_what_is_kept_is_what_a_fresh_look_finds(changes, build):
    snapshot, policy = Snapshot(), build()
    for number in range(NODES):
        snapshot.set_node(made(number))
    profile = policy.profile(Profile())
    kept = [Assessment(snapshot, kind, profile, policy.row_columns) for kind in KINDS]
    for what, number, amount, looks in (*changes, ("loads", 0, 10, True)):
        change(snapshot, what, number, amount)
        if not looks:
            continue
        for each in kept:
            each.refresh()
            fresh = Assessment(snapshot, each.demand, profile, policy.row_columns)
            fresh.refresh()
            alive = snapshot.alive
            assert (each.base == fresh.base).all()
            assert (each.refusal == fresh.refusal)[alive].all()
            assert each.columns.keys() >= fresh.columns.keys() - {"devices", "packed"}
            for name, values in fresh.columns.items():
                if name not in ("devices", "packed"):
                    assert (each.columns[name] == values)[alive].all(), name
            assert (each.fit_scores == fresh.fit_scores)[alive].all() if len(fresh.fit_scores) else True
