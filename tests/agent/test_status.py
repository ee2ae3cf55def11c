"""Phases, conditions and container states as upstream reports them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sparsam.agent.lifecycle import decide
from sparsam.agent.podstate import TEARDOWN, Decision, PodView, Progress, Waiting
from sparsam.agent.runtime import Container, ContainerState, Sandbox
from sparsam.agent.status import pod_status, status_patch
from tests.support.agent import container, pod

NOW = 1_800_000_000.0
SANDBOX = Sandbox("s0", "uid", "web", "default", 0, True, NOW, ("10.0.0.2",))
NODE_IPS = ("192.0.2.7",)


def run(name: str = "main", state: str = "running", **fields: Any) -> Container:
    defaults = {"id": f"{name}-0", "sandbox_id": "s0", "uid": "uid", "attempt": 0, "created_seconds": NOW - 60}
    defaults |= {"started_seconds": NOW - 60, "finished_seconds": NOW - 1 if state == "exited" else 0.0}
    return Container(name=name, state=ContainerState(state), **{**defaults, **fields})


def status_of(*runs: Container, wanted: Any = None, decision: Decision | None = None, **fields: Any) -> dict[str, Any]:
    view = PodView(pod=wanted or pod(), containers=runs, **{"sandboxes": (SANDBOX,), "volumes_ready": True, **fields})
    return pod_status(view, decision or decide(view, NOW), NODE_IPS, NOW)


def condition(status: dict[str, Any], kind: str) -> dict[str, Any]:
    return next(c for c in status["conditions"] if c["type"] == kind)


@pytest.mark.parametrize(
    ("policy", "runs", "phase"),
    [
        ("Always", [], "Pending"),
        ("Always", [run()], "Running"),
        ("Always", [run(state="exited", exit_code=1)], "Running"),
        ("OnFailure", [run(state="exited", exit_code=1)], "Running"),
        ("OnFailure", [run(state="exited", exit_code=0)], "Succeeded"),
        ("Never", [run(state="exited", exit_code=0)], "Succeeded"),
        ("Never", [run(state="exited", exit_code=2)], "Failed"),
        ("Never", [run(state="unknown")], "Failed"),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(f"{r.state.value}{r.exit_code}" for r in value) or "none",
)  # fmt: skip
def test_phase_follows_containers_and_policy(policy: str, runs: list[Container], phase: str):
    assert status_of(*runs, wanted=pod(restartPolicy=policy))["phase"] == phase


def test_a_pod_that_starts_is_pending_and_creating():
    status = status_of(sandboxes=())
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert condition(status, "PodReadyToStartContainers")["status"] == "False"
    assert condition(status, "Ready")["reason"] == "ContainersNotReady"
    assert condition(status, "Ready")["message"] == "containers with unready status: [main]"
    assert "podIP" not in status
    assert status["hostIP"] == "192.0.2.7"


def test_a_running_pod_is_ready_with_its_addresses():
    status = status_of(run(image="busybox:1", image_id="sha256:1"))
    (main,) = status["containerStatuses"]
    assert main["ready"] is True
    assert main["started"] is True
    assert main["containerID"] == "containerd://main-0"
    assert main["state"]["running"]["startedAt"] == "2027-01-15T07:59:00Z"
    assert condition(status, "Ready")["status"] == "True"
    assert status["podIPs"] == [{"ip": "10.0.0.2"}]
    assert status["observedGeneration"] == 1


def test_a_container_is_ready_only_when_its_probes_say_so():
    wanted = pod(container(readinessProbe={"tcpSocket": {"port": 1}}, startupProbe={"tcpSocket": {"port": 1}}))
    for progress, started, ready in (
        (Progress(), False, False),
        (Progress(container_id="main-0", started=True), True, False),
        (Progress(container_id="main-0", started=True, ready=True), True, True),
        (Progress(container_id="main-before", started=True, ready=True), False, False),
    ):
        (main,) = status_of(run(), wanted=wanted, progress={"main": progress})["containerStatuses"]
        assert (main["started"], main["ready"]) == (started, ready)


def test_a_crash_loop_shows_the_wait_and_how_the_last_run_ended():
    ended = run(state="exited", exit_code=137, attempt=3, reason="OOMKilled", message="last words")
    progress = {"main": Progress(backoff_seconds=40.0, backoff_at=NOW - 2)}
    (main,) = status_of(ended, progress=progress)["containerStatuses"]
    assert main["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert main["restartCount"] == 3
    assert main["lastState"]["terminated"] == {
        "exitCode": 137,
        "reason": "OOMKilled",
        "message": "last words",
        "startedAt": "2027-01-15T07:59:00Z",
        "finishedAt": "2027-01-15T07:59:59Z",
        "containerID": "containerd://main-0",
    }


def test_init_containers_hold_the_pod_in_initialization():
    wanted = pod(initContainers=[container("one")])
    status = status_of(run("one"), wanted=wanted)
    assert status["phase"] == "Pending"
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert condition(status, "Initialized")["message"] == "containers with incomplete status: [one]"
    done = status_of(run(), run("one", "exited"), wanted=wanted)
    assert done["initContainerStatuses"][0]["ready"] is True
    assert condition(done, "Initialized")["status"] == "True"


def test_a_succeeded_pod_says_completed():
    status = status_of(run(state="exited"), wanted=pod(restartPolicy="Never"))
    assert condition(status, "Ready")["reason"] == "PodCompleted"
    assert condition(status, "Initialized")["reason"] == "PodCompleted"


def test_a_terminal_phase_stays_even_when_the_engine_forgot_the_containers():
    wanted = pod(restartPolicy="Never")
    ended = status_of(run(state="exited"), wanted=wanted)
    later = status_of(wanted={**wanted, "status": ended}, sandboxes=())
    assert later["phase"] == "Succeeded"
    assert later["containerStatuses"] == ended["containerStatuses"]


def test_deleted_pods_end_as_succeeded_or_failed():
    for exit_code, phase in ((0, "Succeeded"), (137, "Failed")):
        status = status_of(run(state="exited", exit_code=exit_code), terminating=True)
        assert status["phase"] == phase
        assert "terminated" in status["containerStatuses"][0]["state"]


@pytest.mark.parametrize("runs", [[], [run(state="created")]], ids=["none", "created"])
def test_a_pod_that_is_torn_down_before_it_ran_has_failed(runs: list[Container]):
    assert status_of(*runs, terminating=True)["phase"] == "Pending"
    status = status_of(*runs, terminating=True, busy=frozenset({TEARDOWN}))
    assert status["phase"] == "Failed"
    state = status["containerStatuses"][0]["state"]["terminated"]
    assert (state["reason"], state["exitCode"]) == ("ContainerStatusUnknown", 137)
    assert state["message"] == "The container could not be located when the pod was terminated"


def test_containers_that_waited_for_an_init_container_stay_waiting_when_their_pod_is_torn_down():
    wanted = pod(initContainers=[{"name": "first", "image": "i"}])
    status = status_of(wanted=wanted, terminating=True, busy=frozenset({TEARDOWN}))
    assert status["phase"] == "Failed"
    assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}
    assert "waiting" in status["initContainerStatuses"][0]["state"]


def test_readiness_gates_of_others_hold_back_ready():
    wanted = pod(readinessGates=[{"conditionType": "example.com/feature"}])
    absent = condition(status_of(run(), wanted=wanted), "Ready")
    assert absent["reason"] == "ReadinessGatesNotReady"
    wanted["status"]["conditions"] = [{"type": "example.com/feature", "status": "False"}]
    status = status_of(run(), wanted=wanted)
    expected = 'the status of pod readiness gate "example.com/feature" is not "True", but False'
    assert condition(status, "Ready")["message"] == expected
    assert condition(status, "ContainersReady")["status"] == "True"
    assert condition(status, "example.com/feature") == {"type": "example.com/feature", "status": "False"}


def test_a_failed_deadline_gives_reason_and_message_once_the_containers_ended():
    decision = Decision(failure=Waiting("DeadlineExceeded", "Pod was active too long"))
    status = status_of(run(), decision=decision)
    assert status["phase"] == "Running"
    assert "reason" not in status
    status = status_of(run(state="exited"), decision=decision)
    assert (status["phase"], status["reason"], status["message"]) == (
        "Failed",
        "DeadlineExceeded",
        "Pod was active too long",
    )


def test_the_same_view_gives_no_patch_and_keeps_transition_times():
    wanted = pod()
    view = PodView(pod=wanted, containers=(run(),), sandboxes=(SANDBOX,), volumes_ready=True)
    first = pod_status(view, decide(view, NOW), NODE_IPS, NOW)
    again = replace(view, pod={**wanted, "status": first})
    assert status_patch(first, pod_status(again, decide(again, NOW + 50), NODE_IPS, NOW + 50)) == {}


def test_a_patch_names_changes_and_removals_only():
    old = {"phase": "Pending", "reason": "X", "conditions": [{"type": "Ready", "status": "False", "reason": "Y"}]}
    new = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    assert status_patch(old, new) == {
        "phase": "Running",
        "reason": None,
        "conditions": [{"type": "Ready", "status": "True", "reason": None}],
    }


def test_how_the_last_run_ended_stands_when_the_engine_forgot_it():
    before = {
        "name": "main",
        "containerID": "containerd://main-0",
        "restartCount": 0,
        "state": {"terminated": {"exitCode": 42}},
    }
    wanted = pod()
    wanted["status"] = {"phase": "Running", "containerStatuses": [before]}
    forgotten = status_of(wanted=wanted)["containerStatuses"][0]
    assert forgotten["lastState"] == {"terminated": {"exitCode": 42}}
    assert (forgotten["restartCount"], forgotten["containerID"]) == (0, "containerd://main-0")
    again = run(id="main-1", attempt=1)
    running = status_of(again, wanted=wanted)["containerStatuses"][0]
    assert (running["restartCount"], running["lastState"]) == (1, {"terminated": {"exitCode": 42}})
    wanted["status"]["containerStatuses"] = [running]
    ended = status_of(run(state="exited", id="main-1", attempt=1), wanted=wanted)["containerStatuses"][0]
    assert ended["state"]["terminated"]["exitCode"] == 0
    assert ended["lastState"] == {"terminated": {"exitCode": 42}}
