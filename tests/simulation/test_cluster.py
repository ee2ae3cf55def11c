from datetime import UTC, datetime

import numpy as np
import pytest

from sparsam.simulation.cluster import Use, read_cluster
from sparsam.simulation.clusternodes import EmptyCluster
from tests.support.scheduling import node, pod, watts

START = 1_700_000_000.0
DAY = 86400.0


def at(seconds):
    return datetime.fromtimestamp(START + seconds, UTC).isoformat()


def running(name, where, cpu="1", owner="", **extra):
    made = pod(name, cpu=cpu, **extra.pop("spec", {}))
    made["spec"]["nodeName"] = where
    made["status"] = {"phase": "Running", "startTime": at(0), **extra.pop("status", {})}
    made["metadata"].update({"creationTimestamp": at(0), **extra})
    if owner:
        kind, _, controller = owner.partition("/")
        reference = {"apiVersion": "v1", "kind": kind, "name": controller, "controller": True}
        made["metadata"]["ownerReferences"] = [reference]
    return made


def use(**cores):
    """Of pods by name; a day in steps of six hours."""
    pods = {("default", name): np.atleast_1d(np.array(values, float)) for name, values in cores.items()}
    return Use(START, START + DAY, DAY / 4, "a test", pods=pods)


def test_services_are_there_throughout_and_follow_their_series_without_gaps():
    nodes = [node("n0"), node("n1")]
    cluster = read_cluster(nodes, [running("a", "n1", cpu="2")], use(a=[0.5, np.nan, 1.5, 1.0]))
    trace = cluster.trace
    assert (trace.arrival_seconds.tolist(), trace.duration_seconds.tolist()) == ([0.0], [np.inf])
    assert cluster.node.tolist() == [1]
    assert trace.usage_series.values.tolist() == [[0.25, 0.5, 0.75, 0.5]]
    assert trace.usage.tolist() == pytest.approx([0.5])
    assert cluster.assumed_use == 0.0


def test_use_that_nobody_saw_is_half_of_what_is_requested_and_that_is_said():
    cluster = read_cluster([node("n0")], [running("a", "n0", cpu="2"), running("b", "n0", cpu="1")], use(b=[1.0]))
    assert sorted(cluster.trace.usage.tolist()) == [0.5, 1.0]
    assert cluster.assumed_use == pytest.approx(0.5)
    assert any(each.startswith("CPU use of 1 pods was not seen") for each in cluster.notes)


def test_pods_of_jobs_are_batch_at_the_times_at_which_they_ran():
    ended = {"containerStatuses": [{"state": {"terminated": {"finishedAt": at(7200)}}}]}
    pods = [
        running("done", "n0", owner="Job/j", status={"phase": "Succeeded", "startTime": at(3600), **ended}),
        running("early", "n0", owner="Job/j", status={"phase": "Succeeded", "startTime": at(-3600), **ended}),
        running("runs", "n0", owner="Job/j", status={"startTime": at(80000)}),
        running("late", "n0", owner="Job/j", status={"startTime": at(2 * DAY)}),
    ]
    trace = read_cluster([node("n0", annotations={"power.sparsam.dev/core-speed": "2"})], pods, use()).trace
    assert trace.batch.all()
    assert trace.arrival_seconds.tolist() == [0.0, 3600.0, 80000.0]
    # On a core of speed 1 they would have taken twice as long.
    assert trace.duration_seconds.tolist() == [14400.0, 7200.0, np.inf]


def test_a_service_on_a_fast_core_would_use_more_of_a_slow_one():
    fast = node("n0", annotations={"power.sparsam.dev/core-speed": "2"})
    assert read_cluster([fast], [running("a", "n0")], use(a=[0.25])).trace.usage.tolist() == [0.5]


def test_pods_that_come_with_a_node_are_part_of_it():
    pods = [
        running("a", "n0"),
        running("agent", "n0", cpu="1", owner="DaemonSet/agent"),
        running("static", "n0", cpu="500m", annotations={"kubernetes.io/config.mirror": "x"}),
    ]
    one = read_cluster([node("n0", annotations=watts(100, 200))], pods, use(a=[1.0], agent=[1.0], static=[0.0]))
    assert len(one.trace) == 1
    assert one.nodes[0]["status"]["allocatable"]["cpu"] == "2500m"
    assert one.nodes[0]["status"]["allocatable"]["pods"] == "108"
    assert one.own_cores == 1.0


def test_use_of_a_node_that_no_pod_explains_is_its_own():
    seen = use(a=[1.0])
    seen.nodes["n0"] = 1.75
    assert read_cluster([node("n0")], [running("a", "n0")], seen).own_cores == pytest.approx(0.75)


def test_what_cannot_be_replayed_is_left_out_and_counted():
    lost = node("n1")
    lost["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    bare = {"metadata": {"name": "n2"}, "status": {}}
    pods = [
        running("a", "n0"),
        running("b", "n1"),
        {**running("c", ""), "spec": pod("c", cpu="1")["spec"]},
        running("evicted", "n0", status={"phase": "Failed"}),
    ]
    cluster = read_cluster([node("n0"), lost, bare], pods, use())
    assert (len(cluster.nodes), len(cluster.trace)) == (1, 1)
    assert cluster.notes[:5] == (
        "1 nodes that are not ready were left out",
        "1 nodes were left out: n2 states no cpu, memory and pods",
        "1 pods that wait for a node were left out",
        "1 pods on nodes that were left out were left out too",
        "1 pods that failed and were replaced were left out",
    )


@pytest.mark.parametrize(
    ("nodes", "pods", "why"),
    [
        ([], [], "the cluster has no nodes"),
        ([{"metadata": {"name": "n"}, "status": {}}], [], "no node can be used: n states no cpu, memory and pods"),
        ([node("n0")], [], "no pod ran"),
    ],
)
def test_a_cluster_without_nodes_or_pods_is_refused(nodes, pods, why):
    with pytest.raises(EmptyCluster, match=why):
        read_cluster(nodes, pods, use())
