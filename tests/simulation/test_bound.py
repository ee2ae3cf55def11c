from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsam.scheduling.curvetables import STEPS, envelope
from sparsam.scheduling.policy import KubeDefault
from sparsam.scheduling.watts import SparsamPolicy
from sparsam.simulation.bound import Demand, Servers, demand_over_time, least_joules, least_watts
from sparsam.simulation.world import Rules, World
from tests.simulation.test_world import servers, trace

LOADS = np.linspace(0.0, 1.0, STEPS + 1)


def curves(*shapes):
    return np.array([idle + (full - idle) * LOADS**power for idle, full, power in shapes])


def fleet_of(fleet, capacity, asleep=None):
    return Servers.of(fleet, capacity, capacity, asleep)


def watts_for(servers_of, used, *, services=None, batch=False):
    """The bound for one class that uses so many millicores of as many, or of so many that it requests."""
    asked = used if services is None else services
    demand = Demand(
        np.ones(1), np.array([[asked]]), np.array([[used / asked if asked else 0.0]]), np.array([int(batch)])
    )
    return least_watts(servers_of, demand)[0]


def test_equal_servers_are_one_kind():
    servers_of = fleet_of(curves((100, 200, 1), (90, 300, 1), (100, 200, 1)), np.array([1000.0] * 3))
    assert sorted(servers_of.counts) == [1, 2]


def test_the_cheapest_server_is_filled_first():
    of = fleet_of(curves((100, 200, 1), (100, 300, 1)), np.array([1000.0, 1000.0]))
    found = [watts_for(of, used) for used in (0.0, 500.0, 1000.0, 1500.0, 9000.0)]
    assert found == pytest.approx([200, 250, 300, 400, 500])


def test_servers_that_may_sleep_draw_little_without_work():
    of = fleet_of(curves((100, 200, 1), (100, 300, 1)), np.array([1000.0, 1000.0]), np.array([10.0, 10.0]))
    # At full load the first has cost 190 W beyond sleep, so half its load costs half of that.
    assert [watts_for(of, used) for used in (0.0, 500.0, 1000.0)] == pytest.approx([20.0, 115.0, 210.0])


def test_requests_keep_servers_awake_whatever_they_use():
    of = fleet_of(curves((100, 200, 1), (100, 200, 1)), np.array([1000.0, 1000.0]), np.array([10.0, 10.0]))
    assert watts_for(of, 0.0, services=1000.0) == pytest.approx(110.0)
    assert watts_for(of, 100.0, services=1000.0) == pytest.approx(120.0)
    assert watts_for(of, 100.0, services=2000.0) == pytest.approx(210.0)


SHAPES = st.lists(
    st.tuples(st.floats(10, 200), st.floats(0, 300), st.floats(0.3, 3.0)).map(lambda s: (s[0], s[0] + s[1], s[2])),
    min_size=1, max_size=4,
)  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(SHAPES, st.floats(0, 1), st.booleans())
def test_work_that_uses_what_it_requests_is_a_knapsack_of_convex_steps(shapes, share, sleeps):
    """The slow twin: fill the steps of all servers' envelopes, the cheapest first."""
    fleet, capacity = curves(*shapes), 1000.0 * np.arange(1, len(shapes) + 1)
    asleep = np.full(len(shapes), 5.0) if sleeps else None
    used = share * capacity.sum()
    lines = [np.concatenate(([min(5.0, curve[0]) if sleeps else curve[0]], curve[1:])) for curve in fleet]
    steps = [
        (rise / (size / STEPS), size / STEPS)
        for line, size in zip(lines, capacity, strict=True)
        for rise in np.diff(envelope(line))
    ]
    left, total = used, sum(line[0] for line in lines)
    for price, size in sorted(steps):
        total += price * min(size, left)
        left -= min(size, left)
    found = watts_for(fleet_of(fleet, capacity, asleep), used, batch=True)
    # The program's steps of load are wider than the curves', and its lines below them.
    assert 0.97 * total <= found <= total * (1 + 1e-6)


