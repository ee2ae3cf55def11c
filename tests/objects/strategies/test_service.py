"""Services: defaults, types and addresses."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.objects.strategies import service as services
from sparsam.objects.strategies.service_addresses import FAMILIES, settle
from tests.support.pods import pairs

SINGLE, DUAL = ("IPv4",), ("IPv4", "IPv6")
BOTH_IPS = ["10.0.0.1", "fd00::1"]
POLICY = ("Invalid", "spec.ipFamilyPolicy")


def checked(obj, cluster=SINGLE):
    """(a new Service as a cluster of these families has it, its causes)."""
    obj = copy.deepcopy(obj)
    services.default_service(obj)
    services.prepare_create(obj)
    return obj, pairs(settle(obj["spec"], None, cluster) or services.validate(obj))


def changed(new, old, cluster=SINGLE):
    """The same for an update."""
    new = copy.deepcopy(new)
    services.default_service(new)
    services.prepare_update(new, old)
    return new, pairs(settle(new["spec"], old["spec"], cluster) or services.validate_update(new, old))


def service(**spec):
    return {
        "metadata": {"name": "s", "namespace": "t"},
        "spec": {"ports": [{"port": 80}], "selector": {"a": "b"}} | spec,
    }


def test_a_plain_service_gets_upstreams_defaults():
    made, causes = checked(service())
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
    made, causes = checked(service(clusterIP="None", selector={}))
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
    assert cause in checked(service(**spec))[1]


def test_the_address_is_carried_over_and_may_not_change():
    old, _ = checked(service(clusterIP="10.0.0.1"))
    new = copy.deepcopy(old)
    del new["spec"]["clusterIP"], new["spec"]["clusterIPs"]
    updated, causes = changed(new, old)
    assert causes == []
    assert updated["spec"]["clusterIPs"] == ["10.0.0.1"]
    new["spec"] |= {"clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.2"]}
    assert changed(new, old)[1] == [("Invalid", "spec.clusterIPs[0]")]


def test_a_change_of_type_drops_what_the_new_type_does_not_have():
    old, _ = checked(service(type="NodePort", ports=[{"port": 1, "nodePort": 30001}], clusterIP="10.0.0.1"))
    new = copy.deepcopy(old)
    new["spec"]["type"] = "ClusterIP"
    updated, causes = changed(new, old)
    assert causes == []
    assert "nodePort" not in updated["spec"]["ports"][0]
    assert "externalTrafficPolicy" not in updated["spec"]
    new["spec"] |= {"type": "ExternalName", "externalName": "a.example"}
    updated, causes = changed(new, old)
    assert causes == []
    assert "clusterIP" not in updated["spec"]


@pytest.mark.parametrize(
    ("asked", "policy", "families"),
    [
        ({}, "SingleStack", ["IPv4"]),
        ({"ipFamilyPolicy": "PreferDualStack"}, "PreferDualStack", ["IPv4", "IPv6"]),
        ({"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6"]}, "RequireDualStack", ["IPv6", "IPv4"]),
        ({"ipFamilies": ["IPv6"]}, "SingleStack", ["IPv6"]),
        ({"clusterIP": "fd00::1"}, "SingleStack", ["IPv6"]),
        ({"clusterIP": "fd00::1", "ipFamilyPolicy": "PreferDualStack"}, "PreferDualStack", ["IPv6", "IPv4"]),
        ({"clusterIPs": BOTH_IPS, "ipFamilyPolicy": "PreferDualStack"}, "PreferDualStack", ["IPv4", "IPv6"]),
        ({"clusterIP": "None"}, "SingleStack", ["IPv4"]),
        ({"clusterIP": "None", "ipFamilyPolicy": "PreferDualStack"}, "PreferDualStack", ["IPv4", "IPv6"]),
        ({"clusterIP": "None", "selector": None}, "RequireDualStack", ["IPv4", "IPv6"]),
        ({"clusterIP": "None", "selector": None, "ipFamilyPolicy": "SingleStack"}, "SingleStack", ["IPv4"]),
    ],
)
def test_on_a_cluster_of_both_families_policy_and_families_are_filled_in(asked, policy, families):
    made, causes = checked(service(**asked), DUAL)
    assert causes == []
    assert (made["spec"]["ipFamilyPolicy"], made["spec"]["ipFamilies"]) == (policy, families)


@pytest.mark.parametrize(
    ("asked", "cluster", "causes"),
    [
        ({"ipFamilies": ["IPv4", "IPv6"]}, DUAL, [POLICY]),
        ({"clusterIPs": BOTH_IPS}, DUAL, [POLICY]),
        ({"clusterIPs": BOTH_IPS, "ipFamilyPolicy": "SingleStack"}, DUAL, [POLICY]),
        ({"ipFamilies": ["IPv6", "IPv6"]}, DUAL, [("Duplicate", "spec.ipFamilies[1]")]),
        ({"clusterIPs": ["10.0.0.1", "10.0.0.2"], "ipFamilyPolicy": "PreferDualStack"}, DUAL,
         [("Invalid", "spec.clusterIPs")]),
        ({"ipFamilyPolicy": "RequireDualStack"}, SINGLE, [POLICY]),
        ({"ipFamilies": ["IPv6"]}, SINGLE, [("Invalid", "spec.ipFamilies[0]")]),
        ({"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "PreferDualStack"}, SINGLE,
         [("Invalid", "spec.ipFamilies[1]")]),
        ({"clusterIP": "fd00::1"}, SINGLE, [("Invalid", "spec.clusterIPs[0]")]),
    ],
)  # fmt: skip
def test_families_that_cannot_be_had_are_named(asked, cluster, causes):
    assert checked(service(**asked), cluster)[1] == causes


def dual(**spec):
    """A stored Service of both families."""
    made, causes = checked(service(clusterIPs=BOTH_IPS, ipFamilyPolicy="PreferDualStack", **spec), DUAL)
    assert causes == []
    return made


def single():
    return checked(service(clusterIP="10.0.0.1"), DUAL)[0]


def test_a_service_takes_the_second_family_when_its_policy_says_so():
    old = single()
    for policy in ("PreferDualStack", "RequireDualStack"):
        new, causes = changed(old | {"spec": old["spec"] | {"ipFamilyPolicy": policy}}, old, DUAL)
        assert causes == []
        assert (new["spec"]["clusterIPs"], new["spec"]["ipFamilies"]) == (["10.0.0.1"], ["IPv4", "IPv6"])


def test_with_the_policy_alone_the_second_family_goes():
    old = dual()
    new, causes = changed(old | {"spec": old["spec"] | {"ipFamilyPolicy": "SingleStack"}}, old, DUAL)
    assert causes == []
    assert (new["spec"]["clusterIPs"], new["spec"]["ipFamilies"]) == (["10.0.0.1"], ["IPv4"])


def test_without_the_policy_the_second_family_stays():
    old = dual()
    for spec in ({"clusterIPs": BOTH_IPS[:1]}, {"ipFamilies": ["IPv4"]}):
        assert changed(old | {"spec": old["spec"] | spec}, old, DUAL)[1] == [POLICY]


def test_the_first_family_never_changes():
    old = dual()
    turned = {"clusterIP": "fd00::1", "clusterIPs": BOTH_IPS[::-1], "ipFamilies": ["IPv6", "IPv4"]}
    causes = changed(old | {"spec": old["spec"] | turned}, old, DUAL)[1]
    assert ("Invalid", "spec.clusterIPs[0]") in causes
    assert ("Invalid", "spec.ipFamilies[0]") in causes


def test_a_service_that_prefers_both_stays_as_it_is_where_the_cluster_has_more_by_now():
    old = checked(service(clusterIP="10.0.0.1", ipFamilyPolicy="PreferDualStack"), SINGLE)[0]
    new, causes = changed(old, old, DUAL)
    assert causes == []
    assert new["spec"]["ipFamilies"] == ["IPv4"]


policies = st.sampled_from([None, "SingleStack", "PreferDualStack", "RequireDualStack"])
addresses = st.sampled_from([None, [], ["10.0.0.1"], ["fd00::1"], BOTH_IPS, BOTH_IPS[::-1], ["None"]])
families = st.sampled_from([None, [], ["IPv4"], ["IPv6"], ["IPv4", "IPv6"], ["IPv6", "IPv4"]])


@given(policies, addresses, families, st.booleans(), st.sampled_from([("IPv4",), ("IPv6",), DUAL, DUAL[::-1]]))
def test_whatever_is_accepted_fits_together(policy, ips, wanted, selects, cluster):
    asked = {
        "ipFamilyPolicy": policy,
        "clusterIPs": ips,
        "ipFamilies": wanted,
        "selector": {"a": "b"} if selects else {},
    }
    made, causes = checked(service(**{name: value for name, value in asked.items() if value is not None}), cluster)
    if causes:
        return
    spec = made["spec"]
    own = spec.get("clusterIPs") or []
    assert len(set(spec["ipFamilies"])) == len(spec["ipFamilies"]) in (1, 2)
    if own != ["None"]:
        assert set(spec["ipFamilies"]) <= set(cluster)
        assert all((":" in ip) == (family == "IPv6") for ip, family in zip(own, spec["ipFamilies"], strict=False))
    if spec["ipFamilyPolicy"] == "SingleStack":
        assert len(spec["ipFamilies"]) == 1
    if spec["ipFamilyPolicy"] == "RequireDualStack":
        assert set(spec["ipFamilies"]) == set(FAMILIES)
    again, more = changed(made, made, cluster)
    assert (again["spec"], more) == (spec, [])
