import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsam.scheduling.policy import KubeDefault
from sparsam.scheduling.watts import SparsamPolicy
from sparsam.simulation.experiment import play
from sparsam.simulation.facility import BadFacility, Building, Facility, parse_facility
from sparsam.simulation.world import Rules, World
from tests.simulation.test_world import servers, trace

STILL = Facility(recirculation_kelvin_per_kw=0.0, outside_swing_kelvin=0.0)


def test_without_recirculation_air_comes_in_as_it_is_supplied():
    building = Building(STILL, np.array([0, 0, 1]))
    assert building.inlets(np.array([500.0, 300.0, 900.0]), 600.0).tolist() == [20.0] * 3


def test_a_rack_warms_itself_and_its_neighbours_less():
    building = Building(Facility(recirculation_kelvin_per_kw=1.0, neighbour_ratio=0.5), np.arange(3))
    inlets = building.inlets(np.array([2000.0, 0.0, 0.0]), 1e9)
    assert inlets.tolist() == pytest.approx([22.0, 21.0, 20.5])


def test_the_air_follows_the_heat_with_a_lag():
    building = Building(Facility(recirculation_kelvin_per_kw=1.0), np.array([0]))
    [after] = building.inlets(np.array([1000.0]), 300.0)
    assert after == pytest.approx(20.0 + (1.0 - math.exp(-1.0)))


def test_joules_of_a_constant_load_are_a_product():
    facility = Facility(outside_swing_kelvin=0.0, outside_celsius=30.0, loss_ratio=0.1, price_per_kwh=0.5)
    building = Building(facility, np.array([0]))
    building.count(3.6e6, 0.0, 3600.0)
    bill = building.bill()
    cop = facility.cop(30.0)
    assert 3.2 < cop < 3.4
    assert bill.joules == pytest.approx(3.6e6 * 1.1 * (1.0 + 1.0 / cop))
    assert bill.pue == pytest.approx(1.1 * (1.0 + 1.0 / cop))
    assert bill.cost == pytest.approx(0.5 * bill.joules / 3.6e6)


def test_cold_air_outside_does_the_work_of_the_chiller():
    assert Facility().cop(-10.0) == Facility().free_cooling_cop
    assert Facility().cop(35.0) < Facility().cop(25.0)


def test_prices_are_steps_that_come_again_each_day():
    facility = parse_facility({"pricePerKwh": [[0, 0.1], [8, 0.4], [20, 0.2]], "lossRatio": 0.0}, "f.yaml")
    building = Building(facility, np.array([0]))
    for hour in (3, 9, 21, 24 + 9):
        building.count(3.6e6, hour * 3600.0, hour * 3600.0)
    kwh = building.bill().joules / 3.6e6 / 4
    assert building.bill().cost == pytest.approx((0.1 + 0.4 + 0.2 + 0.4) * kwh, rel=0.05)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"supply": 20}, "unknown field `supply`"),
        ({"supplyCelsius": 90}, "supplyCelsius"),
        ({"pricePerKwh": [[1, 0.2]]}, "pricePerKwh: steps begin at hour 0"),
        ({"outsideCelsius": [[0, 1], [5, 2], [5, 3]]}, "outsideCelsius[2]: hour 5 does not come after 5"),
        ({"carbonGramsPerKwh": math.nan}, "carbonGramsPerKwh: not a number"),
        ([], "f.yaml: the document"),
    ],
)
def test_what_cannot_be_used_is_said_with_its_field(document, words):
    with pytest.raises(BadFacility, match=r"^f.yaml") as raised:
        parse_facility(document, "f.yaml")
    assert words in str(raised.value)


PODS = st.lists(
    st.tuples(st.integers(0, 3000), st.integers(60, 2000), st.sampled_from(["1", "2", "4"])), min_size=1, max_size=12
)


@settings(deadline=None, max_examples=25)
@given(PODS, st.floats(0.0, 3.0), st.sampled_from([KubeDefault, SparsamPolicy]))
def test_the_building_takes_the_sum_of_its_parts(pods, kelvin, policy):
    arrivals = trace(*sorted(pods), horizon=3600.0)
    rules = Rules(facility=Facility(recirculation_kelvin_per_kw=kelvin))
    history = World(servers(3), arrivals, policy(), rules).run()
    bill = history.bill
    assert bill.server_joules == pytest.approx(history.joules.sum())
    assert bill.joules == pytest.approx(bill.server_joules + bill.loss_joules + bill.cooling_joules)
    assert history.parts.total == pytest.approx(history.joules.sum())
    assert bill.hottest_celsius >= 20.0


def test_the_bound_stays_below_in_air_cooler_than_the_calibrations():
    arrivals = trace((0, 3000, "4"), (0, 2000, "4"), (100, 900, "2"), horizon=3600.0)
    cool = Facility(supply_celsius=12.0)
    for policy in ("kube-default", "sparsam"):
        run, history = play(servers(3), arrivals, policy, sleeps=False, facility=cool)
        assert history.parts.heat < 0.0
        assert run.bound_kwh <= run.energy_kwh


def test_the_example_is_one():
    for path in (Path(__file__).parents[2] / "examples/facilities").glob("*.yaml"):
        assert parse_facility(yaml.safe_load(path.read_text()), path.name).currency == "EUR"


def test_without_a_building_nothing_is_billed():
    assert World(servers(1), trace((0, 300, "3")), KubeDefault()).run().bill is None
