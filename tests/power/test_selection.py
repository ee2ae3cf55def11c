import numpy as np
import pytest

from sparsam.power.fitting import FAMILIES
from sparsam.power.selection import (
    compare,
    folds,
    folds_of,
    held_out_prior,
    leave_one_out,
    sparse_errors,
)
from tests.support.servers import made_up_servers

SERVERS = made_up_servers()


@pytest.fixture(scope="module")
def prior():
    return held_out_prior(SERVERS)


@pytest.fixture(scope="module")
def comparison(prior):
    return compare(SERVERS, prior.predict)


def test_each_level_is_predicted_from_all_the_others(comparison):
    load, watts = np.delete(SERVERS.load, 3, axis=1), np.delete(SERVERS.watts, 3, axis=1)
    expected = np.abs(FAMILIES["akima"].fit(load, watts).watts(SERVERS.load[:, 3]) / SERVERS.watts[:, 3] - 1)
    akima = next(score for score in comparison.families if score.name == "akima")
    np.testing.assert_allclose(akima.errors[:, 2], expected)


def test_a_level_being_scored_has_no_say_in_the_choice_for_it():
    """Whatever is read at a level, the family chosen for it stays the same (a server alone, so nothing else changes)."""
    one = SERVERS.take(np.array([7]))
    before = compare(one).nested
    for level in range(1, 10):
        watts = one.watts.copy()
        watts[:, level] *= 1.3
        spoilt = type(one)(one.server_ids, one.descriptions, one.load, watts)
        assert compare(spoilt).nested[0, level - 1] == before[0, level - 1]


def test_a_server_has_no_say_in_what_is_expected_of_it(prior):
    watts = SERVERS.watts.copy()
    watts[11] *= 3.0
    spoilt = type(SERVERS)(SERVERS.server_ids, SERVERS.descriptions, SERVERS.load, watts)
    np.testing.assert_array_equal(held_out_prior(spoilt).expected[11], prior.expected[11])


def test_rows_of_one_server_share_a_fold():
    ids = ["a", "b", "a", "c", "b"]
    fold = folds_of(ids)
    assert fold[0] == fold[2]
    assert fold[1] == fold[4]
    for known, judged in folds(ids):
        assert not {ids[row] for row in known} & {ids[row] for row in judged}
        assert sorted([*known, *judged]) == list(range(5))


def test_the_choice_is_about_as_good_as_the_best_family(comparison):
    best = min(score.pooled_mape_pct for score in comparison.families)
    assert comparison.choice.pooled_mape_pct < 1.15 * best


def test_what_is_chosen_does_not_depend_on_the_order_of_the_servers(comparison):
    order = np.random.default_rng(0).permutation(len(SERVERS.server_ids))
    shuffled = SERVERS.take(order)
    again = compare(shuffled, held_out_prior(shuffled).predict)
    np.testing.assert_array_equal(again.final, comparison.final[order])


def test_less_knowledge_means_larger_errors(prior):
    ends = sparse_errors(prior, SERVERS, (0, -1)).mean()
    nothing = sparse_errors(prior, SERVERS, ()).mean()
    everything = leave_one_out(prior.predict, SERVERS).mean()
    assert everything < ends < nothing


def test_the_pooled_error_is_the_mean_and_the_ninetieth_percentile_is_over_servers(comparison):
    score = comparison.choice
    assert score.pooled_mape_pct == pytest.approx(100 * score.errors.mean())
    assert (score.errors.mean(axis=1) * 100 <= score.p90_server_mape_pct).mean() == pytest.approx(0.9, abs=0.02)
    assert np.mean(score.mape_pct_by_level) == pytest.approx(score.pooled_mape_pct)


def test_few_steps_leave_out_the_families_that_need_more():
    columns = [0, 2, 5, 8, 10]
    few = type(SERVERS)(SERVERS.server_ids, SERVERS.descriptions, SERVERS.load[:, columns], SERVERS.watts[:, columns])
    names = {score.name for score in compare(few).families}
    assert "linear" in names
    assert "idle_exponential" not in names
