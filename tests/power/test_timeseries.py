import csv

import numpy as np
import pytest

from sparsam.power.counters import CYCLES, INSTRUCTIONS, MISSES, UTILIZATION
from sparsam.power.timeseries import RAPL, calibrate, doubt, infer_threads, part, validate
from tests.conftest import DATA


def table(name):
    with (DATA / name).open() as file:
        rows = list(csv.DictReader(file))

    def column(name):
        return np.array([float(row[name]) for row in rows])

    return column


def recorded():
    column = table("node_counters_nx12.csv")
    busy = column("bpf_cpu_time_raw")
    columns = {
        UTILIZATION: busy / (1000.0 * infer_threads(busy)),
        CYCLES: column("cpu_cycles_per_s"),
        INSTRUCTIONS: column("cpu_instructions_per_s"),
        MISSES: column("cache_misses_per_s"),
        RAPL: column("rapl_package_w") + column("rapl_dram_w"),
    }
    return columns, column("node_power_w")


@pytest.mark.needs_data
@pytest.mark.parametrize(("share", "most"), [(0.4, 4.0), (0.5, 4.0), (0.6, 4.2), (0.7, 4.7), (0.8, 4.8)])
def test_counters_hold_on_a_later_workload_that_was_never_seen(share, most):
    scores = {score.family: score for score in validate(*recorded(), share=share)}
    assert scores["counters"].chosen
    assert scores["counters"].pooled_mape_pct <= most
    assert scores["counters"].pooled_mape_pct < scores["utilization"].pooled_mape_pct / 2.0


@pytest.mark.needs_data
def test_counters_hold_on_an_earlier_workload_too():
    columns, watts = recorded()
    cut = int(0.4 * len(watts))
    before = part(columns, slice(0, cut)), watts[:cut]
    scores = {score.family: score for score in validate(part(columns, slice(cut, None)), watts[cut:], before)}
    assert scores["counters"].pooled_mape_pct <= 3.5
    assert scores["utilization"].pooled_mape_pct >= 10.0


@pytest.mark.needs_data
def test_hardly_any_short_stretch_of_the_recording_misleads_the_counters():
    columns, watts = recorded()
    worse = 0
    for start in range(0, 1200, 200):
        window = slice(start, start + 300)
        scores = {score.family: score for score in validate(part(columns, window), watts[window])}
        worse += scores["counters"].pooled_mape_pct > scores["utilization"].pooled_mape_pct
    assert worse == 0


@pytest.mark.needs_data
def test_watts_of_several_machines_are_told_from_those_of_one():
    column = table("node_counters_linux415.csv")
    busy = column("kubelet_cpu_delta_raw")
    columns = {UTILIZATION: busy / busy.max(), RAPL: column("rapl_package_w") + column("rapl_dram_w")}
    watts = column("node_power_w")
    assert "sum of several machines" in doubt(columns, watts)
    scores = {score.family: score for score in validate(columns, watts)}
    assert set(scores) == {"utilization", RAPL}
    assert scores["utilization"].chosen
    # What looks like an error of one per cent is a twelfth of all that the watts ever move.
    assert scores["utilization"].pooled_mape_pct < 2.0
    assert scores["utilization"].span_error_pct > 5.0
    columns, watts = recorded()
    assert doubt(columns, watts) == ""


def test_a_node_below_its_own_processors_is_doubted():
    watts = np.full(100, 100.0)
    assert "one meter is wrong" in doubt({RAPL: np.full(100, 120.0)}, watts)
    assert doubt({RAPL: np.full(100, 80.0)}, watts) == ""
    assert doubt({}, watts) == ""


def made_up(samples=400, *, broken=False):
    chance = np.random.default_rng(5)
    load = np.repeat(chance.random(samples // 10), 10)
    cycles = chance.random(samples) * 5e10 if broken else 5e10 * load
    columns = {UTILIZATION: load, CYCLES: cycles, INSTRUCTIONS: cycles, MISSES: cycles / 1e4}
    return columns, 100.0 + 200.0 * load + chance.normal(0, 1, samples)


def test_counters_that_mislead_fall_back_on_utilization():
    scores = {score.family: score for score in validate(*made_up(broken=True))}
    assert scores["utilization"].chosen
    assert scores["counters"].pooled_mape_pct == scores["utilization"].pooled_mape_pct


def test_a_calibrated_model_states_an_error_that_holds_and_misleading_counters_give_none():
    columns, watts = made_up()
    model = calibrate(columns, watts)
    low, high = model.interval(columns)
    assert 0.8 <= ((low <= watts) & (watts <= high)).mean() <= 1.0
    assert calibrate(*made_up(broken=True)) is None


def test_another_series_can_be_the_test():
    scores = validate(*made_up(), made_up(200))
    assert {score.family for score in scores} == {"utilization", "counters"}
    assert all(score.pooled_mape_pct < 3.0 for score in scores)


def test_a_series_too_short_to_judge_by_is_refused():
    with pytest.raises(ValueError, match="to judge by"):
        validate(*made_up(40))
    with pytest.raises(ValueError, match="training share"):
        validate(*made_up(), share=0.99)


def test_threads_come_in_pairs_and_no_utilization_exceeds_one():
    assert infer_threads(np.array([100.0, 29_170.0])) == 30
    assert infer_threads(np.array([0.0])) == 2
