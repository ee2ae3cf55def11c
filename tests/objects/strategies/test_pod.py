"""How a pod is born and how it may change."""

import copy

import pytest

from sparsam.objects.kinds import PODS
from sparsam.objects.strategies import strategy_for
from sparsam.objects.strategies.pod_subresources import validate_ephemeral_containers, validate_resize
from tests.support.pods import changed, checked, pairs, pod, stored_pod


def test_a_gated_pod_says_that_it_waits():
    made, _ = checked(pod(schedulingGates=[{"name": "a/b"}]))
    assert made["status"]["conditions"][0]["reason"] == "SchedulingGated"


def test_images_tolerations_and_a_shorter_deadline_may_change():
    old = stored_pod(activeDeadlineSeconds=10)
    new = copy.deepcopy(old)
    new["spec"]["containers"][0]["image"] = "j"
    new["spec"]["activeDeadlineSeconds"] = 5
    new["spec"]["tolerations"] = [{"key": "a", "operator": "Exists"}]
    assert changed(new, old)[1] == []


@pytest.mark.parametrize(
    ("path", "value", "cause"),
    [
        (("restartPolicy",), "Never", ("Forbidden", "spec")),
        (("containers",), [], ("Forbidden", "spec.containers")),
        (("activeDeadlineSeconds",), 20, ("Invalid", "spec.activeDeadlineSeconds")),
        (("tolerations",), [], ("Forbidden", "spec.tolerations")),
        (("schedulingGates",), [{"name": "n/n"}], ("Forbidden", "spec.schedulingGates[0].name")),
        (("containers", 0, "command"), ["x"], ("Forbidden", "spec")),
    ],
)
def test_the_rest_of_the_spec_is_settled(path, value, cause):
    old = stored_pod(activeDeadlineSeconds=10, tolerations=[{"key": "a", "operator": "Exists"}])
    new = copy.deepcopy(old)
    target = new["spec"]
    for part in path[:-1]:
        target = target[part]
    target[path[-1]] = value
    assert cause in changed(new, old)[1]


def test_a_gated_pod_may_narrow_its_nodes():
    old = stored_pod(schedulingGates=[{"name": "a/b"}], nodeSelector={"a": "b"})
    new = copy.deepcopy(old)
    new["spec"]["nodeSelector"]["c"] = "d"
    assert changed(new, old)[1] == []
    new["spec"]["nodeSelector"] = {}
    assert changed(new, old)[1] == [("Invalid", "spec.nodeSelector")]


def test_a_terminated_container_that_may_not_restart_stays_terminated():
    old = stored_pod(restartPolicy="Never")
    old["status"]["containerStatuses"] = [{"name": "c", "state": {"terminated": {"exitCode": 0}}}]
    new = copy.deepcopy(old)
    new["status"]["containerStatuses"][0]["state"] = {"running": {}}
    causes = strategy_for(PODS).validate_status(new, old)
    assert pairs(causes) == [("Forbidden", "status.containerStatuses[0].state")]


def test_a_pod_without_a_node_is_deleted_at_once():
    made = stored_pod()
    assert strategy_for(PODS).grace_seconds(made) == 0
    made["spec"]["nodeName"] = "n"
    assert strategy_for(PODS).grace_seconds(made) == 30


def test_ephemeral_containers_are_added_but_never_taken_away():
    old = stored_pod()
    new = copy.deepcopy(old)
    debug = {"name": "d", "image": "i", "imagePullPolicy": "Always", "terminationMessagePolicy": "File"}
    new["spec"]["ephemeralContainers"] = [debug]
    assert validate_ephemeral_containers(new, old) == []
    assert pairs(validate_ephemeral_containers(old, new)) == [("Forbidden", "spec.ephemeralContainers")]


def test_resizing_keeps_the_class_and_changes_only_amounts():
    old = stored_pod(containers=[{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1"}}}])
    new = copy.deepcopy(old)
    new["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "2"}}
    assert validate_resize(new, old) == []
    # Memory limits may come, grow and shrink, whatever the resize policy says.
    new["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "2"}, "limits": {"memory": "64Mi"}}
    assert validate_resize(new, old) == []
    less = copy.deepcopy(new)
    less["spec"]["containers"][0]["resources"]["limits"]["memory"] = "32Mi"
    assert validate_resize(less, new) == []
    new["spec"]["containers"][0]["resources"] = {}
    found = pairs(validate_resize(new, old))
    assert ("Invalid", "spec") in found
    assert ("Forbidden", "spec.containers[0].resources.requests") in found


def ended_then_waits(code, rules=(), conditions=(), **spec):
    """Causes when a container that ended with this code is said to wait again."""
    container = {"name": "c", "image": "i", "restartPolicyRules": list(rules), **spec.pop("container", {})}
    old = {"spec": {"containers": [container], **spec}}
    states = {"terminated": {"exitCode": code}}, {"waiting": {}}
    old["status"], status = ({"containerStatuses": [{"name": "c", "state": state}]} for state in states)
    new = {**old, "status": {**status, "conditions": list(conditions)}}
    return [each.message for each in strategy_for(PODS).validate_status(new, old)]


def test_what_may_run_again_depends_on_the_container_first():
    refused = ["Forbidden: may not be transitioned to non-terminated state"]
    assert ended_then_waits(1, restartPolicy="Never") == refused
    assert ended_then_waits(1, restartPolicy="Never", container={"restartPolicy": "Always"}) == []
    assert ended_then_waits(0, restartPolicy="Always", container={"restartPolicy": "OnFailure"}) == refused
    rule = {"action": "Restart", "exitCodes": {"operator": "In", "values": [7]}}
    assert ended_then_waits(7, [rule], restartPolicy="Never") == []
    assert ended_then_waits(8, [rule], restartPolicy="Never") == refused
    other = {"action": "RestartAllContainers", "exitCodes": {"operator": "NotIn", "values": [7]}}
    assert ended_then_waits(8, [other], restartPolicy="Never") == []
    all_anew = [{"type": "AllContainersRestarting", "status": "True"}]
    assert ended_then_waits(0, conditions=all_anew, restartPolicy="Never") == []
