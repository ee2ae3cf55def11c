"""The power policies on fleets of unlike servers, beside the least watts that any distribution of the load draws."""

import math
from dataclasses import replace

import numpy as np
import pytest

from sparsam.power.catalogue import profiles
from sparsam.power.model import encode
from sparsam.power.server import MODEL_ANNOTATION
from sparsam.scheduling.curvetables import STEPS
from sparsam.scheduling.demand import compile_pod
from sparsam.scheduling.nodefacts import idle_watts_added
from sparsam.scheduling.placement import PendingPod, Placer
from sparsam.scheduling.policy import KubeDefault
from sparsam.scheduling.powercolumns import SLEEP_ANNOTATION
from sparsam.scheduling.snapshot import Resident, Snapshot
from sparsam.scheduling.watts import LeastIncrease, Peaks, SparsamPolicy, Weights
from tests.support.scheduling import node, pod, watts

NODES = 60


def mixed_fleet(seed):
    chance = np.random.default_rng(seed)
    models = [each for each in profiles() if 16 <= each.threads <= 256]
    chosen = [models[place] for place in chance.choice(len(models), 4, replace=False)]
    snapshot = Snapshot()
    for number in range(NODES):
        one = chosen[number % 4]
        annotations = {MODEL_ANNOTATION: encode(one.model).decode()}
        room = {"cpu": str(one.threads), "memory": f"{8 * one.threads}Gi", "pods": "1000"}
        snapshot.set_node(node(f"n{number}", **room, annotations=annotations))
    return snapshot


def rows(snapshot):
    return np.array(sorted(snapshot.rows.values()))


def drawn(snapshot):
    at = rows(snapshot)
    return float(
        snapshot.power.watts_at(at, snapshot.power.expected_millicores[at] / snapshot.allocatable[0, at]).sum()
    )


def least(snapshot, millicores):
    """The fractional knapsack over all steps of all envelopes."""
    at = rows(snapshot)
    envelopes = snapshot.power.tables.envelope[snapshot.power.curve[at]]
    steps = np.diff(envelopes, axis=1)
    size = np.repeat(snapshot.allocatable[0, at, None] / STEPS, STEPS, axis=1)
    order = np.argsort((steps / size).ravel(), kind="stable")
    filled = np.cumsum(size.ravel()[order])
    share = np.clip((millicores - (filled - size.ravel()[order])) / size.ravel()[order], 0.0, 1.0)
    return float(envelopes[:, 0].sum() + (share * steps.ravel()[order]).sum())


def placed(policy, seed, load):
    snapshot, chance = mixed_fleet(seed), np.random.default_rng(seed)
    wanted, pending = load * float(snapshot.allocatable[0].sum()), []
    while wanted > 0.0:
        millicores = int(chance.choice([100, 250, 500, 1000, 2000]))
        made = pod(f"p{len(pending)}", cpu=f"{millicores}m", memory="128Mi")
        pending.append(PendingPod(f"default/p{len(pending)}", compile_pod(made)))
        wanted -= millicores
    assert not Placer(snapshot, policy).schedule(pending).rejections
    return snapshot


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("load", [0.15, 0.4])
def test_watts_come_near_the_least_possible_and_below_those_of_other_rules(seed, load):
    ours = placed(SparsamPolicy(), seed, load)
    bound = least(ours, float(ours.power.expected_millicores.sum()))
    assert bound <= drawn(ours) <= 1.05 * bound
    for other in (KubeDefault(), LeastIncrease(), Peaks()):
        assert drawn(ours) <= 1.01 * drawn(placed(other, seed, load))


def choice(policy, the_pod, *nodes, states=()):
    snapshot = Snapshot()
    for each in nodes:
        snapshot.set_node(each)
    for name, status in states:
        snapshot.set_power(name, status)
    [bind] = Placer(snapshot, policy).schedule([PendingPod("default/p", compile_pod(the_pod))]).binds
    return bind.node


SMALL = pod("p", cpu="1")


