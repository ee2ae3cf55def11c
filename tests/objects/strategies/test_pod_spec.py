"""Defaults and rules of pod specs, in pods and templates."""

import pytest

from sparsam.objects.strategies.pod_spec import default_pod_template, template_warnings, validate_pod_template
from tests.support.pods import checked, pairs, pod, with_container


def test_a_bare_pod_gets_upstreams_defaults():
    made, causes = checked(pod())
    assert causes == []
    assert made["spec"]["restartPolicy"] == "Always"
    assert made["spec"]["terminationGracePeriodSeconds"] == 30
    assert made["spec"]["enableServiceLinks"] is True
    assert made["spec"]["containers"][0]["imagePullPolicy"] == "Always"
    assert made["status"] == {"phase": "Pending", "qosClass": "BestEffort"}


@pytest.mark.parametrize(
    ("image", "policy"),
    [("i", "Always"), ("i:latest", "Always"), ("host:5000/a/i", "Always"), ("i:1", "IfNotPresent"),
     ("i@sha256:" + "0" * 64, "IfNotPresent"), ("Bad Value!", "IfNotPresent")],
)  # fmt: skip
def test_the_pull_policy_follows_from_the_tag(image, policy):
    made, _ = checked(pod([{"name": "c", "image": image}]))
    assert made["spec"]["containers"][0]["imagePullPolicy"] == policy


def test_limits_are_the_default_requests_of_a_pod_but_not_of_a_template():
    limits = {"limits": {"cpu": "1", "memory": "1Gi"}}
    made, _ = checked(with_container(resources=limits))
    assert made["spec"]["containers"][0]["resources"]["requests"] == limits["limits"]
    assert made["status"]["qosClass"] == "Guaranteed"
    template = {"spec": {"containers": [{"name": "c", "image": "i", "resources": {"limits": {"cpu": "1"}}}]}}
    default_pod_template(template)
    assert "requests" not in template["spec"]["containers"][0]["resources"]


def test_host_network_copies_container_ports_to_host_ports():
    made, causes = checked(pod([{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}], hostNetwork=True))
    assert made["spec"]["containers"][0]["ports"][0]["hostPort"] == 80
    assert causes == []


@pytest.mark.parametrize(
    ("spec", "cause"),
    [
        ({"containers": []}, ("Required", "spec.containers")),
        ({"restartPolicy": "x"}, ("NotSupported", "spec.restartPolicy")),
        ({"dnsPolicy": "None"}, ("Required", "spec.dnsConfig")),
        ({"nodeSelector": {"a": "b c"}}, ("Invalid", "spec.nodeSelector")),
        ({"activeDeadlineSeconds": 0}, ("Invalid", "spec.activeDeadlineSeconds")),
        ({"hostname": "A"}, ("Invalid", "spec.hostname")),
        ({"hostAliases": [{"ip": "x"}]}, ("Invalid", "spec.hostAliases[0].ip")),
        ({"securityContext": {"runAsUser": -1}}, ("Invalid", "spec.securityContext.runAsUser")),
        ({"tolerations": [{"key": "a", "effect": "x"}]}, ("NotSupported", "spec.tolerations[0].effect")),
        ({"schedulingGates": [{"name": "a/b"}, {"name": "a/b"}]}, ("Duplicate", "spec.schedulingGates[1]")),
        ({"overhead": {"bogus": "1"}}, ("Invalid", "spec.overhead.limits[bogus]")),
        ({"os": {"name": "plan9"}}, ("NotSupported", "spec.os.name")),
        ({"dnsConfig": {"searches": ["a b"]}}, ("Invalid", "spec.dnsConfig.searches[0]")),
        ({"hostUsers": False, "hostPID": True}, ("Forbidden", "spec.HostPID")),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(spec, cause):
    assert cause in checked(pod(**spec))[1]


def test_a_template_is_checked_at_its_own_path():
    template = {"metadata": {"labels": {"a": "b c"}}, "spec": {"containers": [{"name": "c"}]}}
    default_pod_template(template)
    assert pairs(validate_pod_template(template, "spec.template")) == [
        ("Invalid", "spec.template.labels"),
        ("Required", "spec.template.spec.containers[0].image"),
    ]
    assert pairs(validate_pod_template({}, "t"))[-1] == ("Required", "t.spec.dnsPolicy")


def test_warnings_name_what_matches_no_pod_or_hides_another():
    container = {"name": "c", "env": [{"name": "A"}, {"name": "A"}], "resources": {"limits": {"memory": "100m"}}}
    template = {"spec": {"containers": [container], "topologySpreadConstraints": [{}]}}
    assert [text.partition(": ")[0] for text in template_warnings(template, "t")] == [
        "t.spec.containers[0].env[1]",
        "t.spec.containers[0].resources.limits[memory]",
        "t.spec.topologySpreadConstraints[0].labelSelector",
    ]
