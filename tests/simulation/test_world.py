import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsam.scheduling.policy import KubeDefault, MostAllocated
from sparsam.scheduling.watts import SparsamPolicy, Weights
from sparsam.simulation.energy import ASLEEP
from sparsam.simulation.trace import Trace, UsageSeries
from sparsam.simulation.world import Rules, World
from tests.support.scheduling import node, pod, watts

INF = float("inf")


def sleepy():
    return SparsamPolicy(Weights(sleeps=True))


def servers(count, cpu="4", sleep="suspended", **annotations):
    extra = {"power.sparsam.dev/sleep-state": sleep} if sleep else {}
    return [node(f"n{n}", cpu=cpu, annotations={**watts(100, 200), **extra, **annotations}) for n in range(count)]


def trace(*pods, horizon=1000.0, series=None):
    """Pods as (arrival, duration, cpu) or with (batch, usage, series, spec) as a mapping behind."""
    pods = sorted(pods, key=lambda each: each[0])
    more = [each[3] if len(each) > 3 else {} for each in pods]
    templates = tuple(
        pod("t", cpu=each[2], **{"restartPolicy": "Never" if m.get("batch") else "Always", **m.get("spec", {})})
        for each, m in zip(pods, more, strict=True)
    )
    return Trace(
        name="test",
        templates=templates,
        template=np.arange(len(pods)),
        arrival_seconds=np.array([each[0] for each in pods], float),
        duration_seconds=np.array([each[1] for each in pods], float),
        batch=np.array([bool(m.get("batch")) for m in more]),
        usage=np.array([m.get("usage", 1.0) for m in more], float),
        series=np.array([m.get("series", -1) for m in more]),
        usage_series=series,
        horizon_seconds=horizon,
    )


def test_one_server_at_constant_load_is_watts_times_seconds():
    history = World(servers(1), trace((0, INF, "2")), KubeDefault()).run()
    assert history.joules.sum() == pytest.approx(150.0 * 1000.0)
    assert history.core_seconds[0] == pytest.approx(2000.0)


def test_a_pod_counts_from_its_arrival_to_its_end():
    history = World(servers(1), trace((100, 300, "4")), KubeDefault()).run()
    assert (history.started_seconds[0], history.ended_seconds[0]) == (100.0, 400.0)
    assert history.joules.sum() == pytest.approx(100.0 * 1000.0 + 100.0 * 300.0)


def test_a_pod_that_finds_no_room_waits_for_an_end():
    history = World(servers(1), trace((0, 300, "3"), (10, 100, "2")), KubeDefault()).run()
    assert history.started_seconds[1] == 300.0
    assert history.ended_seconds[1] == 400.0


def test_a_pod_larger_than_any_node_never_runs():
    history = World(servers(2), trace((0, 300, "9")), KubeDefault()).run()
    assert np.isnan(history.started_seconds[0])
    assert history.core_seconds[0] == 0.0


def test_batch_ends_sooner_on_a_faster_core_and_a_service_uses_less_of_it():
    fast = servers(1, **{"power.sparsam.dev/core-speed": "2"})
    batch = World(fast, trace((0, 400, "4", {"batch": True})), SparsamPolicy()).run()
    assert batch.ended_seconds[0] == 200.0
    assert batch.core_seconds[0] == pytest.approx(1600.0)
    assert batch.joules.sum() == pytest.approx(200.0 * 200.0 + 100.0 * 800.0)
    service = World(fast, trace((0, 400, "4")), SparsamPolicy()).run()
    assert service.ended_seconds[0] == 400.0
    assert service.joules.sum() == pytest.approx(150.0 * 400.0 + 100.0 * 600.0)


def test_more_important_pods_take_the_place_of_others_which_run_again():
    low = (0, 500, "4", {"spec": {"priority": 0}})
    high = (100, 200, "4", {"spec": {"priority": 10}})
    history = World(servers(1), trace(low, high), KubeDefault()).run()
    assert history.evictions == 1
    assert history.ended_seconds[1] == pytest.approx(300.0, abs=15.0)
    assert history.ended_seconds[0] == pytest.approx(700.0, abs=15.0)


