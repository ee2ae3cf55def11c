import re

from sparsam.controllers.scheduling.metrics import FAST_BUCKETS, Metrics

LINE = re.compile(r"^(\w+)(\{[^}]*\})? (\S+)$")


def test_what_is_counted_is_prometheus_text():
    metrics = Metrics()
    metrics.add("scheduler_schedule_attempts_total", result="scheduled", profile="p")
    metrics.add("scheduler_schedule_attempts_total", 2.0, result="scheduled", profile="p")
    metrics.set("scheduler_pending_pods", 3, queue="active")
    for seconds in (0.0001, 0.0001, 5000.0):
        metrics.observe("scheduler_scheduling_attempt_duration_seconds", seconds, FAST_BUCKETS, result="scheduled")
    lines = metrics.text().splitlines()
    assert all(line.startswith("# ") or LINE.match(line) for line in lines)
    assert 'scheduler_schedule_attempts_total{profile="p",result="scheduled"} 3.0' in lines
    assert 'scheduler_pending_pods{queue="active"} 3' in lines
    name = "scheduler_scheduling_attempt_duration_seconds"
    assert f'{name}_bucket{{result="scheduled",le="0.000125"}} 2' in lines
    assert f'{name}_bucket{{result="scheduled",le="+Inf"}} 3' in lines
    assert f'{name}_count{{result="scheduled"}} 3' in lines
    assert lines.index(f"# TYPE {name} histogram") < lines.index(f'{name}_count{{result="scheduled"}} 3')


def test_buckets_are_cumulative():
    metrics = Metrics()
    for power in range(20):
        metrics.observe("scheduler_scheduling_attempt_duration_seconds", 0.0001 * 2.0**power, FAST_BUCKETS)
    counts = [int(line.split()[-1]) for line in metrics.text().splitlines() if "_bucket" in line]
    assert counts == sorted(counts)
    assert counts[-1] == 20
