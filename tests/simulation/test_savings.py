import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsam.simulation.cluster import Use, read_cluster
from sparsam.simulation.savings import (
    CONSOLIDATION,
    KUBE_DEFAULT,
    PLACEMENT,
    Prices,
    assess,
    limit,
    now,
    replays,
    run,
)
from tests.support.scheduling import node, pod, watts

PRICES = Prices(money_per_kwh=0.25, currency="EUR", gco2_per_kwh=300.0, pue=1.5)
HOUR = 3600.0


def on(pod_, where):
    return {**pod_, "spec": {**pod_["spec"], "nodeName": where}, "status": {"phase": "Running"}}


def owned(pod_):
    """As one of a controller's, which would make it again."""
    owner = {"kind": "ReplicaSet", "name": "web", "controller": True}
    return {**pod_, "metadata": {**pod_["metadata"], "ownerReferences": [owner]}}


def seen(cores, nodes=None, hours=24.0):
    """Use of pods of the default namespace, constant."""
    pods = {("default", name): np.array([value]) for name, value in cores.items()}
    return Use(0.0, hours * HOUR, 300.0, "a test", pods=pods, nodes=nodes or {})


def two_equal(cpu="1", **extra):
    """Two equal servers of 4 CPUs, 100 to 200 W, each with one pod that uses what it requests."""
    nodes = [node(f"n{n}", annotations=watts(100, 200)) for n in range(2)]
    pods = [owned(on(pod(f"p{n}", cpu=cpu, **extra), f"n{n}")) for n in range(2)]
    return read_cluster(nodes, pods, seen({f"p{n}": float(cpu) for n in range(2)}), sleep="suspended")


def answer(cluster):
    return assess(cluster, {each: run(cluster, each) for each in replays(cluster)}, PRICES)


def test_the_pods_of_two_servers_fit_on_one_and_the_other_sleeps():
    found = answer(two_equal())
    by_name = {each.name: each for each in found.scenarios}
    kwh = 1.5 * 8760 / 1000
    assert by_name["now"].kwh_per_year == pytest.approx(250 * kwh)
    assert by_name["by watts, anew"].kwh_per_year == pytest.approx(250 * kwh)
    # One server is half full, the other sleeps at 12 W once it stood empty for two minutes.
    assert by_name["and sleep, anew"].kwh_per_year == pytest.approx(162 * kwh, rel=0.002)
    assert by_name["physical limit"].kwh_per_year <= 162 * kwh
    assert by_name["and sleep, anew"].saved_ratio == pytest.approx(88 / 250, rel=0.01)
    assert by_name["now"].money_per_year == pytest.approx(250 * kwh * 0.25)
    assert by_name["now"].co2_tonnes_per_year == pytest.approx(250 * kwh * 0.3 / 1000)
    assert found.mean_load_ratio == pytest.approx(0.25)


def test_pods_that_may_be_moved_are_moved_from_where_they_are():
    nodes = [node(f"n{n}", cpu="8", annotations=watts(100, 200)) for n in range(4)]
    pods = [owned(on(pod(f"p{n}", cpu="1"), f"n{n}")) for n in range(4)]
    found = answer(read_cluster(nodes, pods, seen({f"p{n}": 1.0 for n in range(4)}), sleep="suspended"))
    kwh = {each.name: each.kwh_per_year for each in found.scenarios}
    assert kwh["placement only"] == pytest.approx(kwh["now"])
    assert kwh["and sleep, anew"] <= kwh["consolidation and sleep"] < 0.7 * kwh["now"]


