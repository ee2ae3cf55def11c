import dataclasses
import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sparsam.simulation.trace import BadTrace, Trace, UsageSeries, group_of, merged
from tests.support.traces import pod, trace, traces

SMALL, LARGE = pod("1", "1Gi"), pod("8", "4Gi")


def story(found: Trace) -> Counter:
    """Each pod as a value, whatever its place and the numbers of its template and series."""
    return Counter(
        (
            repr(found.templates[found.template[row]]["spec"]),
            found.arrival_seconds[row],
            found.duration_seconds[row],
            bool(found.batch[row]),
            repr(found.usage[row]),
            tuple(reading(found, row)),
        )
        for row in range(len(found))
    )


def reading(found: Trace, row: int, steps: int = 12) -> list[float]:
    """What the pod reads from its series in its first steps."""
    if found.usage_series is None or found.series[row] < 0:
        return []
    line = found.usage_series.values[found.series[row]]
    return [float(line[step % len(line)]) for step in range(steps)]


def test_what_is_requested_counts_within_the_horizon_only():
    found = trace((SMALL, 0, 50), (LARGE, 50, math.inf), (SMALL, 90, 1000))
    assert found.core_seconds.tolist() == [50.0, 400.0, 10.0]
    assert found.mean_requested_cores() == 4.6


@given(traces(), st.floats(0.01, 5.0))
def test_scaling_hits_the_load_but_for_one_unit_of_work_and_splits_no_group(found, load):
    assume(found.core_seconds.sum() > 1.0)
    cores = found.mean_requested_cores()
    scaled = found.scaled(load, cores)
    groups = [group_of(each) for each in found.templates]
    by_group = Counter()
    for row in range(len(found)):
        by_group[groups[found.template[row]] or row] += found.core_seconds[row]
    off = abs(scaled.core_seconds.sum() - load * found.core_seconds.sum())
    assert off <= max(by_group.values()) * (1.0 + 1e-9)
    whole = Counter(groups[number] for number in found.template)
    members = Counter(group_of(scaled.templates[number]) for number in scaled.template)
    for group, count in members.items():
        assert group is None or count in whole.values()


def test_scaling_down_keeps_the_mix_of_sizes_and_the_shape_of_the_day():
    rows = [(pod(f"{100 + size}m"), float(second), 10.0) for second in range(1000) for size in (0, 900)]
    scaled = trace(*rows, horizon=1000.0).scaled(0.1, trace(*rows, horizon=1000.0).mean_requested_cores())
    assert Counter(scaled.requested_cores.tolist()) == {0.1: 100, 1.0: 100}
    assert np.histogram(scaled.arrival_seconds, 10)[0].tolist() == [20] * 10


def test_scaling_up_brings_every_pod_again_in_another_group():
    found = trace((pod("1", group="a"), 0, 100), (pod("1", group="a"), 0, 100)).scaled(2.0, 2.0)
    assert [group_of(found.templates[number])[1] for number in found.template] == ["a", "a", "a-2", "a-2"]


def test_scaling_stops_at_the_cards_where_they_are_scarcer_than_cores():
    carded = pod("1", **{"nvidia.com/gpu": "1"})
    rows = [(carded, 0.0, math.inf)] * 10
    assert len(trace(*rows, horizon=10.0).scaled(0.5, 100.0)) == 50
    assert len(trace(*rows, horizon=10.0).scaled(0.5, 100.0, 10.0)) == 5
    assert len(trace(*rows, horizon=10.0).scaled(0.5, 10.0, 100.0)) == 5


def test_a_trace_that_requests_nothing_cannot_be_scaled():
    with pytest.raises(BadTrace, match="nobody requests any"):
        trace((pod(), 0, 1)).scaled(0.5, 10.0)
    with pytest.raises(ValueError, match="cannot scale to a load of nan"):
        trace((SMALL, 0, 1)).scaled(math.nan, 10.0)


