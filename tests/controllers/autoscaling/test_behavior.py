"""Windows, policies and limits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.controllers.autoscaling.behavior import History, Limits, decide, down_limit, record, up_limit

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def policy(kind: str, value: int, seconds: int = 60) -> dict[str, Any]:
    return {"type": kind, "value": value, "periodSeconds": seconds}


def rules(*policies: dict[str, Any], window: int | None = 0, select: str = "Max") -> dict[str, Any]:
    found = {"policies": list(policies), "selectPolicy": select}
    return found if window is None else found | {"stabilizationWindowSeconds": window}


FREE = {"scaleUp": rules(policy("Percent", 900)), "scaleDown": rules(policy("Percent", 100))}


def test_without_a_behavior_at_most_double_or_four_is_added():
    assert decide(History(), Limits(1, 100), 1, 50, NOW).replicas == 4
    decision = decide(History(), Limits(1, 100), 10, 50, NOW)
    assert (decision.replicas, decision.limited, decision.limit[0]) == (20, True, "ScaleUpLimit")
    assert decide(History(), Limits(1, 15), 10, 50, NOW).limit[0] == "TooManyReplicas"
    few = decide(History(), Limits(3, 15), 10, 1, NOW)
    assert (few.replicas, few.limit[0]) == (3, "TooFewReplicas")


def test_the_highest_recommendation_of_five_minutes_holds():
    history = History([(ago(301), 9), (ago(299), 7)])
    decision = decide(history, Limits(1, 20), 7, 2, NOW)
    assert (decision.replicas, decision.able[0], decision.limited) == (7, "ScaleDownStabilized", False)
    assert history.recommendations == [(ago(299), 7), (NOW, 2)]
    calm = decide(History(), Limits(1, 20), 7, 2, NOW)
    assert (calm.replicas, calm.able[0], calm.limit[0]) == (2, "ReadyForNewScale", "DesiredWithinRange")


def test_each_direction_has_its_window():
    behavior = {**FREE, "scaleUp": FREE["scaleUp"] | {"stabilizationWindowSeconds": 60}}
    up = decide(History([(ago(61), 2), (ago(30), 5)]), Limits(1, 20, behavior), 4, 8, NOW)
    assert (up.replicas, up.able[0]) == (5, "ScaleUpStabilized")
    behavior = {**FREE, "scaleDown": rules(policy("Percent", 100), window=None)}
    down = decide(History([(ago(200), 6)]), Limits(1, 20, behavior), 8, 2, NOW)
    assert (down.replicas, down.able[0]) == (6, "ScaleDownStabilized")


@pytest.mark.parametrize(("select", "wanted"), [("Max", 20), ("Min", 14), ("Disabled", 10)])
def test_the_chosen_policy_limits_growth(select, wanted):
    both = rules(policy("Pods", 4), policy("Percent", 100), select=select)
    assert up_limit(History(), both, 10, NOW) == wanted


@pytest.mark.parametrize(("select", "wanted"), [("Max", 5), ("Min", 6), ("Disabled", 10)])
def test_the_chosen_policy_limits_shrinking(select, wanted):
    both = rules(policy("Pods", 4), policy("Percent", 50), select=select)
    assert down_limit(History(), both, 10, NOW) == wanted


def test_what_was_changed_within_the_period_counts():
    growth = rules(policy("Pods", 4))
    assert up_limit(History(ups=[(ago(30), 3), (ago(61), 9)]), growth, 10, NOW) == 11
    assert up_limit(History(downs=[(ago(30), 3)]), growth, 10, NOW) == 17
    assert down_limit(History(downs=[(ago(30), 3)]), rules(policy("Pods", 4)), 10, NOW) == 9


def test_a_used_up_policy_holds_the_number():
    behavior = {**FREE, "scaleUp": rules(policy("Pods", 2))}
    history = History(ups=[(ago(10), 5)])
    decision = decide(history, Limits(1, 20, behavior), 10, 15, NOW)
    assert (decision.replicas, decision.limited, decision.limit[0]) == (10, True, "ScaleUpLimit")
    slow = {**FREE, "scaleDown": rules(policy("Pods", 2))}
    assert decide(History(), Limits(1, 20, slow), 10, 3, NOW).limit[0] == "ScaleDownLimit"
    assert decide(History(), Limits(9, 20, slow), 10, 3, NOW).limit[0] == "TooFewReplicas"


def test_changes_are_remembered_only_for_policies_and_only_as_long_as_they_ask():
    history = History()
    record(history, None, 1, 5, NOW)
    assert not history.ups
    record(history, FREE, 1, 5, ago(100))
    record(history, FREE, 5, 2, NOW)
    assert (history.ups, history.downs) == ([], [(NOW, 3)])


@given(
    current=st.integers(1, 40),
    desired=st.lists(st.integers(0, 60), min_size=1, max_size=10),
    behavior=st.sampled_from([None, FREE, {**FREE, "scaleUp": rules(policy("Pods", 3), window=45)}]),
)
def test_the_number_stays_within_the_limits_and_moves_towards_what_was_asked(current, desired, behavior):
    limits, history = Limits(2, 30, behavior), History()
    replicas = min(max(current, 2), 30)
    for step, wanted in enumerate(desired):
        moment = NOW + timedelta(seconds=15 * step)
        decision = decide(history, limits, replicas, wanted, moment)
        highest = max([wanted, replicas, *(each for _, each in history.recommendations)])
        assert 2 <= decision.replicas <= min(highest, 30) or decision.replicas == 2
        record(history, behavior, replicas, decision.replicas, moment)
        replicas = decision.replicas
