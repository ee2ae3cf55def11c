from hypothesis import given
from hypothesis import strategies as st

from sparsam.apiserver.usage import NODE, Look, Sample, node_metrics, parse, pod_metrics, use_between

TEXT = """# HELP node_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the node in core-seconds
# TYPE node_cpu_usage_seconds_total counter
node_cpu_usage_seconds_total {cpu} {time}
node_memory_working_set_bytes 2.097152e+06 {time}
pod_cpu_usage_seconds_total{{namespace="a",pod="p"}} 9.0 {time}
container_cpu_usage_seconds_total{{container="c",namespace="a",pod="p"}} {cpu} {time}
container_memory_working_set_bytes{{container="c",namespace="a",pod="p"}} 4096 {time}
container_start_time_seconds{{container="c",namespace="a",pod="p"}} 1.7e+09
scrape_error 0
"""
POD = {
    "metadata": {"name": "p", "namespace": "a", "labels": {"app": "x"}},
    "status": {"containerStatuses": [{"name": "c", "state": {"running": {}}}]},
}


def looks(first=1.0, second=1.5):
    return parse(TEXT.format(cpu=first, time=1_000_000)), parse(TEXT.format(cpu=second, time=1_002_000))


def test_a_look_holds_the_node_and_each_container():
    older, _ = looks()
    assert older.samples == {NODE: Sample(1_000_000, 1.0, 2097152), ("a", "p", "c"): Sample(1_000_000, 1.0, 4096)}


def test_use_is_the_rate_over_the_time_between_the_readings():
    assert node_metrics({"metadata": {"name": "n"}}, *looks()) == {
        "kind": "NodeMetrics",
        "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": {"name": "n", "creationTimestamp": "1970-01-01T00:16:42Z"},
        "timestamp": "1970-01-01T00:16:42Z",
        "window": "2s",
        "usage": {"cpu": "250000000n", "memory": "2048Ki"},
    }


def test_a_pod_has_its_labels_and_its_containers():
    metrics = pod_metrics(POD, *looks())
    assert metrics["metadata"]["labels"] == {"app": "x"}
    assert metrics["containers"] == [{"name": "c", "usage": {"cpu": "250000000n", "memory": "4Ki"}}]


def test_a_pod_without_a_rate_for_every_running_container_is_left_out():
    other = {"name": "new", "state": {"running": {}}}
    pod = POD | {"status": {"containerStatuses": [*POD["status"]["containerStatuses"], other]}}
    assert pod_metrics(pod, *looks()) is None


def test_a_container_that_has_ended_does_not_hold_its_pod_back():
    other = {"name": "old", "state": {"terminated": {}}}
    pod = POD | {"status": {"containerStatuses": [*POD["status"]["containerStatuses"], other]}}
    assert len(pod_metrics(pod, *looks())["containers"]) == 1


def test_a_counter_that_began_anew_gives_no_rate():
    assert use_between(*looks(first=7.0, second=1.0), NODE) is None


@given(st.text())
def test_any_text_is_read_without_complaint(text):
    assert isinstance(parse(text), Look)