@given(traces(), st.floats(0.01, 100.0))
def test_compressed_time_runs_as_much_at_once(found, factor):
    sooner = found.compressed(factor)
    assert sooner.mean_requested_cores() == pytest.approx(found.mean_requested_cores())
    np.testing.assert_allclose(sooner.arrival_seconds * factor, found.arrival_seconds)
    np.testing.assert_allclose(sooner.duration_seconds * factor, found.duration_seconds)
    if found.usage_series:
        assert sooner.usage_series.step_seconds == pytest.approx(found.usage_series.step_seconds / factor)


def test_compressed_arrivals_raise_the_load():
    found = trace((SMALL, 0, 10), (SMALL, 80, 5))
    denser = found.compressed(2.0, arrivals_only=True)
    assert denser.mean_requested_cores() == pytest.approx(2.0 * found.mean_requested_cores())
    assert denser.duration_seconds.tolist() == [10.0, 5.0]


@given(traces(), st.integers(1, 4))
def test_each_round_of_a_repetition_is_the_trace_again_but_for_what_never_ends(found, times):
    again = found.repeated(times)
    assert again.horizon_seconds == pytest.approx(times * found.horizon_seconds)
    ends = np.isfinite(found.duration_seconds)
    rounds = [found.arrival_seconds] + [
        found.arrival_seconds[ends] + k * found.horizon_seconds for k in range(1, times)
    ]
    np.testing.assert_allclose(again.arrival_seconds, np.sort(np.concatenate(rounds)))
    stays = Counter(found.duration_seconds.tolist()), Counter(found.duration_seconds[ends].tolist())
    assert Counter(again.duration_seconds.tolist()) == sum([stays[1]] * (times - 1), stays[0])


def test_a_service_that_never_ends_is_not_there_twice():
    found = trace((SMALL, 0, math.inf), (LARGE, 10, 20)).repeated(3)
    assert found.arrival_seconds.tolist() == [0.0, 10.0, 110.0, 210.0]
    assert found.mean_requested_cores() == pytest.approx(
        trace((SMALL, 0, math.inf), (LARGE, 10, 20)).mean_requested_cores()
    )


@given(traces(), st.floats(0.1, 100.0))
def test_in_order_keeps_the_queue_and_lets_nobody_go(found, interval):
    queue = found.in_order(interval)
    assert queue.template.tolist() == found.template.tolist()
    assert np.isinf(queue.duration_seconds).all()
    np.testing.assert_allclose(np.diff(queue.arrival_seconds), interval)
    assert queue.horizon_seconds == len(found) * interval


@given(st.lists(traces(), min_size=1, max_size=3))
def test_merging_loses_no_pod_and_changes_none(several):
    found = merged(several)
    assert story(found) == sum((story(each) for each in several), Counter())
    assert found.horizon_seconds == max(each.horizon_seconds for each in several)
    assert all(before <= after for before, after in pairwise(found.arrival_seconds))


def test_merged_traces_share_templates_but_no_groups():
    lonely, grouped = trace((SMALL, 0, 1)), trace((pod("1", group="a"), 0, 1), (SMALL, 5, 1))
    found = merged([lonely, grouped, grouped])
    assert len(found.templates) == 3
    assert {group_of(each) for each in found.templates} == {None, ("default", "a"), ("default", "a-3")}


def test_series_of_other_steps_or_without_a_common_period_are_not_merged():
    def with_series(step, width):
        return trace(usage_series=UsageSeries(step, np.zeros((1, width), np.float32)))

    with pytest.raises(ValueError, match="steps of 10, 20 s cannot be merged"):
        merged([with_series(10.0, 2), with_series(20.0, 2)])
    with pytest.raises(ValueError, match="repeat after 999900 steps only"):
        merged([with_series(10.0, 9999), *[with_series(10.0, 100) for _ in range(300)]])
    with pytest.raises(ValueError, match="no traces"):
        merged([])


@given(traces(), st.floats(0.0, 1e6))
def test_shifting_moves_all_times_alike(found, seconds):
    later = found.shifted(seconds)
    np.testing.assert_allclose(later.arrival_seconds - found.arrival_seconds, seconds, atol=1e-6)
    assert later.mean_requested_cores() * later.horizon_seconds == pytest.approx(
        found.mean_requested_cores() * found.horizon_seconds, rel=1e-6, abs=1e-3
    )


