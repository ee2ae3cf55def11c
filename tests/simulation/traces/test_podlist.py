import copy
import math

import pytest

from sparsam.simulation.trace import BadTrace
from sparsam.simulation.traces.podlist import read_pods
from tests.support.traces import exported_pod as pod


def ended(*finished: str, phase="Succeeded", **fields):
    states = [{"state": {"terminated": {"finishedAt": moment}}} for moment in finished]
    return pod(phase=phase, containerStatuses=states, owner=("Job", "sum"), **fields)


def changed(**places):
    found = copy.deepcopy(pod())
    for path, value in places.items():
        *parents, last = path.split("__")
        target = found
        for parent in parents:
            target = target[parent]
        target[last] = value
    return found


def read(*pods, **options):
    return read_pods(pods, "pods.json", **options)


def test_times_count_from_the_first_creation():
    found = read(
        pod(created="2026-11-23T10:00:30Z"),
        ended(
            "2026-11-23T10:03:00Z",
            "2026-11-23T10:05:00Z",
            created="2026-11-23T12:00:00+02:00",
            startTime="2026-11-23T10:01:00Z",
        ),
    ).trace
    assert found.arrival_seconds.tolist() == [0.0, 30.0]
    assert found.duration_seconds.tolist() == [240.0, math.inf]
    assert found.batch.tolist() == [True, False]
    assert found.horizon_seconds == 300.0


def test_what_decides_placement_is_kept_and_the_rest_is_not():
    found = read(pod(), pod(name="web-2")).trace
    assert len(found.templates) == 1
    [template] = found.templates
    assert template["metadata"] == {
        "namespace": "shop",
        "labels": {"app": "web"},
        "ownerReferences": [{"apiVersion": "", "kind": "ReplicaSet", "name": "web", "controller": True}],
    }
    assert template["spec"]["nodeSelector"] == {"disk": "ssd"}
    assert template["spec"]["priority"] == 7
    assert not {"nodeName", "volumes", "serviceAccountName"} & template["spec"].keys()
    assert found.requested_cores.tolist() == [0.25, 0.25]


def test_pods_that_come_with_a_node_are_left_out():
    static = changed(metadata__name="static-1", metadata__annotations={"kubernetes.io/config.mirror": "x"})
    reading = read(pod(), pod(name="agent-1", owner=("DaemonSet", "agent")), static)
    assert len(reading.trace) == 1
    assert reading.skipped == 0
    with pytest.raises(BadTrace, match=r"pods.json: items: not one pod that came with work"):
        read(static)


def test_a_pod_that_is_being_deleted_stays_until_then():
    going = changed(metadata__deletionTimestamp="2026-11-23T10:10:00Z")
    assert read(going).trace.duration_seconds.tolist() == [600.0]


def test_an_evicted_pod_without_containers_ended_with_its_conditions():
    moments = ("2026-11-23T10:00:05Z", "2026-11-23T10:07:00Z")
    evicted = pod(phase="Failed", reason="Evicted", conditions=[{"lastTransitionTime": moment} for moment in moments])
    assert read(evicted).trace.duration_seconds.tolist() == [420.0]


@pytest.mark.parametrize(
    ("item", "complaint"),
    [
        ("web", "metadata: is missing: this is no Pod"),
        ({"metadata": {}, "spec": {}}, "status: is missing"),
        (changed(metadata__creationTimestamp=None), "metadata.creationTimestamp: is empty"),
        (changed(metadata__creationTimestamp="yesterday"), "metadata.creationTimestamp: 'yesterday' is no time"),
        (changed(metadata__creationTimestamp="2026-11-23T10:00:00"), "metadata.creationTimestamp: .* has no time zone"),
        (changed(status__startTime="2026-11-23T09:00:00Z"), "status.startTime: is before the pod was created"),
        (ended("2026-11-23T09:00:00Z"), "status: the pod ended before it started"),
        (ended(), "status.containerStatuses: Succeeded, but nothing tells"),
        (changed(spec__containers=7), "the item: is no v1 Pod: TypeError"),
        (changed(spec__containers=[{"resources": {"requests": {"cpu": "x"}}}]), "spec: not a quantity: 'x'"),
        (changed(metadata__ownerReferences=["web"]), "the item: is no v1 Pod: AttributeError"),
    ],
)
def test_a_wrong_item_is_named_and_left_out_if_lenient(item, complaint):
    with pytest.raises(BadTrace, match=f"pods.json: row 2, {complaint}"):
        read(pod(), item)
    assert read(pod(), item, lenient=True).skipped == 1


def test_a_pod_that_is_exported_twice_is_named_but_one_that_was_made_again_is_another():
    with pytest.raises(BadTrace, match=r"pods.json: row 2, metadata.name: 'web-1' is in a row before it, too"):
        read(pod(), pod())
    assert len(read(pod(), pod(created="2026-11-23T10:00:30Z", startTime="2026-11-23T10:00:40Z")).trace) == 2
