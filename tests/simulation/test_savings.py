import numpy as np
import pytest

from sparsam.simulation.cluster import Use, read_cluster
from sparsam.simulation.savings import Prices, assess, replays, run
from tests.support.scheduling import node, pod, watts

PRICES = Prices(money_per_kwh=0.25, currency="EUR", gco2_per_kwh=300.0, pue=1.5)
HOUR = 3600.0


def on(pod_, where):
    return {**pod_, "spec": {**pod_["spec"], "nodeName": where}, "status": {"phase": "Running"}}


def seen(cores, nodes=None, hours=24.0):
    """Use of pods of the default namespace, constant."""
    pods = {("default", name): np.array([value]) for name, value in cores.items()}
    return Use(0.0, hours * HOUR, 300.0, "a test", pods=pods, nodes=nodes or {})


def two_equal(cpu="1", **extra):
    """Two equal servers of 4 CPUs, 100 to 200 W, each with one pod that uses what it requests."""
    nodes = [node(f"n{n}", annotations=watts(100, 200)) for n in range(2)]
    pods = [on(pod(f"p{n}", cpu=cpu, **extra), f"n{n}") for n in range(2)]
    return read_cluster(nodes, pods, seen({f"p{n}": float(cpu) for n in range(2)}), sleep="suspended")


def answer(cluster):
    return assess(cluster, {each: run(cluster, each) for each in replays(cluster)}, PRICES)


def test_the_pods_of_two_servers_fit_on_one_and_the_other_sleeps():
    found = answer(two_equal())
    by_name = {each.name: each for each in found.scenarios}
    kwh = 1.5 * 8760 / 1000
    assert by_name["now"].kwh_per_year == pytest.approx(250 * kwh)
    assert by_name["placement only"].kwh_per_year == pytest.approx(250 * kwh)
    # One server is half full, the other sleeps at 12 W once it stood empty for two minutes.
    assert by_name["with sleep"].kwh_per_year == pytest.approx(162 * kwh, rel=0.002)
    assert by_name["physical limit"].kwh_per_year <= 162 * kwh
    assert by_name["with sleep"].saved_ratio == pytest.approx(88 / 250, rel=0.01)
    assert by_name["now"].money_per_year == pytest.approx(250 * kwh * 0.25)
    assert by_name["now"].co2_tonnes_per_year == pytest.approx(250 * kwh * 0.3 / 1000)
    assert found.mean_load_ratio == pytest.approx(0.25)


def test_room_for_the_largest_pod_stays_awake():
    found = answer(two_equal(cpu="2"))
    assert found.scenarios[3].saved_ratio == pytest.approx(0.0)
    assert found.scenarios[4].saved_ratio == pytest.approx(88 / 300)


def test_the_limit_is_below_sleep_below_placement_below_now():
    nodes = [node(f"old{n}", annotations=watts(150, 300)) for n in range(3)]
    nodes += [node(f"new{n}", cpu="8", annotations=watts(60, 200)) for n in range(3)]
    pods = [on(pod(f"p{n}", cpu="1500m"), f"old{n % 3}") for n in range(6)]
    found = answer(read_cluster(nodes, pods, seen({f"p{n}": 1.0 for n in range(6)}), sleep="suspended"))
    now_, _, placed, sleeping, least = (each.kwh_per_year for each in found.scenarios)
    assert least <= sleeping < placed < now_


def test_errors_of_one_model_fall_out_of_the_saving():
    found = answer(two_equal())
    now_, sleeping = found.scenarios[0], found.scenarios[3]
    assert now_.kwh_error == pytest.approx(np.hypot(0.5 * 200, 0.5 * 50) * 1.5 * 8.76)
    assert 0.0 < sleeping.saved_error < now_.kwh_error / now_.kwh_per_year
    (kind,) = found.kinds
    assert (kind.nodes, kind.sureness, kind.share_of_error) == (2, "stated", pytest.approx(1.0))
    assert kind.saved_error_if_measured == pytest.approx(0.0)
