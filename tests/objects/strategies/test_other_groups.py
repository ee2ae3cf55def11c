"""Kinds of the groups beside core, apps and batch: defaults, rules, what may not change."""

import copy

import pytest

from sparsam.objects.kinds import by_kind
from sparsam.objects.strategies import strategy_for
from tests.support.pods import changed, checked, pairs

AUTOSCALING, NETWORK, RBAC = "autoscaling", "networking.k8s.io", "rbac.authorization.k8s.io"
STORAGE, ADMISSION, FLOW = "storage.k8s.io", "admissionregistration.k8s.io", "flowcontrol.apiserver.k8s.io"
EXTENSIONS, DEVICES, REGISTRATION = "apiextensions.k8s.io", "resource.k8s.io", "apiregistration.k8s.io"
SCALED = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}, "maxReplicas": 3}
METRIC = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 5}}}
PATH = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}}
PEM = "-----BEGIN CERTIFICATE-----\nQUFB\n-----END CERTIFICATE-----\n"
RULE = {"operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}
HOOK = {
    "name": "a.b.c",
    "clientConfig": {"service": {"name": "s", "namespace": "t"}},
    "rules": [RULE],
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
}
POLICY = {"matchConstraints": {"resourceRules": [RULE]}, "validations": [{"expression": "true"}]}
LEVEL = {"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {}}}}
REQUEST = {"name": "r", "exactly": {"deviceClassName": "c"}}
VERSION = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
DEFINITION = {
    "group": "x.y",
    "scope": "Cluster",
    "names": {"plural": "things", "kind": "Thing"},
    "versions": [VERSION],
}


def spec(obj, **more):
    return {"spec": obj | more}


def ingress(**path):
    return spec({"rules": [{"http": {"paths": [PATH | path]}}]})


def egress(**rule):
    return spec({"podSelector": {}, "egress": [rule]})


def hook(**more):
    return {"webhooks": [HOOK | more]}


def definition(schema=None, **more):
    versions = [VERSION | {"schema": {"openAPIV3Schema": schema}}] if schema else [VERSION]
    return {"metadata": {"name": "things.x.y"}} | spec(DEFINITION, versions=versions, **more)


def property_of(schema):
    return definition({"type": "object", "properties": {"a": schema}})


VALID = [
    (AUTOSCALING, "horizontalpodautoscalers", spec(SCALED)),
    ("policy", "poddisruptionbudgets", spec({"maxUnavailable": "50%"})),
    (NETWORK, "ingresses", ingress()),
    (NETWORK, "ingressclasses", spec({"controller": "x.y/z", "parameters": {"kind": "K", "name": "n"}})),
    (NETWORK, "networkpolicies", egress(to=[{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}])),
    (NETWORK, "ipaddresses", {"metadata": {"name": "::1"}} | spec({"parentRef": {"resource": "r", "name": "n"}})),
    (NETWORK, "servicecidrs", spec({"cidrs": ["10.0.0.0/8", "fd00::/64"]})),
    ("discovery.k8s.io", "endpointslices", {"addressType": "FQDN", "endpoints": [{"addresses": ["a.b."]}]}),
    ("coordination.k8s.io", "leases", spec({"leaseDurationSeconds": 1})),
    (RBAC, "clusterroles", {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]}),
    (RBAC, "rolebindings", {"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]}),
    (STORAGE, "storageclasses", {"provisioner": "x.y/p"}),
    (STORAGE, "csidrivers", spec({})),
    (STORAGE, "csinodes", spec({"drivers": [{"name": "d.x", "nodeID": "n"}]})),
    (STORAGE, "csistoragecapacities", {"storageClassName": "c", "capacity": "1Gi"}),
    (STORAGE, "volumeattributesclasses", {"driverName": "d.x", "parameters": {"a": "b"}}),
    ("scheduling.k8s.io", "priorityclasses", {"value": 1}),
    ("node.k8s.io", "runtimeclasses", {"handler": "runc"}),
    (ADMISSION, "validatingwebhookconfigurations", hook()),
    (ADMISSION, "mutatingwebhookconfigurations", hook()),
    (ADMISSION, "validatingadmissionpolicies", spec(POLICY)),
    (ADMISSION, "validatingadmissionpolicybindings", spec({"policyName": "p", "validationActions": ["Deny"]})),
    (EXTENSIONS, "customresourcedefinitions", definition()),
    (REGISTRATION, "apiservices", {"metadata": {"name": "v1.x.y"}}
     | spec({"group": "x.y", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1})),
    (FLOW, "prioritylevelconfigurations", spec(LEVEL)),
    (FLOW, "flowschemas", spec({"priorityLevelConfiguration": {"name": "p"}})),
    (DEVICES, "resourceclaims", spec({"devices": {"requests": [REQUEST]}})),
    (DEVICES, "resourceslices", spec({"driver": "d.x", "nodeName": "n", "pool": {"name": "p", "resourceSliceCount": 1}})),
]  # fmt: skip


@pytest.mark.parametrize(("group", "plural", "obj"), VALID, ids=[f"{plural}" for _, plural, _ in VALID])
def test_a_proper_object_is_accepted_and_may_be_written_again(group, plural, obj):
    made, causes = checked(obj, plural, group)
    assert causes == []
    assert changed(made, made, plural, group)[1] == []


@pytest.mark.parametrize(
    ("group", "plural", "obj", "cause"),
    [
        (AUTOSCALING, "horizontalpodautoscalers", spec(SCALED, minReplicas=4), ("Invalid", "spec.maxReplicas")),
        (AUTOSCALING, "horizontalpodautoscalers", spec(SCALED, metrics=[METRIC | {"pods": {}}]),
         ("Forbidden", "spec.metrics[0].pods")),
        (AUTOSCALING, "horizontalpodautoscalers", spec(SCALED, metrics=[{"type": "External"}]),
         ("Required", "spec.metrics[0].external")),
        (AUTOSCALING, "horizontalpodautoscalers", spec(SCALED, behavior={"scaleUp": {"policies": []}}),
         ("Required", "spec.behavior.scaleUp.policies")),
        ("policy", "poddisruptionbudgets", spec({"maxUnavailable": 1, "minAvailable": 1}), ("Invalid", "spec")),
        ("policy", "poddisruptionbudgets", spec({"minAvailable": "101%"}), ("Invalid", "spec.minAvailable")),
        (NETWORK, "ingresses", ingress(path="/a/../b"), ("Invalid", "spec.rules[0].http.paths[0].path")),
        (NETWORK, "ingresses", ingress(backend={"service": {"name": "s"}, "resource": {}}),
         ("Invalid", "spec.rules[0].http.paths[0].backend")),
        (NETWORK, "ingresses", spec({"rules": [{"host": "10.0.0.1"}]}), ("Invalid", "spec.rules[0].host")),
        (NETWORK, "ingresses", spec({"rules": [{"host": "*.a.*"}]}), ("Invalid", "spec.rules[0].host")),
        (NETWORK, "ingressclasses", spec({"controller": "x.y/z", "parameters": {"kind": "K", "name": "n",
         "scope": "Namespace"}}), ("Required", "spec.parameters.namespace")),
        (NETWORK, "networkpolicies", egress(to=[{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}]),
         ("Invalid", "spec.egress[0].to[0].ipBlock.except[0]")),
        (NETWORK, "networkpolicies", egress(to=[{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]),
         ("Forbidden", "spec.egress[0].to[0]")),
        (NETWORK, "networkpolicies", egress(ports=[{"port": 90, "endPort": 80}]),
         ("Invalid", "spec.egress[0].ports[0].endPort")),
        (NETWORK, "ipaddresses", {"metadata": {"name": "0:0::1"}} | spec({}), ("Invalid", "metadata.name")),
        (NETWORK, "servicecidrs", spec({"cidrs": ["10.0.0.1/8"]}), ("Invalid", "spec.cidrs[0]")),
        ("discovery.k8s.io", "endpointslices", {"addressType": "IPv4", "endpoints": [{"addresses": ["::1"]}]},
         ("Invalid", "endpoints[0].addresses[0]")),
        ("discovery.k8s.io", "endpointslices", {"addressType": "IPv4", "ports": [{"name": "a"}, {"name": "a"}]},
         ("Duplicate", "ports[1].name")),
        ("coordination.k8s.io", "leases", spec({"leaseTransitions": -1}), ("Invalid", "spec.leaseTransitions")),
        (RBAC, "roles", {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]},
         ("Invalid", "rules[0].nonResourceURLs")),
        (RBAC, "clusterrolebindings", {"roleRef": {"kind": "ClusterRole", "name": "r"},
         "subjects": [{"kind": "ServiceAccount", "name": "s"}]}, ("Required", "subjects[0].namespace")),
        (STORAGE, "storageclasses", {"provisioner": "x.y/p", "allowedTopologies": [{"matchLabelExpressions": [
         {"key": "a", "values": ["b", "b"]}]}]},
         ("Duplicate", "allowedTopologies[0].matchLabelExpressions[0].values[1]")),
        (STORAGE, "csidrivers", spec({"tokenRequests": [{"audience": "a", "expirationSeconds": 1}]}),
         ("Invalid", "spec.tokenRequests[0].expirationSeconds")),
        (STORAGE, "csinodes", spec({"drivers": [{"name": "d.x"}]}), ("Required", "spec.drivers[0].nodeID")),
        (STORAGE, "csistoragecapacities", {"storageClassName": "c", "capacity": "-1"}, ("Invalid", "capacity")),
        (STORAGE, "volumeattributesclasses", {"driverName": "d.x"}, ("Required", "parameters")),
        ("scheduling.k8s.io", "priorityclasses", {"value": 2_000_000_000}, ("Forbidden", "value")),
        ("scheduling.k8s.io", "priorityclasses", {"metadata": {"name": "system-mine"}}, ("Forbidden", "metadata.name")),
        (ADMISSION, "validatingwebhookconfigurations", hook(name="short"), ("Invalid", "webhooks[0].name")),
        (ADMISSION, "validatingwebhookconfigurations", hook(clientConfig={"url": "https://u@h/?q#f"}),
         ("Invalid", "webhooks[0].clientConfig.url")),
        (ADMISSION, "validatingwebhookconfigurations", hook(rules=[RULE | {"resources": ["*", "pods"]}]),
         ("Invalid", "webhooks[0].rules[0].resources")),
        (ADMISSION, "mutatingwebhookconfigurations", hook(reinvocationPolicy="x"),
         ("NotSupported", "webhooks[0].reinvocationPolicy")),
        (ADMISSION, "validatingadmissionpolicies", spec(POLICY, variables=[{"name": "1x", "expression": "1"}]),
         ("Invalid", "spec.variables[0].name")),
        (ADMISSION, "validatingadmissionpolicybindings", spec({"policyName": "p", "validationActions": ["Deny",
         "Warn"]}), ("Invalid", "spec.validationActions")),
        (ADMISSION, "mutatingadmissionpolicies", spec(POLICY), ("Required", "spec.mutations")),
        (EXTENSIONS, "customresourcedefinitions", definition(scope="x"), ("NotSupported", "spec.scope")),
        (EXTENSIONS, "customresourcedefinitions", property_of({}),
         ("Required", "spec.validation.openAPIV3Schema.properties[a].type")),
        (EXTENSIONS, "customresourcedefinitions", property_of({"type": "string", "default": 1}),
         ("TypeInvalid", "spec.validation.openAPIV3Schema.properties[a].default")),
        (EXTENSIONS, "customresourcedefinitions", property_of({"type": "array"}),
         ("Required", "spec.validation.openAPIV3Schema.properties[a].items")),
        (EXTENSIONS, "customresourcedefinitions", property_of({"type": "string", "anyOf": [{"type": "string"}]}),
         ("Forbidden", "spec.validation.openAPIV3Schema.properties[a].anyOf[0].type")),
        (EXTENSIONS, "customresourcedefinitions", definition(conversion={"strategy": "Webhook"}),
         ("Required", "spec.conversion.webhookClientConfig")),
        (REGISTRATION, "apiservices", {"metadata": {"name": "v2.x.y"}} | spec({"group": "x.y", "version": "v1"}),
         ("Invalid", "metadata.name")),
        (FLOW, "prioritylevelconfigurations", spec({"type": "Limited", "exempt": {}}), ("Forbidden", "spec.exempt")),
        (FLOW, "flowschemas", spec({"priorityLevelConfiguration": {"name": "p"}, "matchingPrecedence": 1}),
         ("Invalid", "spec.matchingPrecedence")),
        (DEVICES, "resourceclaims", spec({"devices": {"requests": [{"name": "r"}]}}),
         ("Required", "spec.devices.requests[0]")),
        (DEVICES, "resourceslices", spec({"driver": "d.x", "pool": {}}), ("Required", "spec")),
        ("certificates.k8s.io", "certificatesigningrequests", spec({"request": "QQ==", "signerName": "a.b/c/d"}),
         ("Invalid", "spec.signerName")),
        ("certificates.k8s.io", "clustertrustbundles", spec({"trustBundle": ""}), ("Required", "spec.trustBundle")),
        ("certificates.k8s.io", "clustertrustbundles", spec({"trustBundle": PEM.replace("QUFB", "!")}),
         ("Invalid", "spec.trustBundle")),
        ("certificates.k8s.io", "clustertrustbundles", spec({"trustBundle": PEM, "signerName": "a.b/c"}),
         ("Invalid", "metadata.name")),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(group, plural, obj, cause):
    assert cause in checked(obj, plural, group)[1]


@pytest.mark.parametrize(
    ("group", "plural", "change", "cause"),
    [
        (NETWORK, "ingressclasses", spec({"controller": "x.y/other"}), ("Invalid", "spec.controller")),
        (NETWORK, "ipaddresses", spec({"parentRef": {"resource": "r", "name": "m"}}), ("Invalid", "spec.parentRef")),
        (NETWORK, "servicecidrs", spec({"cidrs": ["11.0.0.0/8"]}), ("Invalid", "spec.cidrs")),
        ("discovery.k8s.io", "endpointslices", {"addressType": "IPv4"}, ("Invalid", "addressType")),
        (RBAC, "rolebindings", {"roleRef": {"kind": "Role", "name": "other"}}, ("Invalid", "roleRef")),
        (STORAGE, "storageclasses", {"provisioner": "x.y/q"}, ("Invalid", "provisioner")),
        (STORAGE, "csidrivers", spec({"attachRequired": False}), ("Invalid", "spec.attachedRequired")),
        (STORAGE, "csinodes", spec({"drivers": [{"name": "d.x", "nodeID": "m"}]}), ("Invalid", "CSINodeDriver")),
        (STORAGE, "volumeattributesclasses", {"parameters": {"a": "c"}}, ("Invalid", "parameters")),
        ("scheduling.k8s.io", "priorityclasses", {"value": 2}, ("Forbidden", "value")),
        ("node.k8s.io", "runtimeclasses", {"handler": "other"}, ("Invalid", "handler")),
        (EXTENSIONS, "customresourcedefinitions", spec(DEFINITION, group="z.y"), ("Invalid", "spec.group")),
        (DEVICES, "resourceclaims", spec({"devices": {}}), ("Invalid", "spec")),
    ],
)
def test_what_others_rely_on_stays(group, plural, change, cause):
    proper = next(obj for other, name, obj in VALID if (other, name) == (group, plural))
    old = checked(proper, plural, group)[0]
    assert cause in changed(copy.deepcopy(old) | change, old, plural, group)[1]


def test_an_autoscaler_behaves_as_usual_where_nothing_else_is_said():
    made = checked(spec(SCALED, behavior={"scaleDown": {"stabilizationWindowSeconds": 5}}),
                   "horizontalpodautoscalers", AUTOSCALING)[0]["spec"]  # fmt: skip
    assert made["minReplicas"] == 1
    assert made["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 80}
    assert made["behavior"]["scaleUp"]["selectPolicy"] == "Max"
    assert made["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 5


def test_the_older_autoscaler_has_its_own_default():
    old = {"apiVersion": "autoscaling/v1"} | spec(SCALED)
    made = checked(old, "horizontalpodautoscalers", AUTOSCALING)[0]["spec"]
    assert made["targetCPUUtilizationPercentage"] == 80
    assert "metrics" not in made


def test_a_new_storage_version_is_remembered():
    old = checked(definition(), "customresourcedefinitions", EXTENSIONS)[0]
    assert old["status"]["storedVersions"] == ["v1"]
    second = VERSION | {"name": "v2"}
    new = old | spec(DEFINITION, versions=[VERSION | {"storage": False}, second])
    made, causes = changed(new, old, "customresourcedefinitions", EXTENSIONS)
    assert causes == []
    assert made["status"]["storedVersions"] == ["v1", "v2"]


def test_a_request_is_not_both_approved_and_denied():
    strategy = strategy_for(by_kind("certificates.k8s.io/v1", "CertificateSigningRequest"))
    conditions = [{"type": "Approved", "status": "True"}, {"type": "Denied", "status": "True"}]
    causes = pairs(strategy.validate_status({"status": {"conditions": conditions}}, {}))
    assert causes == [("Invalid", "status.conditions[1].type")]
