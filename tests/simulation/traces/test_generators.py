from collections import Counter

import numpy as np
import pytest

from sparsam.simulation.trace import Trace, merged
from sparsam.simulation.traces.generators import (
    DAY_SECONDS,
    STEP_SECONDS,
    SYSBENCH,
    bursts,
    diurnal_services,
    poisson_batch,
    sysbench_mix,
)

MAKERS = {
    "services": lambda chance: diurnal_services(chance, 200, DAY_SECONDS),
    "batch": lambda chance: poisson_batch(chance, 500.0, DAY_SECONDS),
    "bursts": lambda chance: bursts(chance, 5, 100, DAY_SECONDS),
    "sysbench": lambda chance: sysbench_mix(chance, 500.0, DAY_SECONDS),
}
each_maker = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def made(make, seed: int = 1) -> Trace:
    return make(np.random.default_rng(seed))


def same(one: Trace, other: Trace) -> bool:
    columns = ("template", "arrival_seconds", "duration_seconds", "batch", "usage", "series")
    return all(np.array_equal(getattr(one, name), getattr(other, name), equal_nan=True) for name in columns)


@each_maker
def test_the_seed_decides_everything(make):
    assert same(made(make), made(make))
    assert not same(made(make), made(make, seed=2))


@each_maker
def test_pods_request_what_a_node_has(make):
    found = made(make)
    found.check_fits([{"cpu": 16_000, "memory": 64 << 30}])
    assert found.requested_cores.min() > 0.0
    assert found.horizon_seconds == DAY_SECONDS


def test_services_stay_and_are_busy_in_the_afternoon():
    found = made(MAKERS["services"])
    assert not found.batch.any()
    assert np.isinf(found.duration_seconds).all()
    used = found.usage_series.values[found.series].mean(axis=0)
    hours = np.arange(len(used)) * STEP_SECONDS / 3600.0
    assert 12.0 <= hours[used.argmax()] <= 16.0
    night = used[(hours >= 1.0) & (hours <= 3.0)].mean()
    assert 2.0 < used[(hours >= 13.0) & (hours <= 15.0)].mean() / night < 6.0
    assert found.usage_series.values.max() <= 1.0


def test_the_pattern_of_a_service_has_the_mean_that_its_usage_states():
    found = made(lambda chance: diurnal_services(chance, 50, DAY_SECONDS, noise=0.0))
    np.testing.assert_allclose(found.usage_series.values.mean(axis=1)[found.series], found.usage, rtol=0.01)


def test_poisson_arrivals_have_their_rate_and_vary_as_much():
    found = made(lambda chance: poisson_batch(chance, 3600.0, 10_000.0))
    counts = np.histogram(found.arrival_seconds, 1000, (0.0, 10_000.0))[0]
    assert counts.mean() == pytest.approx(10.0, abs=0.5)
    assert counts.var() == pytest.approx(10.0, rel=0.2)
    assert found.batch.all()


def test_bursts_come_together():
    found = made(lambda chance: bursts(chance, 4, 1000, 100_000.0, width_seconds=10.0))
    gaps = np.flatnonzero(np.diff(found.arrival_seconds) > 10.0)
    assert len(gaps) <= 3
    assert len(found) == pytest.approx(4000, rel=0.1)
    crowd = found.template[: gaps[0] + 1]
    assert len(set(crowd.tolist())) == 1


def test_the_sysbench_mix_has_its_shapes_in_proportion():
    found = made(lambda chance: sysbench_mix(chance, 2000.0, DAY_SECONDS))
    counts = Counter(found.template.tolist())
    for number, shape in enumerate(SYSBENCH):
        ours = found.template == number
        assert counts[number] / len(found) == pytest.approx(shape.weight, abs=0.02)
        assert found.duration_seconds[ours].mean() == pytest.approx(shape.duration_seconds, rel=0.05)
        assert set(found.usage[ours].tolist()) == {shape.usage}


def test_made_up_traces_merge():
    every = [made(make) for make in MAKERS.values()]
    assert len(merged(every)) == sum(len(each) for each in every)


def test_a_rate_that_is_none_is_refused():
    with pytest.raises(ValueError, match="no rate: -1 pods an hour"):
        poisson_batch(np.random.default_rng(1), -1.0, 10.0)
