"""In-place resize: what is to do, and what the status says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sparsam.agent.podstate import PodView
from sparsam.agent.resizing import Room, reported_resources, resize_conditions, resize_state, too_small
from sparsam.agent.resources import container_resources
from sparsam.agent.runtime import Container, ContainerState, Sandbox
from tests.support.agent import container, pod

ROOM = Room({"cpu": "2", "memory": "1Gi"}, 1 << 30, ())


def sized(cpu: str, **fields: Any) -> dict[str, Any]:
    return pod(container(resources={"requests": {"cpu": cpu, "memory": "64Mi"}}, **fields))


def view(wanted: dict[str, Any]) -> PodView:
    run = Container("main-0", "s0", "u", "main", 0, ContainerState.RUNNING, 1.0)
    return PodView(
        pod=wanted, sandboxes=(Sandbox("s0", "u", "p", "default", 0, True, 1.0, ("10.0.0.2",)),), containers=(run,)
    )


def size(wanted: dict[str, Any]) -> dict[str, Any]:
    return {"main-0": container_resources(wanted["spec"]["containers"][0], "Burstable", 1 << 30)}


def test_a_container_that_is_as_wanted_is_left_alone():
    same = sized("500m")
    assert not resize_state(view(same), size(same), ROOM).steps
    assert not resize_state(view(same), {}, ROOM).steps


def test_a_change_is_carried_out_in_place_or_by_a_restart():
    (step,) = resize_state(view(sized("700m")), size(sized("500m")), ROOM).steps
    assert not step.restart
    policy = [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]
    (step,) = resize_state(view(sized("700m", resizePolicy=policy)), size(sized("500m")), ROOM).steps
    assert step.restart


def test_runs_of_another_agent_are_set_once_more():
    grown = sized("700m")
    grown["metadata"]["generation"] = 2
    (step,) = resize_state(view(grown), {}, ROOM).steps
    assert not step.restart


def test_without_room_it_waits_or_is_hopeless():
    other = sized("1500m")
    deferred = resize_state(view(sized("1")), size(sized("500m")), Room(ROOM.allocatable, 1 << 30, [other]))
    assert (deferred.steps, deferred.reason) == ((), "Deferred")
    assert deferred.message == "Node didn't have enough resource: cpu, requested: 1000, used: 1500, capacity: 2000"
    hopeless = resize_state(view(sized("3")), size(sized("500m")), ROOM)
    assert hopeless.reason == "Infeasible"
    assert hopeless.message == "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000"
    (condition,) = resize_conditions(sized("3"), hopeless, "now")
    assert (condition["type"], condition["status"], condition["reason"]) == ("PodResizePending", "True", "Infeasible")


def test_a_limit_below_what_is_used_is_not_set_and_said():
    assert not too_small("main", 0, 5)
    assert not too_small("main", 5, 5)
    fault = too_small("main", 4, 5)
    assert fault == 'attempting to set container "main" memory limits (4) below current usage (5)'
    growing = resize_state(view(sized("700m")), size(sized("500m")), ROOM)
    (condition,) = resize_conditions(sized("700m"), growing, "now")
    assert (condition["type"], "reason" in condition) == ("PodResizeInProgress", False)
    (condition,) = resize_conditions(sized("700m"), replace(growing, fault=fault), "now")
    assert (condition["reason"], condition["message"]) == ("Error", fault)


def test_the_status_keeps_the_old_size_until_the_new_one_holds():
    grown = sized("1")
    before = {"requests": {"cpu": "500m", "memory": "64Mi"}}
    entry = {"name": "main", "resources": before, "allocatedResources": before["requests"]}
    grown["status"]["containerStatuses"] = [entry]
    waiting = resize_state(view(grown), size(sized("500m")), ROOM)
    assert reported_resources(view(grown), entry, waiting)["resources"] == before
    done = resize_state(view(grown), size(grown), ROOM)
    assert reported_resources(view(grown), entry, done)["allocatedResources"] == {"cpu": "1", "memory": "64Mi"}
