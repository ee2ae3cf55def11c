"""Deployments, ReplicaSets, StatefulSets, DaemonSets, ControllerRevisions."""

import pytest

from sparsam.objects.kinds import DEPLOYMENTS
from sparsam.objects.strategies import strategy_for
from tests.support.pods import changed, checked, pairs

SELECTOR = {"matchLabels": {"app": "x"}}
POD = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}


def workload(**spec):
    return {"metadata": {"name": "o", "namespace": "t"}, "spec": {"selector": SELECTOR, "template": POD} | spec}


@pytest.mark.parametrize("plural", ["deployments", "replicasets", "statefulsets", "daemonsets"])
def test_a_selector_and_its_template_are_enough(plural):
    made, causes = checked(workload(), plural, "apps")
    assert causes == []
    assert made["spec"]["template"]["spec"]["restartPolicy"] == "Always"


def test_a_deployment_rolls_out_a_quarter_at_a_time():
    spec = checked(workload(), "deployments", "apps")[0]["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}}


def test_replicas_of_zero_stay_zero():
    assert checked(workload(replicas=0), "deployments", "apps")[0]["spec"]["replicas"] == 0


def test_the_templates_of_a_daemon_set_are_counted():
    old = checked(workload(), "daemonsets", "apps")[0]
    name = "deprecated.daemonset.template.generation"
    assert old["metadata"]["annotations"] == {name: "1"}
    other = POD | {"metadata": {"labels": {"app": "x", "more": "y"}}}
    assert changed(workload(template=other), old, "daemonsets", "apps")[0]["metadata"]["annotations"] == {name: "2"}


@pytest.mark.parametrize(
    ("plural", "spec", "cause"),
    [
        ("deployments", {"replicas": -1}, ("Invalid", "spec.replicas")),
        ("deployments", {"selector": None}, ("Required", "spec.selector")),
        ("deployments", {"selector": {"matchLabels": {"app": "y"}}}, ("Invalid", "spec.template.metadata.labels")),
        ("deployments", {"selector": {"matchLabels": {"app": "a b"}}}, ("Invalid", "spec.selector")),
        ("deployments", {"strategy": {"type": "Recreate", "rollingUpdate": {}}},
         ("Forbidden", "spec.strategy.rollingUpdate")),
        ("deployments", {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}},
         ("Invalid", "spec.strategy.rollingUpdate.maxUnavailable")),
        ("deployments", {"strategy": {"rollingUpdate": {"maxUnavailable": "101%"}}},
         ("Invalid", "spec.strategy.rollingUpdate.maxUnavailable")),
        ("deployments", {"progressDeadlineSeconds": 5, "minReadySeconds": 5}, ("Invalid", "spec.progressDeadlineSeconds")),
        ("replicasets", {"template": {"spec": {"restartPolicy": "Never"}}},
         ("NotSupported", "spec.template.spec.restartPolicy")),
        ("replicasets", {"template": {"spec": {"activeDeadlineSeconds": 5}}},
         ("Forbidden", "spec.template.spec.activeDeadlineSeconds")),
        ("statefulsets", {"podManagementPolicy": "x"}, ("Invalid", "spec.podManagementPolicy")),
        ("statefulsets", {"updateStrategy": {"type": "OnDelete", "rollingUpdate": {}}},
         ("Invalid", "spec.updateStrategy.rollingUpdate")),
        ("statefulsets", {"volumeClaimTemplates": [{"metadata": {"name": "a"}, "spec": CLAIM | {"accessModes": []}}]},
         ("Required", "spec.volumeClaimTemplates[0].spec.accessModes")),
        ("daemonsets", {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0}}},
         ("Required", "spec.updateStrategy.rollingUpdate.maxUnavailable")),
        ("daemonsets", {"updateStrategy": {"type": "x"}}, ("NotSupported", "spec.updateStrategy")),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(plural, spec, cause):
    assert cause in checked(workload(**spec), plural, "apps")[1]


def test_a_container_may_mount_a_claim_of_its_stateful_set():
    container = {"name": "c", "image": "i", "volumeMounts": [{"name": "d", "mountPath": "/d"}]}
    template = POD | {"spec": {"containers": [container]}}
    claims = [{"metadata": {"name": "d"}, "spec": CLAIM}]
    made, causes = checked(workload(template=template, volumeClaimTemplates=claims), "statefulsets", "apps")
    assert causes == []
    assert made["spec"]["volumeClaimTemplates"][0]["status"] == {"phase": "Pending"}
    assert ("NotFound", "spec.template.spec.containers[0].volumeMounts[0].name") in (
        checked(workload(template=template), "statefulsets", "apps")[1]
    )


@pytest.mark.parametrize("plural", ["deployments", "replicasets", "daemonsets"])
def test_a_selector_stays(plural):
    old = checked(workload(), plural, "apps")[0]
    other = {"matchLabels": {"app": "x", "more": "y"}}
    pod = POD | {"metadata": {"labels": other["matchLabels"]}}
    assert changed(workload(selector=other, template=pod), old, plural, "apps")[1] == [("Invalid", "spec.selector")]


def test_most_of_a_stateful_set_stays():
    old = checked(workload(), "statefulsets", "apps")[0]
    assert changed(workload(replicas=3), old, "statefulsets", "apps")[1] == []
    assert changed(workload(serviceName="s"), old, "statefulsets", "apps")[1] == [("Forbidden", "spec")]


def test_more_pods_cannot_be_ready_than_there_are():
    made = checked(workload(), "deployments", "apps")[0]
    made["status"] = {"replicas": 1, "readyReplicas": 2, "availableReplicas": 3}
    old = made | {"status": {"collisionCount": 1}}
    assert pairs(strategy_for(DEPLOYMENTS).validate_status(made, old)) == [
        ("Invalid", "status.readyReplicas"),
        ("Invalid", "status.availableReplicas"),
        ("Invalid", "status.availableReplicas"),
        ("Invalid", "status.collisionCount"),
    ]


def test_a_status_leaves_the_labels_of_a_deployment_alone():
    old = checked(workload(), "deployments", "apps")[0]
    for labels in ({"a": "b"}, None):
        old["metadata"] = {"name": "x"} | ({"labels": labels} if labels else {})
        new = {"metadata": {"name": "x", "labels": {"a": "c"}}}
        strategy_for(DEPLOYMENTS).prepare_status(new, old)
        assert new["metadata"] == old["metadata"]


def test_a_name_that_makes_no_hostname_is_warned_of():
    made = checked(workload(), "deployments", "apps")[0]
    made["metadata"]["name"] = "a.b"
    text = "metadata.name: this is used in Pod names and hostnames"
    assert strategy_for(DEPLOYMENTS).warnings(made, None)[0].startswith(text)


def test_the_data_of_a_revision_stays():
    old = {"metadata": {"name": "o", "namespace": "t"}, "data": {"a": 1}, "revision": 1}
    assert changed(old | {"data": {"a": 2}}, old, "controllerrevisions", "apps")[1] == [("Invalid", "data")]
    assert checked(old | {"revision": -1}, "controllerrevisions", "apps")[1] == [("Invalid", "revision")]
