import msgspec
import numpy as np
import pytest

from sparsam.power.fleet import Fleet
from sparsam.power.model import FORMULAS, INTERPOLATED, LevelError, fit_model

EVERY = (*FORMULAS, *INTERPOLATED)
LOAD = np.arange(11) / 10.0


def models(families, seed=2):
    chance = np.random.default_rng(seed)
    found = []
    for family in families:
        keep = np.sort(np.concatenate([[0, 10], 1 + chance.permutation(9)[: chance.integers(5, 10)]]))
        watts = 40 + np.cumsum(chance.exponential(25, 11))[keep]
        errors = [LevelError(load=0.5, mean_ratio=0.01, p90_ratio=0.02)]
        found.append(fit_model(family, LOAD[keep], watts, source="", date="", errors=errors))
    return found


@pytest.mark.parametrize("family", EVERY)
def test_a_fleet_predicts_what_each_model_predicts(family):
    fleet, single = Fleet(models([family] * 12)), models([family] * 12)
    load = np.linspace(0, 1, 12)
    np.testing.assert_allclose(fleet.watts(load), [one.watts(at) for one, at in zip(single, load, strict=True)])


def test_a_mixed_fleet_keeps_the_order_of_its_nodes():
    mixed = models(list(EVERY) * 3)
    fleet, load = Fleet(mixed), np.linspace(0, 1, len(mixed))
    np.testing.assert_allclose(fleet.watts(load), [one.watts(at) for one, at in zip(mixed, load, strict=True)])
    low, high = fleet.interval(load)
    np.testing.assert_allclose(low, [one.interval(at)[0] for one, at in zip(mixed, load, strict=True)])
    assert (high > fleet.watts(load)).all()


def test_marginal_watts_are_the_difference_of_two_predictions_and_never_negative():
    mixed = models(list(EVERY) * 3)
    fleet, chance = Fleet(mixed), np.random.default_rng(1)
    load, added = chance.random(len(mixed)), chance.random(len(mixed)) * 0.3
    extra = fleet.marginal_watts(load, added)
    np.testing.assert_allclose(extra, fleet.watts(load + added) - fleet.watts(load))
    assert (extra >= -1e-9).all()


def test_the_slope_is_what_little_load_adds():
    fleet = Fleet(models(list(EVERY)))
    load = np.full(len(EVERY), 0.437)
    np.testing.assert_allclose(
        fleet.slope(load), fleet.marginal_watts(load, np.full(len(EVERY), 1e-7)) / 1e-7, rtol=1e-3
    )


def test_a_node_without_a_model_is_unknown_and_spoils_no_other():
    one, two = models(["akima", "linear"])
    fleet = Fleet([None, one, None, two])
    watts = fleet.watts(np.full(4, 0.5))
    assert np.isnan(watts).tolist() == [True, False, True, False]
    assert fleet.known.tolist() == [False, True, False, True]
    assert watts[1] == pytest.approx(one.watts(0.5))
    assert np.isnan(fleet.marginal_watts(np.full(4, 0.5), np.full(4, 0.1)))[0]


def test_an_error_that_was_not_held_out_is_unknown():
    blind = msgspec.structs.replace(models(["akima"])[0], error_by_level=())
    assert np.isnan(Fleet([blind]).interval(np.array([0.5]))[0]).all()


def test_an_empty_fleet_answers_with_nothing():
    assert Fleet([]).watts(np.zeros(0)).shape == (0,)