def test_a_node_that_no_model_predicts_is_not_attractive():
    nodes = node("broken", annotations=watts(100, 200)), node("sound", annotations=watts(100, 220))
    broken = ("broken", {"model": {"trust": "out_of_tolerance", "readings": 50}})
    assert choice(SparsamPolicy(), SMALL, *nodes) == "broken"
    assert choice(SparsamPolicy(), SMALL, *nodes, states=[broken]) == "sound"


def test_the_same_work_on_a_faster_core_costs_fewer_joules():
    slow = node("slow", annotations=watts(100, 200))
    fast = node("fast", annotations={**watts(100, 250), "power.sparsam.dev/core-speed": "2.0"})
    assert choice(SparsamPolicy(), SMALL, slow, fast) == "fast"


def test_a_node_that_the_meter_sees_busy_is_spared():
    nodes = node("a", annotations=watts(100, 200)), node("b", annotations=watts(100, 205))
    assert choice(SparsamPolicy(), SMALL, *nodes) == "a"
    assert choice(SparsamPolicy(), SMALL, *nodes, states=[("a", {"utilization": 0.95})]) == "b"


def test_hot_air_at_the_inlet_costs_watts():
    nodes = node("a", annotations=watts(100, 200)), node("b", annotations=watts(100, 201))
    assert choice(SparsamPolicy(), SMALL, *nodes, states=[("a", {"inletCelsius": 35.0})]) == "b"


def test_a_building_that_spends_more_on_cooling_costs_watts():
    thrifty = node("thrifty", annotations={**watts(100, 205), "power.sparsam.dev/pue": "1.1"})
    wasteful = node("wasteful", annotations={**watts(100, 200), "power.sparsam.dev/pue": "1.6"})
    assert choice(SparsamPolicy(), SMALL, thrifty, wasteful) == "thrifty"


def card_nodes(*names):
    return [node(each, annotations=watts(100, 200), resources={"example.org/gpu": "4"}) for each in names]


def test_cards_are_filled_node_by_node_for_the_pods_that_want_many():
    snapshot = Snapshot()
    for each in card_nodes("a", "b", "c"):
        snapshot.set_node(each)
    wanting = compile_pod(pod("p", requests={"cpu": "100m", "example.org/gpu": "1"}))
    pending = [PendingPod(f"default/p{number}", wanting) for number in range(8)]
    chosen = [each.node for each in Placer(snapshot, SparsamPolicy()).schedule(pending).binds]
    assert sorted(chosen.count(each) for each in "abc") == [0, 4, 4]


def test_nodes_with_free_cards_are_left_to_pods_that_want_them():
    plain = node("plain", annotations=watts(100, 210))
    assert choice(SparsamPolicy(), SMALL, plain, *card_nodes("cards")) == "plain"
    careless = SparsamPolicy(weights=Weights(devices=0.0))
    assert choice(careless, SMALL, plain, *card_nodes("cards")) == "cards"


def test_tasks_that_wait_for_a_cpu_keep_others_away():
    nodes = node("a", annotations=watts(100, 200)), node("b", annotations=watts(100, 205))
    assert choice(SparsamPolicy(), SMALL, *nodes, states=[("a", {"utilization": 0.2, "cpuPressure": 0.4})]) == "b"


def test_head_room_is_kept_for_peaks_that_have_passed():
    nodes = node("a", annotations=watts(100, 200)), node("b", annotations=watts(100, 205))
    calm = [("a", {"utilization": 0.2})]
    assert choice(SparsamPolicy(), SMALL, *nodes, states=calm) == "a"
    assert choice(SparsamPolicy(), SMALL, *nodes, states=[("a", {"utilization": 0.97}), *calm]) == "b"


def test_an_empty_node_that_could_sleep_is_left_alone_while_another_is_awake_anyway():
    can_sleep = {"power.sparsam.dev/sleep-state": "suspended"}
    empty = node("empty", annotations={**watts(100, 200), **can_sleep})
    worked = node("worked", annotations={**watts(100, 210), **can_sleep})
    snapshot = Snapshot()
    for each in (empty, worked):
        snapshot.set_node(each)
    resident = pod("r", cpu="1")
    resident["spec"]["nodeName"] = "worked"
    snapshot.set_pod(resident)
    pending = PendingPod("default/p", compile_pod(SMALL))
    assert Placer(snapshot, SparsamPolicy(Weights(sleeps=True))).consider(pending).node == "worked"
    assert Placer(snapshot, SparsamPolicy()).consider(pending).node == "empty"


