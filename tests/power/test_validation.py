import numpy as np
import pytest

from sparsam.cli.serverfiles import read_servers
from sparsam.power.calibration import P90_SIZE
from sparsam.power.catalogue import populations
from sparsam.power.priors import deviation, learn
from sparsam.power.selection import held_out_prior, sparse_errors
from sparsam.power.validation import validate
from tests.conftest import DATA
from tests.support.servers import made_up_servers


@pytest.fixture(scope="module")
def published():
    return validate(read_servers(DATA / "specpower.csv"))


@pytest.mark.needs_data
def test_the_chosen_family_meets_its_targets_on_published_curves(published):
    choice = published.comparison.choice
    assert choice.pooled_mape_pct <= 1.2
    assert choice.p90_server_mape_pct <= 2.2


@pytest.mark.needs_data
@pytest.mark.parametrize(
    ("family", "pooled"), [("linear", 8.9), ("exponential", 3.5), ("piecewise", 1.8), ("pchip", 1.26), ("akima", 1.21)]
)
def test_the_known_families_have_their_known_errors(published, family, pooled):
    score = next(one for one in published.comparison.families if one.name == family)
    assert score.pooled_mape_pct == pytest.approx(pooled, rel=0.03)


@pytest.mark.needs_data
@pytest.mark.parametrize(("setting", "limit"), [("idle_max_cpu", 4.5), ("idle_max_hardware", 4.5), ("hardware", 11.0)])
def test_servers_held_out_are_predicted_from_little(published, setting, limit):
    assert next(one for one in published.settings if one.name == setting).score.pooled_mape_pct <= limit


@pytest.mark.needs_data
def test_the_error_promised_for_each_planned_step_is_about_what_follows(published):
    assert [one.step.load for one in published.plan][:2] == pytest.approx([0.5, 0.2])
    for one in published.plan:
        assert one.held_out_mape_pct == pytest.approx(one.step.expected_mape_pct, rel=0.4)


@pytest.mark.needs_data
def test_half_of_the_published_servers_teach_enough_for_the_same_targets():
    servers = read_servers(DATA / "specpower.csv")
    half = validate(servers.take(np.arange(0, len(servers.server_ids), 2)))
    assert half.comparison.choice.pooled_mape_pct <= 1.2
    assert next(one for one in half.settings if one.name == "idle_max_cpu").score.pooled_mape_pct <= 4.5


@pytest.mark.needs_data
@pytest.mark.parametrize(
    ("known", "measured"), [("hardware", ()), ("node", ()), ("cpu", ()), ("cpu", (0, -1)), ("hardware", (0, 5, -1))]
)
def test_nine_of_ten_readings_lie_in_the_interval_that_is_promised(known, measured):
    servers = read_servers(DATA / "specpower.csv").knowing(known)
    prior = held_out_prior(servers)
    promised = P90_SIZE * deviation(prior.covariance[0], [servers.load[0, column] for column in measured])[1:-1]
    assert (sparse_errors(prior, servers, measured) <= promised).mean() == pytest.approx(0.9, abs=0.04)


def test_a_few_servers_are_judged_without_what_others_teach():
    result = validate(made_up_servers(5))
    assert "learned" not in {score.name for score in result.comparison.families}
    assert result.settings == ()
    assert result.plan == ()


def test_a_few_servers_can_rely_on_a_population_learned_elsewhere():
    result = validate(made_up_servers(5), populations().population)
    assert "learned" in {score.name for score in result.comparison.families}
    assert [one.name for one in result.settings] == ["idle_max_cpu", "idle_max_hardware", "hardware", "node"]
    assert result.learned_from.startswith("a population learned elsewhere")


@pytest.mark.needs_data
def test_a_population_learned_elsewhere_helps_a_collection_of_some_servers():
    servers = read_servers(DATA / "specpower.csv")
    rows = np.random.default_rng(1).permutation(len(servers.server_ids))
    others, some = servers.take(rows[60:]), servers.take(rows[:60])

    def elsewhere(known):
        described = others.knowing(known)
        return learn(described.descriptions, described.load, described.watts)

    alone, helped = (
        {one.name: one.score.pooled_mape_pct for one in validate(some, start).settings} for start in (None, elsewhere)
    )
    assert helped["hardware"] < alone["hardware"]
    assert helped["idle_max_cpu"] < alone["idle_max_cpu"]


def test_a_single_server_is_judged_by_its_own_levels():
    assert validate(made_up_servers(1)).comparison.choice.errors.shape == (1, 9)
