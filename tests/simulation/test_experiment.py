from dataclasses import replace

import numpy as np
import pytest

from sparsam.simulation.experiment import Run, compare, play
from tests.simulation.test_world import servers, trace

RUN = Run("kube-default", False, 0, 100.0, 60.0, 50.0, 0, 0, 0.0, None, 0, 0, 0)


def test_a_saving_is_stated_beside_the_first_policy_of_the_same_seed():
    ours = replace(RUN, policy="sparsam", energy_kwh=70.0)
    rows = compare([RUN, ours])
    assert [(row.policy, row.saved_ratio) for row in rows] == [("kube-default", 0.0), ("sparsam", pytest.approx(0.3))]
    assert rows[1].bound_ratio == pytest.approx(0.4)
    assert rows[1].saved_error is None


def test_several_seeds_have_a_confidence_interval():
    runs = [
        replace(RUN, policy=policy, seed=seed, energy_kwh=energy)
        for policy, energies in (("kube-default", (100, 200, 300)), ("sparsam", (70, 150, 210)))
        for seed, energy in enumerate(energies)
    ]
    row = compare(runs)[1]
    saved = np.array([0.3, 0.25, 0.3])
    assert row.saved_ratio == pytest.approx(saved.mean())
    assert row.saved_error == pytest.approx(4.30 * saved.std(ddof=1) / 3**0.5)


@pytest.mark.parametrize(
    ("change", "why"),
    [({"work_done": 49.0}, "49.0 core hours done, 50.0 under kube-default"), ({"dropped": 3}, "3 pods never ran, 0")],
)
def test_unequal_work_is_not_compared(change, why):
    row = compare([RUN, replace(RUN, policy="sparsam", energy_kwh=10.0, **change)])[1]
    assert row.saved_ratio is None
    assert row.why_not.startswith(why)


def test_a_run_says_what_was_drawn_done_and_late():
    pods = [(0, 3600, "4"), (0, 100, "4"), (10, 100, "4"), (0, 100, "9")]
    nodes = servers(2)
    run, history = play(nodes, trace(*pods, horizon=3600.0), "kube-default", sleeps=False)
    assert run.energy_kwh == pytest.approx(history.joules.sum() / 3.6e6)
    assert run.work_done == pytest.approx((4 * 3600 + 400 + 400) / 3600.0)
    assert (run.late, run.dropped) == (2, 1)
    assert run.bound_kwh <= run.energy_kwh
    assert run.decision_p99_ms is None


def test_a_timer_tells_how_long_decisions_take_and_changes_nothing_else():
    ticks = iter(range(10_000))
    pods = trace((0, 100, "1"), (5, 100, "1"))
    timed, _ = play(servers(2), pods, "sparsam", sleeps=True, timer=lambda: next(ticks) / 1000.0)
    plain, _ = play(servers(2), pods, "sparsam", sleeps=True)
    assert timed.decision_p99_ms == pytest.approx(1.0)
    assert replace(timed, decision_p99_ms=None) == plain