def test_waking_a_node_costs_a_short_job_more_than_a_service():
    snapshot = Snapshot()
    snapshot.set_node(node("n", annotations={**watts(100, 200), "power.sparsam.dev/sleep-state": "off"}))
    snapshot.set_power("n", {"state": "Asleep"})
    [job], [service] = (
        idle_watts_added(snapshot.power.facts_of(slice(0, 1)), seconds, sleeps=False) for seconds in (60.0, np.inf)
    )
    assert service == pytest.approx(100.0 - 8.0)
    # 290 s of going down and coming up, less what sleeping through them would have drawn, spread over a minute.
    assert job == pytest.approx(92.0 + (30 * 100 + 260 * 200 - 290 * 8) / 60)


def test_a_service_stays_below_its_share_of_one_node():
    snapshot = Snapshot()
    for name, full in (("cheap", 150), ("dear", 300)):
        snapshot.set_node(node(name, annotations=watts(100, full)))
    placer = Placer(snapshot, SparsamPolicy(Weights(max_service_share=0.5)))
    made = [pod(f"p{n}", cpu="100m") for n in range(4)]
    for each in made:
        each["metadata"]["labels"] = {"app": "web"}
    binds = placer.schedule(PendingPod(f"default/p{n}", compile_pod(each)) for n, each in enumerate(made)).binds
    assert sorted(bind.node for bind in binds) == ["cheap", "cheap", "dear", "dear"]


def test_what_the_pod_itself_asks_for_comes_first():
    liked = {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 100, "preference": {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]}}
    ]}}  # fmt: skip
    nodes = (
        node("cheap", annotations=watts(100, 190)),
        node("dear", annotations=watts(100, 200), labels={"disk": "ssd"}),
    )
    assert choice(SparsamPolicy(), pod("p", cpu="1", affinity=liked), *nodes) == "dear"


def test_an_opened_node_is_priced_by_what_the_cluster_will_fill_it_with():
    # The large node idles at more watts and is cheaper per core once it is filled.
    small = node("small", cpu="8", annotations={**watts(40, 120), SLEEP_ANNOTATION: "suspended"})
    large = node("large", cpu="64", memory="256Gi", annotations={**watts(80, 240), SLEEP_ANNOTATION: "suspended"})
    snapshot = Snapshot()
    for each in (small, large):
        snapshot.set_node(each)
    placer = Placer(snapshot, SparsamPolicy(Weights(sleeps=True)))
    alone = PendingPod("default/p", compile_pod(pod("p", cpu="1", memory="1Gi")))
    assert placer.consider(alone).node == "small"
    snapshot.set_node(node("busy", cpu="128", memory="512Gi", annotations=watts(10, 5000)))
    snapshot.assume(Resident("default/many", "busy", compile_pod(pod("many", cpu="100", memory="1Gi"))))
    assert placer.consider(alone).node == "large"


@pytest.mark.parametrize("weights", [Weights(), Weights(sleeps=True, headroom_ratio=0.3, performance=2.0)])
@pytest.mark.parametrize("batch", [False, True])
def test_nodes_looked_at_one_by_one_cost_what_they_cost_together(weights, batch):
    snapshot, chance = placed(KubeDefault(), 4, 0.5), np.random.default_rng(5)
    for name, row in snapshot.rows.items():
        state = "Asleep" if row % 7 == 0 else "Awake"
        shares = {"utilization": float(chance.uniform()), "cpuPressure": float(chance.uniform(0.0, 0.6))}
        snapshot.set_power(name, {**shares, "state": state, "model": {"trust": ("ok", "unknown")[row % 2]}})
    demand = replace(compile_pod(pod("p", cpu="700m")), lasts_seconds=600.0 if batch else math.inf)
    policy, at = SparsamPolicy(weights), rows(snapshot)
    together = policy.row_columns(snapshot, demand, at)
    for place, row in enumerate(at):
        alone = policy.row_columns(snapshot, demand, int(row))
        assert alone.keys() == together.keys()
        for name, values in alone.items():
            assert values == together[name][place], name
