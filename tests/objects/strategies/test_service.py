"""Services: defaults, types and addresses."""

import copy

import pytest

from tests.support.pods import changed, checked


def service(**spec):
    return {
        "metadata": {"name": "s", "namespace": "t"},
        "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}} | spec,
    }


def test_a_plain_service_gets_upstreams_defaults():
    made, causes = checked(service(), "services")
    assert causes == []
    assert made["spec"] == {
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "selector": {"a": "b"},
        "sessionAffinity": "None",
        "type": "ClusterIP",
        "internalTrafficPolicy": "Cluster",
        "ipFamilyPolicy": "SingleStack",
        "ipFamilies": ["IPv4"],
    }


def test_a_headless_service_without_selector_takes_both_families():
    made, causes = checked(service(clusterIP="None", selector={}), "services")
    assert causes == []
    assert made["spec"]["ipFamilies"] == ["IPv4", "IPv6"]
    assert made["spec"]["clusterIPs"] == ["None"]


@pytest.mark.parametrize(
    ("spec", "cause"),
    [
        ({"ports": []}, ("Required", "spec.ports")),
        ({"ports": [{"port": 1}, {"port": 1, "name": "b"}]}, ("Required", "spec.ports[0].name")),
        ({"ports": [{"port": 1, "name": "a"}, {"port": 1, "name": "b"}]}, ("Duplicate", "spec.ports[1]")),
        ({"ports": [{"port": 1, "nodePort": 30000}]}, ("Forbidden", "spec.ports[0].nodePort")),
        ({"type": "NodePort", "clusterIP": "None"}, ("Invalid", "spec.clusterIPs[0]")),
        ({"type": "ExternalName"}, ("Required", "spec.externalName")),
        ({"clusterIP": "x"}, ("Invalid", "spec.clusterIPs[0]")),
        ({"clusterIP": "10.0.0.1", "ipFamilies": ["IPv6"]}, ("Invalid", "spec.clusterIPs[0]")),
        ({"ipFamilyPolicy": "RequireDualStack"}, ("Invalid", "spec.ipFamilyPolicy")),
        ({"externalIPs": ["127.0.0.1"]}, ("Invalid", "spec.externalIPs[0]")),
        ({"externalTrafficPolicy": "Local"}, ("Invalid", "spec.externalTrafficPolicy")),
        ({"healthCheckNodePort": 1}, ("Invalid", "spec.healthCheckNodePort")),
        ({"loadBalancerClass": "a/b"}, ("Forbidden", "spec.loadBalancerClass")),
        ({"loadBalancerSourceRanges": ["10.0.0.0/8"]}, ("Forbidden", "spec.LoadBalancerSourceRanges")),
        ({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}},
         ("Invalid", "spec.sessionAffinityConfig.clientIP.timeoutSeconds")),
        ({"trafficDistribution": "x"}, ("NotSupported", "spec.trafficDistribution")),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(spec, cause):
    assert cause in checked(service(**spec), "services")[1]


def test_the_address_is_carried_over_and_may_not_change():
    old, _ = checked(service(clusterIP="10.0.0.1"), "services")
    new = copy.deepcopy(old)
    del new["spec"]["clusterIP"], new["spec"]["clusterIPs"]
    updated, causes = changed(new, old, "services")
    assert causes == []
    assert updated["spec"]["clusterIPs"] == ["10.0.0.1"]
    new["spec"] |= {"clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.2"]}
    assert changed(new, old, "services")[1] == [("Invalid", "spec.clusterIPs[0]")]


def test_a_change_of_type_drops_what_the_new_type_does_not_have():
    old, _ = checked(service(type="NodePort", ports=[{"port": 1, "nodePort": 30001}], clusterIP="10.0.0.1"), "services")
    new = copy.deepcopy(old)
    new["spec"]["type"] = "ClusterIP"
    updated, causes = changed(new, old, "services")
    assert causes == []
    assert "nodePort" not in updated["spec"]["ports"][0]
    assert "externalTrafficPolicy" not in updated["spec"]
    new["spec"] |= {"type": "ExternalName", "externalName": "a.example"}
    updated, causes = changed(new, old, "services")
    assert causes == []
    assert "clusterIP" not in updated["spec"]
