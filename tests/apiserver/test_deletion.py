import pytest

from sparsam.apiserver.deletion import DeleteOptions, check_preconditions, is_finished, plan
from sparsam.errors import Conflict, Invalid
from sparsam.objects.kinds import CONFIGMAPS, DEPLOYMENTS, NAMESPACES, PODS
from sparsam.objects.strategy import Strategy

NOW = "2026-01-01T00:00:00Z"
PLAIN = Strategy()
GRACEFUL = Strategy(grace_seconds=lambda pod: pod["spec"]["terminationGracePeriodSeconds"])


def config_map(**metadata):
    return {"metadata": {"name": "c", "uid": "u1", "resourceVersion": "5", **metadata}}


def pod(node="n1", phase="Running", **metadata):
    return {
        "metadata": {"name": "p", "uid": "u1", "generation": 1, **metadata},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 30},
        "status": {"phase": phase},
    }


def test_a_plain_object_goes_at_once():
    assert plan(CONFIGMAPS, PLAIN, config_map(), DeleteOptions(), NOW).remove


def test_a_finalizer_keeps_a_marked_object():
    obj = config_map(finalizers=["example.com/f"])
    decision = plan(CONFIGMAPS, PLAIN, obj, DeleteOptions(), NOW)
    assert not decision.remove
    assert decision.changed["metadata"]["deletionTimestamp"] == NOW
    assert decision.changed["metadata"]["deletionGracePeriodSeconds"] == 0
    assert not is_finished(CONFIGMAPS, obj)
    obj["metadata"]["finalizers"] = []
    assert is_finished(CONFIGMAPS, obj)


def test_deleting_again_changes_nothing():
    obj = config_map(finalizers=["example.com/f"], deletionTimestamp=NOW, deletionGracePeriodSeconds=0)
    decision = plan(CONFIGMAPS, PLAIN, obj, DeleteOptions(), "2026-01-02T00:00:00Z")
    assert not decision.remove
    assert decision.changed is None


@pytest.mark.parametrize(
    ("policy", "finalizers"),
    [("Background", None), ("Foreground", ["foregroundDeletion"]), ("Orphan", ["orphan"])],
)
def test_the_propagation_policy_leaves_its_finalizer_to_the_garbage_collector(policy, finalizers):
    obj = config_map()
    decision = plan(DEPLOYMENTS, PLAIN, obj, DeleteOptions(policy=policy), NOW)
    assert obj["metadata"].get("finalizers") == finalizers
    assert decision.remove == (finalizers is None)


def test_a_running_pod_gets_its_grace():
    obj = pod()
    decision = plan(PODS, GRACEFUL, obj, DeleteOptions(), NOW)
    assert not decision.remove
    assert obj["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:30Z"
    assert obj["metadata"]["deletionGracePeriodSeconds"] == 30
    assert obj["metadata"]["generation"] == 2


@pytest.mark.parametrize("obj", [pod(node=""), pod(phase="Succeeded"), pod(phase="Failed")])
def test_a_pod_that_runs_nowhere_goes_at_once(obj):
    assert plan(PODS, GRACEFUL, obj, DeleteOptions(grace_seconds=60), NOW).remove


def test_grace_of_zero_ends_a_pod_that_is_going():
    obj = pod()
    plan(PODS, GRACEFUL, obj, DeleteOptions(), NOW)
    assert plan(PODS, GRACEFUL, obj, DeleteOptions(grace_seconds=0), "2026-01-01T00:00:05Z").remove


def test_grace_can_be_shortened_but_not_prolonged():
    obj = pod()
    plan(PODS, GRACEFUL, obj, DeleteOptions(), NOW)
    assert plan(PODS, GRACEFUL, obj, DeleteOptions(grace_seconds=90), NOW).changed is None
    plan(PODS, GRACEFUL, obj, DeleteOptions(grace_seconds=10), NOW)
    assert obj["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:10Z"
    assert obj["metadata"]["deletionGracePeriodSeconds"] == 10


def test_a_negative_grace_is_one_second():
    obj = pod()
    plan(PODS, GRACEFUL, obj, DeleteOptions(grace_seconds=-5), NOW)
    assert obj["metadata"]["deletionGracePeriodSeconds"] == 1


def test_a_namespace_terminates_until_it_is_finalized():
    obj = {"metadata": {"name": "n"}, "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}}
    decision = plan(NAMESPACES, PLAIN, obj, DeleteOptions(), NOW)
    assert not decision.remove
    assert obj["status"]["phase"] == "Terminating"
    obj["spec"]["finalizers"] = []
    assert is_finished(NAMESPACES, obj)
    assert plan(NAMESPACES, PLAIN, obj, DeleteOptions(), NOW).remove


@pytest.mark.parametrize("options", [DeleteOptions(uid="other"), DeleteOptions(resource_version="4")])
def test_a_precondition_that_fails_is_a_conflict(options):
    with pytest.raises(Conflict, match="precondition"):
        check_preconditions(CONFIGMAPS, config_map(), options)


def test_preconditions_that_hold_pass():
    check_preconditions(CONFIGMAPS, config_map(), DeleteOptions(uid="u1", resource_version="5"))


@pytest.mark.parametrize(
    "options", [DeleteOptions(policy="Zap"), DeleteOptions(policy="Orphan", orphan_dependents=True)]
)
def test_contradictory_or_unknown_policies_are_invalid(options):
    with pytest.raises(Invalid):
        options.validate()
