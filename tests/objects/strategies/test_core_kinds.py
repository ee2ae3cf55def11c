"""The smaller kinds of the core group: data, accounts, namespaces, nodes, storage, quotas, endpoints, events."""

import copy

import pytest

from sparsam.objects.kinds import NAMESPACES, NODES, find
from sparsam.objects.strategies import strategy_for
from sparsam.objects.strategies.differences import describe
from sparsam.objects.strategies.selectors import matches
from tests.support.pods import changed, checked, pairs

META = {"name": "o", "namespace": "t"}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


@pytest.mark.parametrize(
    ("plural", "obj", "cause"),
    [
        ("configmaps", {"data": {"a b": ""}}, ("Invalid", "data[a b]")),
        ("configmaps", {"data": {"a": ""}, "binaryData": {"a": ""}}, ("Invalid", "data[a]")),
        ("secrets", {"type": "kubernetes.io/tls"}, ("Required", "data[tls.crt]")),
        ("secrets", {"type": "kubernetes.io/dockerconfigjson", "stringData": {".dockerconfigjson": "["}},
         ("Invalid", "data[.dockerconfigjson]")),
        ("secrets", {"type": "kubernetes.io/service-account-token"},
         ("Required", "metadata.annotations[kubernetes.io/service-account.name]")),
        ("bindings", {"target": {"kind": "Pod"}}, ("Required", "target.name")),
        ("namespaces", {"spec": {"finalizers": ["x"]}}, ("Invalid", "spec.finalizers")),
        ("nodes", {"spec": {"taints": [{"key": "a"}]}}, ("Required", "metadata.taints[0].effect")),
        ("nodes", {"spec": {"podCIDRs": ["10.0.0.0/24", "10.0.1.0/24"]}}, ("Invalid", "spec.podCIDRs")),
        ("nodes", {"status": {"capacity": {"pods": "500m"}}}, ("Invalid", "status.capacity.pods")),
        ("persistentvolumes", {"spec": {}}, ("Required", "spec")),
        ("persistentvolumes", {"spec": {"local": {"path": "/x"}}}, ("Required", "spec.nodeAffinity")),
        ("persistentvolumeclaims", {"spec": CLAIM | {"volumeMode": "x"}}, ("NotSupported", "spec.volumeMode")),
        ("persistentvolumeclaims", {"spec": CLAIM | {"accessModes": ["ReadWriteOncePod", "ReadOnlyMany"]}},
         ("Forbidden", "spec.accessModes")),
        ("limitranges", {"spec": {"limits": [{"type": "Pod", "default": {"cpu": "1"}}]}},
         ("Forbidden", "spec.limits[0].default")),
        ("limitranges", {"spec": {"limits": [{"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}}]}},
         ("Invalid", "spec.limits[0].min[cpu]")),
        ("resourcequotas", {"spec": {"hard": {"cpu": "1"}, "scopes": ["BestEffort"]}}, ("Invalid", "spec.scopes")),
        ("resourcequotas", {"spec": {"scopeSelector": {"matchExpressions": [{"scopeName": "PriorityClass"}]}}},
         ("Invalid", "spec.scopeSelector.matchExpressions.operator")),
        ("endpoints", {"subsets": [{"addresses": [{"ip": "127.0.0.1"}]}]}, ("Invalid", "subsets[0].addresses[0].ip")),
        ("events", {"involvedObject": {"namespace": "u"}}, ("Invalid", "involvedObject.namespace")),
        ("replicationcontrollers", {"spec": {"selector": {"x": "y"}, "template": TEMPLATE}},
         ("Invalid", "spec.template.metadata.labels")),
        ("podtemplates", {"template": {}}, ("Required", "template.spec.containers")),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(plural, obj, cause):
    assert cause in checked({"metadata": dict(META)} | obj, plural)[1]


def test_text_of_a_secret_becomes_its_data():
    made, causes = checked({"metadata": dict(META), "stringData": {"a": "b"}}, "secrets")
    assert causes == []
    assert made["type"] == "Opaque"
    assert made["data"] == {"a": "Yg=="}
    assert "stringData" not in made


def test_immutable_data_stays():
    old = {"metadata": dict(META), "immutable": True, "data": {"a": "b"}}
    new = old | {"immutable": False, "data": {}}
    assert changed(new, old, "configmaps")[1] == [("Forbidden", "immutable"), ("Forbidden", "data")]


def test_a_new_namespace_is_active_labelled_and_held_by_kubernetes():
    made, causes = checked({"metadata": {"name": "o"}}, "namespaces")
    assert causes == []
    assert made["spec"] == {"finalizers": ["kubernetes"]}
    assert made["status"] == {"phase": "Active"}
    assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": "o"}
    made["status"]["phase"] = "Terminating"
    assert pairs(strategy_for(NAMESPACES).validate_status(made, made)) == [("Invalid", "status.Phase")]


def test_the_pod_addresses_of_a_node_are_given_once():
    old, _ = checked({"metadata": {"name": "n"}, "spec": {"podCIDR": "10.0.0.0/24"}}, "nodes")
    assert old["spec"]["podCIDRs"] == ["10.0.0.0/24"]
    new = copy.deepcopy(old)
    new["spec"]["podCIDR"] = "10.0.1.0/24"
    assert changed(new, old, "nodes")[1] == [("Forbidden", "spec.podCIDRs")]
    assert strategy_for(NODES).validate_status(old, old) == []


def test_a_claim_may_grow_once_it_is_bound():
    old, causes = checked({"metadata": dict(META), "spec": CLAIM}, "persistentvolumeclaims")
    assert causes == []
    new = copy.deepcopy(old)
    new["spec"]["resources"]["requests"]["storage"] = "3Gi"
    assert changed(new, old, "persistentvolumeclaims")[1] == [("Forbidden", "spec")]
    for claim in (new, old):
        claim["status"]["phase"] = "Bound"
    assert changed(new, old, "persistentvolumeclaims")[1] == []


def test_the_source_of_a_volume_is_settled():
    spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}
    old, causes = checked({"metadata": {"name": "v"}, "spec": spec}, "persistentvolumes")
    assert causes == []
    new = copy.deepcopy(old)
    new["spec"]["hostPath"]["path"] = "/y"
    assert changed(new, old, "persistentvolumes")[1] == [("Forbidden", "spec.persistentvolumesource")]


def test_default_limits_of_containers_follow_from_the_others():
    limit = {"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"}}
    made, causes = checked({"metadata": dict(META), "spec": {"limits": [limit]}}, "limitranges")
    assert causes == []
    assert made["spec"]["limits"][0]["default"] == {"cpu": "2"}
    assert made["spec"]["limits"][0]["defaultRequest"] == {"cpu": "2", "memory": "1Mi"}


def test_scopes_of_a_quota_are_settled():
    old = {"metadata": dict(META), "spec": {"hard": {"pods": "1"}, "scopes": ["BestEffort"]}}
    new = {"metadata": dict(META), "spec": {"hard": {"pods": "2"}}}
    assert changed(new, old, "resourcequotas")[1] == [("Invalid", "spec.scopes")]


def test_events_of_the_newer_group_are_settled_but_for_their_series():
    event = {
        "metadata": dict(META), "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "c",
        "reportingInstance": "i", "action": "A", "reason": "R", "type": "Normal", "regarding": {"namespace": "t"},
    }  # fmt: skip
    assert checked(event, "events", "events.k8s.io")[1] == []
    assert changed(event | {"action": "B"}, event, "events", "events.k8s.io")[1] == [("Invalid", "action")]
    series = {"count": 2, "lastObservedTime": "2026-01-01T00:00:00.000000Z"}
    assert changed(event | {"series": series}, event, "events", "events.k8s.io")[1] == []


def test_a_controller_takes_selector_and_labels_from_its_template():
    made, causes = checked({"metadata": dict(META), "spec": {"template": TEMPLATE}}, "replicationcontrollers")
    assert causes == []
    assert made["spec"]["selector"] == made["metadata"]["labels"] == {"a": "b"}
    assert made["spec"]["replicas"] == 1
    made["status"] = {"replicas": 1, "readyReplicas": 2}
    strategy = strategy_for(find("", "v1", "replicationcontrollers"))
    assert pairs(strategy.validate_status(made, made)) == [("Invalid", "status.readyReplicas")]


def test_differences_are_named_by_path():
    assert describe({"a": 1, "b": [1]}, {"a": 2, "b": [1]}) == "- a: 1\n+ a: 2"


@pytest.mark.parametrize(
    ("operator", "values", "labels", "expected"),
    [("In", ["x"], {"a": "x"}, True), ("In", ["x"], {}, False), ("NotIn", ["x"], {}, True),
     ("Exists", [], {"a": ""}, True), ("DoesNotExist", [], {"a": ""}, False)],
)  # fmt: skip
def test_selectors_match_labels(operator, values, labels, expected):
    selector = {"matchExpressions": [{"key": "a", "operator": operator, "values": values}]}
    assert matches(selector, labels) is expected