@settings(deadline=None, max_examples=40)
@given(SHAPES, st.floats(0, 1), st.floats(0, 1), st.integers(0, 1000))
def test_no_way_to_place_divisible_work_costs_less(shapes, asked, use, seed):
    chance = np.random.default_rng(seed)
    fleet, capacity = curves(*shapes), 1000.0 * np.arange(1, len(shapes) + 1)
    shares = chance.dirichlet(np.ones(len(shapes))) * asked
    requested = np.minimum(shares * capacity.sum(), capacity)
    drawn = sum(
        np.interp(use * each / size, LOADS, curve) if each > 0 else 5.0
        for each, size, curve in zip(requested, capacity, fleet, strict=True)
    )
    total = requested.sum()
    found = watts_for(fleet_of(fleet, capacity, np.full(len(shapes), 5.0)), use * total, services=total)
    assert found <= drawn * (1 + 1e-6)


def test_a_server_full_of_requests_that_are_little_used_cannot_be_at_full_load():
    """Where curves bend downwards, half load on both servers costs more than full load on one of them."""
    of = fleet_of(curves((100, 300, 0.5), (100, 300, 0.5)), np.array([1000.0, 1000.0]))
    assert watts_for(of, 1000.0, batch=True) == pytest.approx(400.0)
    assert watts_for(of, 1000.0, services=2000.0) == pytest.approx(2 * (100 + 200 * 0.5**0.5))


@settings(deadline=None, max_examples=25)
@given(SHAPES, st.integers(2, 40), st.integers(0, 1000), st.booleans())
def test_no_placement_of_pods_of_many_uses_costs_less(shapes, pods, seed, batch):
    chance = np.random.default_rng(seed)
    fleet, capacity = curves(*shapes), 1000.0 * np.arange(1, len(shapes) + 1)
    requests, use = chance.integers(1, 200, pods), np.round(chance.random(pods) ** 2, 3)
    where = chance.integers(0, len(shapes), pods)
    kept = requests.cumsum() < 1e9
    for row, size in enumerate(capacity):
        kept &= (where != row) | (np.where(where == row, requests, 0).cumsum() <= size)
    load = np.bincount(where[kept], (requests * use)[kept], len(shapes)) / capacity
    drawn = sum(np.interp(each, LOADS, curve) for each, curve in zip(load, fleet, strict=True))
    many = replace(
        trace(*[(0.0, 600.0, f"{int(each)}m") for each in requests[kept]]),
        usage=use[kept],
        batch=np.full(kept.sum(), batch),
        horizon_seconds=300.0,
    )
    of = fleet_of(fleet, capacity)
    demand = demand_over_time(many, requests[kept].astype(float), of)
    assert (demand.requested * demand.used_ratio).sum() == pytest.approx(float((requests * use)[kept].sum()))
    assert least_watts(of, demand)[0] <= drawn * (1 + 1e-6)


def test_no_policy_beats_it_and_ours_comes_near():
    nodes = servers(6)
    chance = np.random.default_rng(3)
    many = trace(*[(t, 400, f"{int(c)}m") for t, c in zip(*chance.uniform(200, 900, (2, 40)), strict=True)])
    for policy in (KubeDefault, SparsamPolicy):
        for sleeps in (False, True):
            world = World(nodes, many, policy(), Rules(sleeps=sleeps))
            history = world.run()
            assert (history.started_seconds == many.arrival_seconds).all() or sleeps
            bound = least_joules(world.servers(), world.demand())
            assert bound <= history.joules.sum() * (1 + 1e-9)
            if policy is SparsamPolicy and not sleeps:
                assert history.joules.sum() <= 1.01 * bound


def test_the_envelope_of_a_convex_curve_is_the_curve():
    [curve] = curves((100, 200, 2))
    assert envelope(curve) == pytest.approx(curve)