def test_nothing_is_shifted_to_before_the_start():
    with pytest.raises(BadTrace, match="small: row 1, arrival_seconds: -2 is not within"):
        trace((SMALL, 5, 1)).shifted(-7.0)


@given(traces(), st.floats(1.0, 999.0))
def test_the_two_parts_of_a_trace_hold_its_work(found, cut):
    before, after = found.between(0.0, cut), found.between(cut, found.horizon_seconds)
    assert before.core_seconds.sum() + after.core_seconds.sum() == pytest.approx(found.core_seconds.sum())


def test_a_pod_that_runs_when_a_part_starts_reads_on_in_its_series():
    series = UsageSeries(10.0, np.array([[0, 1, 2, 3]], np.float32))
    found = trace((SMALL, 5, 90), (SMALL, 60, 90), series=np.zeros(2, np.int64), usage_series=series)
    part = found.between(40.0, 80.0)
    assert [reading(part, row, 4) for row in range(2)] == [[3, 0, 1, 2], [0, 1, 2, 3]]
    assert part.arrival_seconds.tolist() == [0.0, 20.0]
    assert part.duration_seconds.tolist() == [55.0, 90.0]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"arrival_seconds": np.array([0.0, np.nan])}, "row 2, arrival_seconds: nan is not within"),
        ({"arrival_seconds": np.array([7.0, 3.0])}, "row 2, arrival_seconds: 3 is before the pod above"),
        ({"arrival_seconds": np.array([7.0, 101.0])}, "row 2, arrival_seconds: 101 is not within"),
        ({"duration_seconds": np.array([-1.0, 3.0])}, "row 1, duration_seconds: -1 is not a time to stay"),
        ({"duration_seconds": np.array([1.0, np.nan])}, "row 2, duration_seconds: nan is not a time to stay"),
        ({"duration_seconds": np.array([1.0])}, r"duration_seconds: \(1,\) values for 2 pods"),
        ({"usage": np.array([-0.1, 0.1])}, "row 1, usage: -0.1 is not a share"),
        ({"usage": np.array([np.inf, 0.1])}, "row 1, usage: inf is not a share"),
        ({"template": np.array([0, 9])}, "row 2, template: 9 is none of the 2 templates"),
        ({"series": np.array([0, -1])}, "row 1, series: 0 is none of the 0 usage series"),
        ({"horizon_seconds": np.nan}, "small: horizon_seconds: nan is no time"),
        ({"usage_series": UsageSeries(0.0, np.zeros((1, 1), np.float32))}, "usage_series: shape"),
        ({"usage_series": UsageSeries(1.0, np.full((1, 1), np.nan, np.float32))}, "usage_series: a value is no share"),
    ],
)
def test_what_contradicts_itself_is_refused_with_its_place(change, complaint):
    sound = trace((SMALL, 0, 1), (LARGE, 1, 1))
    with pytest.raises(BadTrace, match=complaint):
        dataclasses.replace(sound, **change)


def test_a_pod_that_no_node_could_ever_hold_is_named():
    found = trace((SMALL, 0, 1), (LARGE, 1, 1))
    found.check_fits([{"cpu": 4000, "memory": 1 << 40}, {"cpu": 8000, "memory": 4 << 30}])
    with pytest.raises(BadTrace, match="small: row 2, requests cpu: 8000, but the largest node has 4000 beside"):
        found.check_fits([{"cpu": 4000, "memory": 1 << 40}, {"cpu": 64000, "memory": 1 << 20}])
    with pytest.raises(BadTrace, match=r"row 1, requests nvidia.com/gpu: 1, but the largest node has 0"):
        trace((pod("1", **{"nvidia.com/gpu": "1"}), 0, 1)).check_fits([{"cpu": 4000}])
    with pytest.raises(BadTrace, match="row 1, requests cpu: 1000, but the largest node has 0"):
        found.check_fits([])
