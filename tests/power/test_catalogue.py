import json

import numpy as np
import pytest

from sparsam.power.catalogue import (
    format_populations,
    format_profiles,
    parse_populations,
    parse_profiles,
    population_for,
    populations,
    profiles,
)
from sparsam.power.description import Description
from sparsam.power.model import FORMULAS
from sparsam.power.priors import learn
from tests.support.servers import made_up_servers


def test_the_catalogue_holds_a_few_dozen_servers_of_many_generations():
    found = [one for one in profiles() if one.bias == "efficiency"]
    assert len(found) >= 36
    assert len({one.name for one in profiles()}) == len(profiles())
    assert {one.hw_year for one in found} >= {2008, 2010, 2012, 2015, 2017, 2019, 2021}
    assert {"amd", "intel"} <= {one.cpu_name.split()[0].lower() for one in found}


def test_profiles_are_fitted_coefficients_with_the_result_they_were_fitted_from():
    for one in profiles():
        assert one.model.family in FORMULAS
        assert one.model.server_id.startswith("srv-")
        assert 0 < one.model.idle_watts < one.model.max_watts
        if one.bias == "efficiency":
            assert np.mean([error.mean_ratio for error in one.model.error_by_level]) < 0.06


def test_performance_profiles_burn_more_at_idle_the_same_at_full_load_and_say_that_they_are_modelled():
    by_name = {one.name: one for one in profiles()}
    variants = [one for one in profiles() if one.bias == "performance"]
    assert len(variants) >= 30
    for one in variants:
        base = by_name[one.name.removesuffix("-performance")].model
        assert one.model.estimated
        assert "modelled, not measured" in one.derivation
        assert one.model.idle_watts == pytest.approx(1.19 * base.idle_watts, rel=0.001)
        assert one.model.max_watts == pytest.approx(base.max_watts, rel=0.01)


def test_a_catalogue_file_round_trips():
    assert parse_profiles(format_profiles(profiles(), "here")) == profiles()


def test_a_catalogue_of_another_version_is_refused():
    document = json.loads(format_profiles(profiles()[:1], "here"))
    with pytest.raises(ValueError, match="unknown schema"):
        parse_profiles(json.dumps({**document, "schema": "v9"}).encode())
    with pytest.raises(ValueError, match="not a"):
        parse_profiles(b"{}")


def test_a_population_survives_its_file():
    servers = made_up_servers()
    learned = learn(servers.descriptions, servers.load, servers.watts)
    again = parse_populations(format_populations({"node": learned}, servers.server_ids, "here")).population("node")
    asked = [*servers.descriptions[:5], Description(cpu_name="EPYC 7742"), Description()]
    np.testing.assert_allclose(again.expected(asked), learned.expected(asked), atol=0.002)
    assert np.linalg.eigvalsh(again.covariance).min() > 0


@pytest.mark.parametrize(
    ("description", "known"),
    [
        (Description(cpu_name="EPYC 7742"), "cpu"),
        (Description(cpu_name="EPYC 7742", cores=64, threads=128, memory_gb=256), "node"),
        (Description("EPYC 7742", None, 2019, 1, 64, 128, 256, 1, 750), "hardware"),
    ],
)
def test_the_population_that_knows_as_much_as_is_said_is_taken(description, known):
    taken = population_for(description)
    np.testing.assert_array_equal(taken.mean, populations().population(known).mean)
    np.testing.assert_array_equal(taken.covariance, populations().population(known).covariance)


def test_the_built_in_population_knows_what_common_servers_draw():
    one = Description("AMD EPYC 7742 64-Core Processor", chips=2, cores=128, threads=256, memory_gb=512)
    watts = np.exp(population_for(one).expected([one]))[0]
    assert 70 < watts[0] < 200
    assert 400 < watts[-1] < 800


def test_threads_grow_faster_over_the_generations_and_the_bios_profile_leaves_full_speed_alone():
    by_name = {one.name: one for one in profiles()}
    assert by_name["xeon-e5345-2s"].ssj_ops_per_thread < by_name["xeon-gold-6152-2s"].ssj_ops_per_thread
    for one in profiles():
        assert 1e3 < one.ssj_ops_per_thread < 1e6
        assert one.ssj_ops_per_thread == by_name[one.name.removesuffix("-performance")].ssj_ops_per_thread
