import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.power.psu import LEVELS, certified, measured

EVERY = [(supply, level) for supply, levels in LEVELS.items() for level in levels]


def one(level="gold", *, supply="230V", rated=800.0, **more):
    return certified([level], np.array([rated]), supply=supply, **more)


def at(watts):
    return np.array([watts], dtype=np.float64)


@pytest.mark.parametrize(("supply", "level"), EVERY)
def test_a_level_holds_its_efficiency_at_the_loads_that_it_certifies(supply, level):
    supplies = one(level, supply=supply)
    for load, efficiency in LEVELS[supply][level]:
        assert supplies.efficiency(at(800.0 * load))[0] == pytest.approx(efficiency)


def test_better_levels_never_draw_more_at_every_certified_load():
    ranks = ["bronze", "silver", "gold", "platinum", "titanium", "ruby"]
    for load in (0.2, 0.5, 1.0):
        walls = certified(ranks, np.full(6, 800.0)).wall_watts(np.full(6, 800.0 * load))
        assert (np.diff(walls) < 1e-9).all()


@given(
    st.sampled_from(EVERY),
    st.floats(1.0, 3000.0),
    st.sampled_from([1.0, 2.0, 4.0]),
    st.floats(0.0, 3.0),
    st.floats(1e-6, 1.0),
)
def test_more_direct_current_always_draws_more_and_the_inverse_finds_it_again(which, rated, sharing, load, more):
    supplies = one(which[1], supply=which[0], rated=rated, sharing=sharing, spare_watts=5.0)
    less, much = at(load * rated * sharing), at((load + more) * rated * sharing)
    assert supplies.wall_watts(less)[0] < supplies.wall_watts(much)[0]
    assert supplies.wall_watts(less)[0] > less[0]
    assert supplies.dc_watts(supplies.wall_watts(less))[0] == pytest.approx(less[0], rel=1e-9, abs=1e-9 * rated)
    assert supplies.marginal_wall_watts(less)[0] >= 0.9


def test_the_marginal_is_what_a_little_more_costs():
    supplies = certified(["gold"] * 5, np.full(5, 800.0), sharing=2.0)
    dc = np.array([0.0, 150.0, 500.0, 1200.0, 1700.0])
    step = (supplies.wall_watts(dc + 1e-6) - supplies.wall_watts(dc)) / 1e-6
    np.testing.assert_allclose(supplies.marginal_wall_watts(dc), step, rtol=1e-5)


def test_two_supplies_that_share_a_small_load_draw_more_than_one_with_a_spare():
    shared, spare = one(sharing=2.0), one(spare_watts=3.0)
    assert shared.wall_watts(at(160.0))[0] > spare.wall_watts(at(160.0))[0]
    assert spare.dc_watts(at(3.0))[0] == 0.0


def test_an_unloaded_supply_draws_something_and_less_wall_than_that_delivers_nothing():
    supplies = one()
    assert 0.0 < supplies.wall_watts(at(0.0))[0] < 800.0 * 0.03
    assert supplies.dc_watts(at(0.0))[0] == 0.0
    assert supplies.wall_watts(at(-50.0))[0] == supplies.wall_watts(at(0.0))[0]


def test_nodes_with_different_levels_are_converted_as_each_alone():
    levels = [level for supply, level in EVERY if supply == "230V"]
    rated = np.linspace(400.0, 2000.0, len(levels))
    dc = rated * np.linspace(0.03, 1.3, len(levels))
    together = certified(levels, rated)
    alone = [one(level, rated=size) for level, size in zip(levels, rated, strict=True)]
    np.testing.assert_allclose(
        together.wall_watts(dc), [each.wall_watts(at(watts))[0] for each, watts in zip(alone, dc, strict=True)]
    )


def test_unknown_watts_stay_unknown_and_spoil_no_other_node():
    supplies = certified(["gold", "gold"], np.full(2, 800.0))
    for answer in (supplies.wall_watts, supplies.dc_watts, supplies.marginal_wall_watts):
        found = answer(np.array([np.nan, 300.0]))
        assert np.isnan(found).tolist() == [True, False]


def test_a_redundant_pair_is_told_when_one_supply_alone_could_not_carry_the_load():
    pair = one(sharing=2.0)
    assert not pair.overloaded(at(900.0))[0]
    assert pair.overloaded(at(900.0), lost=1)[0]
    assert pair.overloaded(at(1.0), lost=2)[0]
    assert pair.overloaded(at(np.nan))[0]


def test_measured_points_take_the_place_of_a_level():
    supplies = measured(np.array([0.1, 0.4, 1.0]), np.array([[0.85, 0.95, 0.92]]), np.array([500.0]))
    assert supplies.efficiency(at(200.0))[0] == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("loads", "efficiency", "words"),
    [
        ([10.0, 50.0], [0.9, 0.9], "rising from above 0"),
        ([0.5, 50.0], [0.9, 0.9], "per cent"),
        ([0.5, 0.2], [0.9, 0.9], "rising"),
        ([0.2, 0.5], [0.9, 90.0], "at most 1"),
        ([0.2, 0.5], [0.9, np.nan], "at most 1"),
        ([0.4, 0.5], [0.5, 0.95], "contradict"),
        ([0.2, 0.5], [0.9, 0.9, 0.9], "shape"),
    ],
)
def test_measured_points_that_contradict_themselves_are_refused(loads, efficiency, words):
    with pytest.raises(ValueError, match=words):
        measured(np.array(loads), np.array([efficiency]), np.array([500.0]))


def test_unknown_levels_supplies_and_ratings_are_refused():
    with pytest.raises(ValueError, match="unknown 80 PLUS level 'white' at 230V; known are bronze"):
        one("white")
    with pytest.raises(ValueError, match="unknown supply '48V'"):
        one(supply="48V")
    with pytest.raises(ValueError, match="above zero"):
        one(rated=0.0)
    with pytest.raises(ValueError, match="above zero"):
        one(sharing=0.0)
    with pytest.raises(ValueError, match="spare"):
        one(spare_watts=-1.0)


def test_no_nodes_are_answered_with_nothing():
    assert certified([], np.zeros(0)).wall_watts(np.zeros(0)).shape == (0,)
