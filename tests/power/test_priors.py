import numpy as np
import pytest

from sparsam.power.description import KNOWLEDGE, Description
from sparsam.power.priors import (
    LEVELS,
    calibration_plan,
    complete,
    deviation,
    expected_mape_pct,
    learn,
    watts_at,
)
from tests.support.servers import made_up_servers

SERVERS = made_up_servers()


@pytest.fixture(scope="module")
def population():
    return learn(SERVERS.descriptions, SERVERS.load, SERVERS.watts)


def test_too_few_servers_teach_nothing():
    few = SERVERS.take(np.arange(29))
    with pytest.raises(ValueError, match="29 servers are too few"):
        learn(few.descriptions, few.load, few.watts)


def test_expectations_follow_the_hardware(population):
    small, large = (
        Description(cpu_name="EPYC 7742", chips=2, cores=cores, threads=2 * cores, memory_gb=4 * cores)
        for cores in (16, 64)
    )
    watts = np.exp(population.expected([small, large]))
    assert watts[1, -1] > 2 * watts[0, -1]


def test_measured_points_are_believed(population):
    expected = population.expected(SERVERS.descriptions[:5])
    load, watts = SERVERS.load[:5][:, [0, 4, 10]], SERVERS.watts[:5][:, [0, 4, 10]]
    curves = complete(expected, population.covariance, load, watts)
    np.testing.assert_allclose(watts_at(curves, load), watts, rtol=0.005)


def test_each_point_measured_brings_the_rest_nearer(population):
    expected = population.expected(SERVERS.descriptions)
    errors = []
    for columns in ([], [10], [0, 10], [0, 3, 10], [0, 1, 3, 6, 10]):
        curves = complete(expected, population.covariance, SERVERS.load[:, columns], SERVERS.watts[:, columns])
        errors.append(np.abs(watts_at(curves, SERVERS.load) / SERVERS.watts - 1).mean())
    assert errors == sorted(errors, reverse=True)


def test_a_scale_that_is_measured_overrules_the_expectation(population):
    """A server that draws twice what its hardware lets expect is predicted at twice the watts at all levels."""
    one = population.expected(SERVERS.descriptions[:1])
    ends = np.array([[0.0, 1.0]])
    doubled = complete(one, population.covariance, ends, 2 * watts_at(one, ends))
    assert np.exp(doubled - one).min() > 1.5


def test_unknown_fields_are_filled_in_rather_than_taken_for_average(population):
    full = SERVERS.descriptions[0]
    part = full.only(KNOWLEDGE["node"])
    whole, partial = population.expected([full, part])
    assert np.abs(whole - partial).max() < 0.2


def test_an_unheard_of_cpu_and_no_description_at_all_still_get_an_expectation(population):
    assert np.isfinite(population.expected([Description(cpu_name="Loongson 3C6000"), Description()])).all()
    assert "none of its CPU series" in population.basis(Description(cpu_name="Loongson 3C6000"))
    assert "with its CPU (epyc 7742)" in population.basis(Description(cpu_name="AMD EPYC 7742 64-Core Processor"))


def test_the_calibration_plan_never_repeats_a_load_and_promises_ever_smaller_errors(population):
    plan = calibration_plan(population.covariance, (0.0, 1.0), 20)
    loads = [step.load for step in plan]
    assert sorted(loads) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9] == sorted(set(loads))
    promised = [step.expected_mape_pct for step in plan]
    assert promised == sorted(promised, reverse=True)
    assert promised[0] < expected_mape_pct(population.covariance, (0.0, 1.0))


def test_the_first_step_of_the_plan_is_the_best_single_step(population):
    first = calibration_plan(population.covariance, (0.0, 1.0), 1)[0]
    others = [expected_mape_pct(population.covariance, (0.0, 1.0, level)) for level in LEVELS[1:-1]]
    assert first.expected_mape_pct == pytest.approx(min(others))


def test_a_measured_level_is_known_to_the_scatter_of_a_reading(population):
    assert deviation(population.covariance, [0.5])[5] < 0.004