def test_use_follows_its_series_from_the_pods_arrival():
    series = UsageSeries(300.0, np.array([[0.0, 1.0]], np.float32))
    used = trace((60, INF, "4", {"series": 0, "usage": 0.5}), horizon=1260.0, series=series)
    history = World(servers(1), used, KubeDefault(), Rules(samples=21)).run()
    # By the series' start: nothing for 300 s, all for 300 s, and round again.
    assert history.load[2, 0] == 0.0
    assert history.load[7, 0] == 1.0
    assert history.load[12, 0] == 0.0


def test_nodes_without_work_sleep_and_wake_for_pods_that_need_them():
    burst = [(5000, 1000, "4") for _ in range(6)]
    many = trace((0, INF, "1"), *burst, horizon=10_000.0)
    asleep = World(servers(8), many, sleepy(), Rules(sleeps=True)).run()
    awake = World(servers(8), many, SparsamPolicy(), Rules(sleeps=False)).run()
    assert asleep.joules.sum() < 0.6 * awake.joules.sum()
    assert asleep.transitions >= 6
    assert (asleep.state[-1] == ASLEEP).sum() >= 6
    waited = asleep.started_seconds - many.arrival_seconds
    # A tick, the way up, and a pause of the queue.
    assert waited.max() < 60 + 15 + 10 + 1
    assert np.isfinite(asleep.ended_seconds[1:]).all()
    assert (awake.started_seconds == many.arrival_seconds).all()


def test_nodes_that_cannot_sleep_do_not():
    history = World(servers(3, sleep=""), trace((0, INF, "1")), sleepy(), Rules(sleeps=True)).run()
    assert history.transitions == 0
    assert history.joules.sum() == pytest.approx(3 * 100.0 * 1000.0 + 25.0 * 1000.0)


def test_a_reserve_stays_awake_for_pods_as_large_as_those_that_came():
    many = trace((0, 60, "4"), (5000, 60, "4"), horizon=6000.0)
    history = World(servers(4), many, sleepy(), Rules(sleeps=True)).run()
    assert history.started_seconds[1] == 5000.0
    assert (history.state[-1] != ASLEEP).sum() == 1


def test_the_same_world_has_the_same_history():
    def run():
        chance = np.random.default_rng(5)
        pods = [(t, d, f"{int(c)}m") for t, d, c in zip(*chance.uniform(100, 900, (3, 60)), strict=True)]
        return World(servers(5), trace(*pods), sleepy(), Rules(sleeps=True)).run()

    one, two = run(), run()
    assert one.joules.tobytes() == two.joules.tobytes()
    assert (one.node == two.node).all()


PODS = st.lists(
    st.tuples(st.floats(0, 900), st.floats(1, 2000), st.integers(1, 50).map(lambda tenths: f"{tenths}00m"),
              st.fixed_dictionaries({"batch": st.booleans()})),
    min_size=1, max_size=25,
)  # fmt: skip


@settings(deadline=None)
@given(PODS, st.sampled_from([KubeDefault, SparsamPolicy, MostAllocated]), st.booleans())
def test_work_and_energy_are_conserved(pods, policy, sleeps):
    arrivals = trace(*pods)
    world = World(servers(3, **{"power.sparsam.dev/core-speed": "1.5"}), arrivals, policy(), Rules(sleeps=sleeps))
    history = world.run()
    assert history.parts.total == pytest.approx(history.joules.sum())
    ended = np.isfinite(history.ended_seconds)
    cores = np.array([world.snapshot.request_vector(each)[0] for each in world.demands])[arrivals.template] / 1000.0
    asked = cores * arrivals.duration_seconds
    assert history.core_seconds[ended] == pytest.approx(asked[ended])
    assert (history.core_seconds[~ended] <= asked[~ended] + 1e-6).all()
    assert (history.started_seconds[ended] >= arrivals.arrival_seconds[ended]).all()
    if not sleeps:
        assert (history.transitions, history.parts.asleep) == (0, 0.0)
