from datetime import UTC, datetime, timedelta

import pytest

from sparsam.hollow import objects
from sparsam.hollow.node import State

START = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def slim(annotations=None, command=(), cpu="500m", **spec):
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu}}, "command": list(command)}
    return objects.slim_pod(
        {
            "metadata": {
                "name": "p",
                "namespace": "default",
                "uid": "u",
                "resourceVersion": "1",
                "annotations": {"long": "x" * 1000, **(annotations or {})},
                "managedFields": [{}],
            },
            "spec": {"nodeName": "n", "containers": [container], "volumes": [{}], **spec},
            "status": {"phase": "Running", "startTime": "2030-01-02T03:04:05Z", "conditions": []},
        }
    )


def test_of_a_pod_only_what_matters_is_kept():
    pod = slim()
    assert set(pod["metadata"]) == {"name", "namespace", "uid", "resourceVersion", "annotations"}
    assert pod["metadata"]["annotations"] == {}
    assert pod["status"] == {"phase": "Running", "startTime": "2030-01-02T03:04:05Z"}


@pytest.mark.parametrize(("usage", "expected"), [(None, 500.0), ("1250m", 1250.0), ("nonsense", 500.0)])
def test_a_pod_uses_what_it_says_or_else_its_request(usage, expected):
    assert slim({"sparsam.dev/cpu-usage": usage} if usage else {})["millicores"] == expected


@pytest.mark.parametrize(
    ("pod", "seconds"),
    [
        (slim(), None),
        (slim({"sparsam.dev/run-seconds": "90"}), 90),
        (slim({"sparsam.dev/run-seconds": "soon"}), None),
        (slim({"sparsam.dev/work-seconds": "90"}), 45),
        (slim(command=["sleep", "30"], restartPolicy="Never"), 30),
        (slim(command=["/bin/sleep", "30"], restartPolicy="OnFailure"), 30),
        (slim(command=["sleep", "30"], restartPolicy="Always"), None),
        (slim(command=["sleep", "infinity"], restartPolicy="Never"), None),
        (slim(activeDeadlineSeconds=20), 20),
    ],
)
def test_a_pod_ends_when_it_says(pod, seconds):
    expected = None if seconds is None else START + timedelta(seconds=seconds)
    assert objects.ends_at(pod, speed=2.0) == expected


def test_a_pod_that_has_run_its_time_has_succeeded():
    status = objects.ended_status(slim({"sparsam.dev/run-seconds": "5"}), START)
    assert status["phase"] == "Succeeded"
    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 0


def test_a_pod_that_its_deadline_ends_has_failed():
    status = objects.ended_status(slim(activeDeadlineSeconds=5), START)
    assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded")
    assert status["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 137


def test_a_node_is_ready_while_awake_and_says_why_not_otherwise():
    ready = {state: objects.node_conditions(state, START)[-1] for state in (State.AWAKE, State.ASLEEP)}
    assert (ready[State.AWAKE]["status"], ready[State.AWAKE]["reason"]) == ("True", "KubeletReady")
    assert (ready[State.ASLEEP]["status"], ready[State.ASLEEP]["reason"]) == ("False", "NodeAsleep")


def test_addresses_are_unlike_and_never_run_out():
    assert objects.address_of_node(0) == "100.64.0.1"
    assert len({objects.address_of_node(number) for number in range(5000)}) == 5000
    assert objects.address_of_pod(0) == objects.address_of_pod((1 << 20) - 2)
