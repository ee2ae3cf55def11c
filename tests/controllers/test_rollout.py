"""Sizes during a rollout: bounds always hold, and every rollout ends."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.controllers.rollout import SetSize, bounds, new_set_size, old_set_sizes, proportional_sizes, resolve


def spec(replicas, surge="25%", unavailable="25%", kind="RollingUpdate"):
    rolling = {"maxSurge": surge, "maxUnavailable": unavailable}
    return {"replicas": replicas, "strategy": {"type": kind, "rollingUpdate": rolling}}


@pytest.mark.parametrize(
    ("value", "total", "up", "pods"),
    [(3, 10, True, 3), ("25%", 10, True, 3), ("25%", 10, False, 2), ("100%", 3, False, 3), ("0%", 3, True, 0)],
)
def test_percentages_round_up_for_surge_and_down_for_unavailability(value, total, up, pods):
    assert resolve(value, total, up=up) == pods


def test_two_zeros_would_block_for_ever_so_one_may_be_unavailable():
    assert bounds(spec(3, 0, 0)) == (0, 1)
    assert bounds(spec(1, "0%", "25%")) == (0, 1)


AMOUNT = st.integers(0, 5) | st.sampled_from(["0%", "10%", "25%", "50%", "100%"])
SPECS = st.builds(spec, st.integers(0, 12), AMOUNT, AMOUNT)


@st.composite
def sets(draw):
    wanted = draw(st.integers(0, 12))
    return SetSize("s", wanted, draw(st.integers(0, wanted)), created=f"2026-01-0{draw(st.integers(1, 9))}T00:00:00Z")


OLD = st.lists(sets(), max_size=3).map(lambda found: [replace(each, name=f"old-{n}") for n, each in enumerate(found)])
NEW = sets().map(lambda found: replace(found, name="new"))


@given(SPECS, NEW, OLD)
def test_a_step_up_never_exceeds_replicas_plus_surge(deployment, new, old):
    surge, _ = bounds(deployment)
    size = new_set_size(deployment, new, old)
    total = size + sum(each.wanted for each in old)
    before = new.wanted + sum(each.wanted for each in old)
    assert size <= max(deployment["replicas"], 0)
    assert total <= max(deployment["replicas"] + surge, before)


@given(SPECS, NEW, OLD)
def test_a_step_down_never_takes_available_pods_below_the_least(deployment, new, old):
    _, unavailable = bounds(deployment)
    least = deployment["replicas"] - unavailable
    sizes = old_set_sizes(deployment, new, old)
    available_before = new.available + sum(each.available for each in old)
    # Broken pods are taken first; then available ones go.
    available_after = new.available + sum(min(each.available, sizes.get(each.name, each.wanted)) for each in old)
    assert all(0 <= sizes[each.name] < each.wanted for each in old if each.name in sizes)
    assert available_after >= min(least, available_before)


@given(SPECS, NEW, OLD, st.booleans())
def test_every_rollout_ends_with_the_new_set_alone(deployment, new, old, recreate):
    if recreate:
        deployment["strategy"]["type"] = "Recreate"
    for _ in range(200):
        # A kind world: whatever is wanted becomes available.
        new = replace(new, available=new.wanted)
        old = [replace(each, available=each.wanted) for each in old]
        sizes = old_set_sizes(deployment, new, old)
        size = new_set_size(deployment, new, old)
        if size != new.wanted:
            new = replace(new, wanted=size, available=min(new.available, size))
            continue
        if not sizes:
            break
        old = [replace(each, wanted=sizes.get(each.name, each.wanted)) for each in old]
    assert new.wanted == deployment["replicas"]
    assert sum(each.wanted for each in old) == 0


def test_recreate_waits_until_the_old_pods_are_gone():
    deployment = spec(3, kind="Recreate")
    old = [SetSize("old", 3, 3)]
    assert new_set_size(deployment, SetSize("new", 0, 0), old) == 0
    assert old_set_sizes(deployment, SetSize("new", 0, 0), old) == {"old": 0}
    assert new_set_size(deployment, SetSize("new", 0, 0), [SetSize("old", 0, 0)]) == 3


def test_resizing_in_the_middle_of_a_rollout_is_shared_in_proportion():
    deployment = spec(20, 5, 2)
    grown = proportional_sizes(deployment, [SetSize("new", 5, 2, "2"), SetSize("old", 10, 8, "1")])
    assert sum({"new": 5, "old": 10, **grown}.values()) == 25
    assert grown["old"] > grown["new"]


@given(SPECS, st.lists(sets(), min_size=1, max_size=4))
def test_shares_add_up_to_what_is_allowed(deployment, found):
    given_sets = [replace(each, name=str(n)) for n, each in enumerate(found)]
    active = [each for each in given_sets if each.wanted]
    sizes = proportional_sizes(deployment, given_sets)
    if not active:
        assert sizes == {}
        return
    surge, _ = bounds(deployment)
    allowed = deployment["replicas"] + (surge if deployment["replicas"] else 0)
    assert sum(sizes.get(each.name, each.wanted) for each in active) == allowed
