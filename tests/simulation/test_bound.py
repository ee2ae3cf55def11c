import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from sparsam.scheduling.curvetables import STEPS, envelope
from sparsam.scheduling.policy import KubeDefault
from sparsam.scheduling.watts import SparsamPolicy
from sparsam.simulation.bound import Demand, Servers, fleet_cost, least_joules, least_watts
from sparsam.simulation.world import Rules, World
from tests.simulation.test_world import servers, trace

LOADS = np.linspace(0.0, 1.0, STEPS + 1)
INF = float("inf")


def curves(*shapes):
    return np.array([idle + (full - idle) * LOADS**power for idle, full, power in shapes])


def fleet_of(fleet, capacity, asleep=None):
    return Servers.of(fleet, capacity, capacity, asleep)


def test_equal_servers_are_one_kind():
    servers_of = fleet_of(curves((100, 200, 1), (90, 300, 1), (100, 200, 1)), np.array([1000.0] * 3))
    assert sorted(servers_of.counts) == [1, 2]


def test_the_cheapest_server_is_filled_first():
    cost = fleet_cost(fleet_of(curves((100, 200, 1), (100, 300, 1)), np.array([1000.0, 1000.0])))
    assert cost.at(np.array([0.0, 500.0, 1000.0, 1500.0, 9000.0])).tolist() == pytest.approx([200, 250, 300, 400, 500])


def test_servers_that_may_sleep_draw_little_without_work():
    fleet = curves((100, 200, 1), (100, 300, 1))
    cost = fleet_cost(fleet_of(fleet, np.array([1000.0, 1000.0]), np.array([10.0, 10.0])))
    # At full load the first has cost 190 W beyond sleep, so half its load costs half of that.
    assert cost.at(np.array([0.0, 500.0, 1000.0])).tolist() == pytest.approx([20.0, 115.0, 210.0])


SHAPES = st.lists(
    st.tuples(st.floats(10, 200), st.floats(0, 300), st.floats(0.3, 3.0)).map(lambda s: (s[0], s[0] + s[1], s[2])),
    min_size=1, max_size=4,
)  # fmt: skip


@settings(deadline=None)
@given(SHAPES, st.floats(0, 1), st.booleans())
def test_it_is_what_a_linear_program_finds(shapes, share, sleeps):
    fleet = curves(*shapes)
    capacity = 1000.0 * np.arange(1, len(shapes) + 1)
    asleep = np.full(len(shapes), 5.0) if sleeps else None
    rate = share * capacity.sum()
    found = fleet_cost(fleet_of(fleet, capacity, asleep)).at(np.array([rate]))[0]
    # Convex combinations of the points of every curve, with sleep as one more.
    points = [np.concatenate(([0.0], LOADS[1:])) for _ in shapes]
    costs = [np.concatenate(([5.0 if sleeps else curve[0]], curve[1:])) for curve in fleet]
    weights = len(points[0])
    equal = np.zeros((len(shapes) + 1, weights * len(shapes)))
    for n, at in enumerate(points):
        equal[n, n * weights : (n + 1) * weights] = 1.0
        equal[-1, n * weights : (n + 1) * weights] = at * capacity[n]
    solved = linprog(np.concatenate(costs), A_eq=equal, b_eq=[*[1.0] * len(shapes), rate], bounds=(0, None))
    assert found == pytest.approx(solved.fun, rel=1e-6)


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


@settings(deadline=None, max_examples=60)
@given(
    SHAPES,
    st.lists(st.floats(0.5, 2.0), min_size=4, max_size=4),
    st.tuples(st.floats(0, 0.9), st.floats(0, 0.9), st.floats(0, 1)),
)
def test_requests_keep_servers_awake_as_a_linear_program_says(shapes, speeds, shares):
    fleet = np.array([envelope(curve) for curve in curves(*shapes)])
    count = len(fleet)
    cores = 1000.0 * np.arange(1, count + 1)
    capacity = cores * np.array(speeds[:count])
    services = shares[0] * cores.sum() * 0.5
    batch = shares[1] * capacity.sum() * 0.5
    used = shares[2] * min(services, capacity.sum() * 0.5) + batch * 0.5
    # For each server: its share asleep, convex weights of its steps of load, shares requested by services and batch.
    width = STEPS + 4
    costs = np.concatenate([[5.0, *curve, 0.0, 0.0] for curve in fleet])
    whole, room = np.zeros((count, width * count)), np.zeros((count, width * count))
    demands = np.zeros((3, width * count))
    for n in range(count):
        at = n * width
        whole[n, at : at + STEPS + 2] = 1.0
        room[n, at + 1 : at + STEPS + 2] = -1.0
        room[n, at + STEPS + 2 : at + STEPS + 4] = 1.0
        demands[0, at + 1 : at + STEPS + 2] = LOADS * capacity[n]
        demands[1, at + STEPS + 2] = cores[n]
        demands[2, at + STEPS + 3] = capacity[n]
    solved = linprog(
        costs,
        A_eq=np.vstack((whole, demands)),
        b_eq=[*[1.0] * count, used, services, batch],
        A_ub=room,
        b_ub=[0.0] * count,
    )
    asleep = np.full(count, 5.0)
    demand = Demand(*(np.array([each]) for each in (1.0, used, services, batch)))
    [found] = least_watts(Servers.of(fleet, capacity, cores, asleep), demand)
    assert found <= solved.fun * (1 + 1e-6)
    assert found >= 0.9 * solved.fun