def test_pods_whose_budget_allows_no_disruption_stay_where_they_are():
    nodes = [node(f"n{n}", cpu="8", annotations=watts(100, 200)) for n in range(4)]
    pods = [owned(on(pod(f"p{n}", cpu="1"), f"n{n}")) for n in range(4)]
    for each in pods:
        each["metadata"]["labels"] = {"app": "web"}
    budget = {
        "metadata": {"namespace": "default", "name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}}},
        "status": {"disruptionsAllowed": 0},
    }
    use = seen({f"p{n}": 1.0 for n in range(4)})
    held = answer(read_cluster(nodes, pods, use, budgets=[budget], sleep="suspended"))
    kwh = {each.name: each.kwh_per_year for each in held.scenarios}
    assert kwh["consolidation and sleep"] == pytest.approx(kwh["now"])
    free = {**budget, "status": {"disruptionsAllowed": 1}}
    moved = answer(read_cluster(nodes, pods, use, budgets=[free], sleep="suspended"))
    assert moved.scenario("consolidation and sleep").kwh_per_year < 0.7 * kwh["now"]


def test_room_for_the_largest_pod_stays_awake():
    found = answer(two_equal(cpu="2"))
    assert found.scenario("and sleep, anew").saved_ratio == pytest.approx(0.0)
    assert found.scenario("physical limit").saved_ratio == pytest.approx(88 / 300)


def test_the_limit_is_below_sleep_below_placement_below_now():
    nodes = [node(f"old{n}", annotations=watts(150, 300)) for n in range(3)]
    nodes += [node(f"new{n}", cpu="8", annotations=watts(60, 200)) for n in range(3)]
    pods = [on(pod(f"p{n}", cpu="1500m"), f"old{n % 3}") for n in range(6)]
    found = answer(read_cluster(nodes, pods, seen({f"p{n}": 1.0 for n in range(6)}), sleep="suspended"))
    kwh = {each.name: each.kwh_per_year for each in found.scenarios}
    assert kwh["physical limit"] <= kwh["and sleep, anew"] < kwh["by watts, anew"] < kwh["now"]
    # Pods that nobody would make again are not moved, so what begins where they are stays there.
    assert kwh["consolidation and sleep"] < kwh["placement only"] == pytest.approx(kwh["now"])


def test_errors_of_one_model_fall_out_of_the_saving():
    found = answer(two_equal())
    now_, sleeping = found.scenarios[0], found.scenario("and sleep, anew")
    assert now_.kwh_error == pytest.approx(np.hypot(0.5 * 200, 0.5 * 50) * 1.5 * 8.76)
    assert 0.0 < sleeping.saved_error < now_.kwh_error / now_.kwh_per_year
    (kind,) = found.kinds
    assert (kind.nodes, kind.sureness, kind.share_of_error) == (2, "stated", pytest.approx(1.0))
    assert kind.saved_error_if_measured == pytest.approx(0.0)


def test_anti_affinity_that_keeps_servers_awake_has_its_price():
    term = {"labelSelector": {"matchLabels": {"app": "x"}}, "topologyKey": "kubernetes.io/hostname"}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    nodes = [node(f"n{n}", annotations=watts(100, 200), labels={"kubernetes.io/hostname": f"n{n}"}) for n in range(2)]
    pods = [on(pod(f"p{n}", cpu="1", affinity=affinity), f"n{n}") for n in range(2)]
    for each in pods:
        each["metadata"]["labels"] = {"app": "x"}
    found = answer(read_cluster(nodes, pods, seen({"p0": 1.0, "p1": 1.0}), sleep="suspended"))
    assert found.scenario("and sleep, anew").saved_ratio == pytest.approx(0.0)
    (constraint,) = found.constraints
    assert (constraint.name, constraint.pods) == ("pod affinity", 2)
    assert constraint.kwh_per_year == pytest.approx(88 * 1.5 * 8.76, rel=0.005)
    assert constraint.money_per_year == pytest.approx(constraint.kwh_per_year * 0.25)


def test_no_saving_is_stated_where_pods_find_no_node():
    nodes = [node(f"n{n}", annotations=watts(100, 200)) for n in range(2)]
    pods = [on(pod(f"p{n}", cpu="4"), "n0") for n in range(3)]
    found = answer(read_cluster(nodes, pods, seen({f"p{n}": 1.0 for n in range(3)})))
    assert found.scenario("kube-default, anew").saved_ratio is None
    assert found.scenario("kube-default, anew").why_not == "1 pods found no node"


def test_now_follows_services_and_counts_jobs_while_they_run():
    values = np.array([4.0, 0.0, 0.0, 0.0])
    nodes = [node("n0", annotations=watts(100, 200))]
    job = on(pod("j", cpu="4", restartPolicy="Never"), "n0")
    job["status"] = {
        "phase": "Succeeded",
        "startTime": "1970-01-01T06:00:00Z",
        "containerStatuses": [{"state": {"terminated": {"finishedAt": "1970-01-01T09:00:00Z"}}}],
    }
    use = Use(0.0, 24 * HOUR, 6 * HOUR, "a test", pods={("default", "a"): values, ("default", "j"): np.array([2.0])})
    found = now(read_cluster(nodes, [on(pod("a", cpu="4"), "n0"), job], use))
    assert found.watts == pytest.approx((6 * 200 + 3 * 150 + 15 * 100) / 24)
    assert found.idle_watts.tolist() == pytest.approx([100.0])
    assert found.work_cores == pytest.approx((6 * 4 + 3 * 2) / 24)


def test_jobs_on_fast_cores_are_the_same_work_wherever_they_run():
    nodes = [node(f"n{n}", annotations={**watts(100, 200), "power.sparsam.dev/core-speed": f"{n + 1}"}) for n in (0, 1)]
    job = on(pod("j", cpu="1", restartPolicy="Never"), "n1")
    job["status"] = {
        "phase": "Succeeded",
        "startTime": "1970-01-01T01:00:00Z",
        "containerStatuses": [{"state": {"terminated": {"finishedAt": "1970-01-01T03:00:00Z"}}}],
    }
    cluster = read_cluster(nodes, [on(pod("a", cpu="1"), "n0"), job], seen({"a": 1.0, "j": 1.0}))
    today = now(cluster)
    assert today.work_cores == pytest.approx(1.0 + 2 * 2 / 24)
    for each in (KUBE_DEFAULT, PLACEMENT, CONSOLIDATION):
        assert run(cluster, each).work_cores == pytest.approx(today.work_cores, rel=1e-3)


def test_errors_are_those_of_moved_models():
    """What is said of an error is what a replay on models moved by it shows."""
    found = limit(two_equal())
    for change, (idle, full) in (("idle", (101, 201)), ("load", (100, 201))):
        nodes = [node(f"n{n}", annotations=watts(idle, full)) for n in range(2)]
        pods = [on(pod(f"p{n}", cpu="1"), f"n{n}") for n in range(2)]
        moved = limit(read_cluster(nodes, pods, seen({"p0": 1.0, "p1": 1.0}), sleep="suspended"))
        expected = found.idle_watts if change == "idle" else found.load_watts
        assert moved.watts - found.watts == pytest.approx(0.01 * expected.sum(), abs=1e-6)


@settings(max_examples=20)
@given(
    st.lists(st.tuples(st.integers(50, 300), st.integers(0, 300)), min_size=1, max_size=4),
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(("500m", "1", "2")), st.floats(0.0, 1.0)), min_size=1, max_size=8
    ),
)
def test_nothing_is_below_the_limit(servers, pods):
    nodes = [node(f"n{n}", cpu="16", annotations=watts(idle, idle + more)) for n, (idle, more) in enumerate(servers)]
    placed = [on(pod(f"p{n}", cpu=cpu), f"n{where % len(nodes)}") for n, (where, cpu, _) in enumerate(pods)]
    cores = {"500m": 0.5, "1": 1.0, "2": 2.0}
    used = {f"p{n}": share * cores[cpu] for n, (_, cpu, share) in enumerate(pods)}
    found = answer(read_cluster(nodes, placed, seen(used, hours=2.0), sleep="suspended"))
    least = found.scenario("physical limit").kwh_per_year
    assert all(least <= each.kwh_per_year * (1 + 1e-9) for each in found.scenarios)
