import pytest

from sparsam.errors import BadRequest, Conflict, Invalid
from sparsam.objects import scale
from sparsam.objects.kinds import DEPLOYMENTS, REPLICATIONCONTROLLERS

DEPLOYMENT = {
    "kind": "Deployment",
    "apiVersion": "apps/v1",
    "metadata": {
        "name": "d",
        "namespace": "t",
        "uid": "u",
        "resourceVersion": "4",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {},
    },
    "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "x"}}},
    "status": {"replicas": 1},
}


def test_a_scale_shows_wish_state_and_selector():
    assert scale.view(DEPLOYMENTS, DEPLOYMENT) == {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {
            "name": "d",
            "namespace": "t",
            "uid": "u",
            "resourceVersion": "4",
            "creationTimestamp": "2026-01-01T00:00:00Z",
        },
        "spec": {"replicas": 2},
        "status": {"replicas": 1, "selector": "app=x"},
    }


def test_a_controllers_selector_is_a_plain_map():
    controller = DEPLOYMENT | {
        "kind": "ReplicationController",
        "spec": {"replicas": 0, "selector": {"b": "2", "a": "1"}},
    }
    shown = scale.view(REPLICATIONCONTROLLERS, controller)
    assert shown["status"]["selector"] == "a=1,b=2"
    assert shown["spec"] == {}


def test_an_update_changes_the_replicas_alone():
    wished, warnings = scale.patch(DEPLOYMENTS, DEPLOYMENT, "merge", b'{"spec":{"replicas":4}}')
    changed = scale.update(DEPLOYMENTS, DEPLOYMENT, wished)
    assert warnings == []
    assert changed["spec"] == {"replicas": 4, "selector": {"matchLabels": {"app": "x"}}}
    assert DEPLOYMENT["spec"]["replicas"] == 2


def test_negative_replicas_are_invalid_for_the_scale():
    wished, _ = scale.patch(DEPLOYMENTS, DEPLOYMENT, "merge", b'{"spec":{"replicas":-4}}')
    with pytest.raises(Invalid) as caught:
        scale.update(DEPLOYMENTS, DEPLOYMENT, wished)
    assert caught.value.message.startswith('Scale.autoscaling "d" is invalid: spec.replicas: Invalid value: -4')


def test_an_old_scale_is_a_conflict():
    old = scale.view(DEPLOYMENTS, DEPLOYMENT) | {"metadata": {"resourceVersion": "3"}}
    with pytest.raises(Conflict):
        scale.update(DEPLOYMENTS, DEPLOYMENT, old)


def test_an_applied_scale_is_applied_to_the_workload():
    config = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d", "labels": {"a": "b"}}}
    whole = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}}
    assert scale.configuration(DEPLOYMENTS, config) == whole
    assert scale.configuration(DEPLOYMENTS, config | {"spec": {"replicas": 3}}) == whole | {"spec": {"replicas": 3}}
    with pytest.raises(Invalid, match=r"spec\.replicas"):
        scale.configuration(DEPLOYMENTS, config | {"spec": {"replicas": -1}})
    with pytest.raises(BadRequest, match="invalid object type: apps/v1, Kind=Deployment"):
        scale.configuration(DEPLOYMENTS, whole)
