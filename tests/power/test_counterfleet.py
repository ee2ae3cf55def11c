import numpy as np
import pytest

from sparsam.power.counterfleet import CounterFleet
from sparsam.power.counters import COUNTERS, CYCLES, INSTRUCTIONS, MISSES, UTILIZATION, fit


def model(seed, *, error=0.05):
    chance = np.random.default_rng(seed)
    load = np.repeat(chance.random(60), 10)
    columns = {
        UTILIZATION: 0.01 + 0.9 * load,
        CYCLES: 5e10 * load * chance.normal(1.0, 0.05, 600) + 1e8,
        INSTRUCTIONS: 4e10 * load * chance.random(600) + 1e8,
        MISSES: 1e5 + 1e7 * load * chance.random(600),
    }
    quick = 1.0 + 0.5 * columns[CYCLES] / 5e10
    watts = 150.0 + 10.0 * seed + 2e-9 * columns[CYCLES] * quick + 6.0 * np.log1p(columns[MISSES] / 1e5) * (1.0 + load)
    return fit(columns, watts, error_ratio=error)


@pytest.fixture(scope="module")
def models():
    return [model(1), None, model(2, error=float("nan")), model(3)]


def rates(nodes, seed=0):
    chance = np.random.default_rng(seed)
    return {
        UTILIZATION: chance.random(nodes) * chance.choice([0.01, 1.2], nodes),
        CYCLES: chance.random(nodes) * 7e10,
        INSTRUCTIONS: chance.random(nodes) * 5e10,
        MISSES: 10.0 ** (chance.random(nodes) * 9.0),
    }


def test_many_nodes_at_once_are_predicted_as_one_by_one(models):
    fleet = CounterFleet(models)
    for seed in range(100):
        now = rates(4, seed)
        watts = fleet.watts(now)
        assert np.isnan(watts[1])
        for node in (0, 2, 3):
            alone = models[node].watts_at({name: values[[node]] for name, values in now.items()})[0]
            assert watts[node] == pytest.approx(alone, rel=1e-3)


def test_marginal_watts_are_differences_and_never_negative(models):
    fleet = CounterFleet(models)
    for seed in range(50):
        now, added = rates(4, seed), {CYCLES: np.full(4, 1e9), MISSES: np.full(4, 1e5)}
        extra = fleet.marginal_watts(now, added)
        assert np.isnan(extra[1])
        assert (extra[[0, 2, 3]] >= -1e-9).all()
        alone = models[0].marginal_watts(
            {name: values[:1] for name, values in now.items()}, {name: values[:1] for name, values in added.items()}
        )
        assert extra[0] == pytest.approx(alone[0], abs=0.5)


def test_intervals_hold_the_error_and_are_unknown_without_one(models):
    low, high = CounterFleet(models).interval(rates(4))
    watts = CounterFleet(models).watts(rates(4))
    assert (low[0], high[0]) == pytest.approx((0.95 * watts[0], 1.05 * watts[0]))
    assert np.isnan(low[[1, 2]]).all()


def test_a_reading_that_is_missing_makes_its_own_node_unknown_only(models):
    now = rates(4)
    clear = CounterFleet(models).watts(now)
    for name in COUNTERS:
        broken = {each: values.copy() for each, values in now.items()}
        broken[name][0] = np.nan
        watts = CounterFleet(models).watts(broken)
        assert np.isnan(watts[0])
        assert watts[2:].tolist() == clear[2:].tolist()


def test_a_fleet_without_any_model_knows_nothing():
    assert np.isnan(CounterFleet([None, None]).watts(rates(2))).all()
