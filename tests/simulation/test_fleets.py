import pytest

from sparsam.power.catalogue import profiles
from sparsam.simulation.fleet import parse_fleet
from sparsam.simulation.fleets import fleet_named

BIAS = {one.name: one.bias for one in profiles()}
YEARS = {one.name: one.hw_year for one in profiles()}


def test_rise_215_is_a_few_generations_half_of_them_set_to_performance():
    found = fleet_named("rise-215")
    assert len(found.node_objects()) == 215
    fast = sum(group.count for group in found.groups if BIAS[group.model] == "performance")
    assert 100 <= fast <= 115
    assert {YEARS[group.model] for group in found.groups} == {2012, 2016, 2018, 2019, 2020}


@pytest.mark.parametrize(("name", "models"), [("mixed-2000", 60), ("uniform-7", 1), ("mixed-3", 3)])
def test_named_fleets_have_as_many_nodes_as_they_say(name, models):
    found = fleet_named(name)
    assert len(found.node_objects()) == int(name.rpartition("-")[2])
    assert len(found.groups) == pytest.approx(models, abs=15 if models > 10 else 0)
    assert parse_fleet(
        {"name": name, "groups": [{"model": each.model, "count": each.count} for each in found.groups]}, ""
    )


@pytest.mark.parametrize("name", ["rise-0", "rise", "riso-215", "uniform-x", ""])
def test_other_names_are_refused_with_those_that_there_are(name):
    with pytest.raises(ValueError, match=r"ready-made are rise-N, mixed-N and uniform-N"):
        fleet_named(name)
