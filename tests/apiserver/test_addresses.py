from copy import deepcopy
from ipaddress import ip_address, ip_network

import pytest

from sparsam.apiserver.addresses import ServiceAddresses
from sparsam.errors import InternalError, Invalid
from sparsam.objects.strategies.service import prepare_create, prepare_update


def service(name="s", **spec):
    return {
        "metadata": {"name": name, "namespace": "d"},
        "spec": {"type": "ClusterIP", "ports": [{"port": 80}], **spec},
    }


def addresses(*services, cidr="10.96.0.0/16", node_ports=(30000, 32767)):
    return ServiceAddresses([cidr], node_ports, services, kept="10.96.0.1")


def reserve(pool, new, old=None):
    """What a write does: prepare, settle, then take."""
    if old is None:
        prepare_create(new)
    else:
        prepare_update(new, old)
    pool.settle(new, old)
    return pool.reserve(new, old)


def test_a_service_gets_an_address_of_the_range():
    new = service()
    reserve(addresses(), new, None)
    assert ip_address(new["spec"]["clusterIP"]) in ip_network("10.96.0.0/16")
    assert new["spec"]["clusterIPs"] == [new["spec"]["clusterIP"]]
    assert new["spec"]["ipFamilies"] == ["IPv4"]


def test_the_address_that_was_asked_for_is_given_once():
    pool = addresses()
    reserve(pool, service(clusterIP="10.96.7.7"), None)
    with pytest.raises(Invalid, match="provided IP is already allocated"):
        reserve(pool, service("other", clusterIP="10.96.7.7"), None)


@pytest.mark.parametrize(
    ("ip", "why"),
    [("192.168.1.1", "not in the valid range"), ("10.96.0.1", "already allocated")],
)
def test_addresses_out_of_range_or_kept_are_invalid(ip, why):
    with pytest.raises(Invalid, match=why) as caught:
        reserve(addresses(), service(clusterIP=ip), None)
    assert caught.value.details["causes"][0]["field"] == "spec.clusterIPs"


def test_headless_and_external_name_take_no_address():
    pool = addresses()
    headless, external = service(clusterIP="None"), service(type="ExternalName", externalName="a.example")
    reserve(pool, headless, None)
    reserve(pool, external, None)
    assert headless["spec"]["clusterIPs"] == ["None"]
    assert "clusterIP" not in external["spec"]


def test_what_a_failed_write_took_is_free_again():
    pool = addresses()
    taken = reserve(pool, service(clusterIP="10.96.7.7"), None)
    taken.undo()
    reserve(pool, service(clusterIP="10.96.7.7"), None)


def test_a_deleted_service_frees_what_it_held():
    pool = addresses()
    new = service(clusterIP="10.96.7.7", type="NodePort", ports=[{"port": 80, "nodePort": 30080}])
    reserve(pool, new, None)
    pool.release(new)
    reserve(pool, service(clusterIP="10.96.7.7", type="NodePort", ports=[{"port": 80, "nodePort": 30080}]), None)


def test_stored_services_keep_what_they_have_after_a_restart():
    pool = addresses(service(clusterIP="10.96.7.7", clusterIPs=["10.96.7.7"]))
    with pytest.raises(Invalid):
        reserve(pool, service(clusterIP="10.96.7.7"), None)


def test_node_ports_are_given_and_conflicts_name_their_field():
    pool = addresses()
    new = service(type="NodePort", ports=[{"port": 80}, {"port": 81, "nodePort": 31000}])
    reserve(pool, new, None)
    assert 30000 <= new["spec"]["ports"][0]["nodePort"] <= 32767
    with pytest.raises(Invalid, match="provided port is already allocated") as caught:
        reserve(pool, service("o", type="NodePort", ports=[{"port": 80}, {"port": 81, "nodePort": 31000}]), None)
    assert caught.value.details["causes"][0]["field"] == "spec.ports[1].nodePort"
    with pytest.raises(Invalid, match="valid ports is 30000-32767"):
        reserve(pool, service("o", type="NodePort", ports=[{"port": 80, "nodePort": 80}]), None)


def test_two_protocols_of_one_port_share_a_node_port():
    new = service(type="NodePort", ports=[{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}])
    reserve(addresses(), new, None)
    assert new["spec"]["ports"][0]["nodePort"] == new["spec"]["ports"][1]["nodePort"]


def test_a_load_balancer_may_do_without_node_ports():
    new = service(type="LoadBalancer", allocateLoadBalancerNodePorts=False)
    reserve(addresses(), new, None)
    assert "nodePort" not in new["spec"]["ports"][0]


def test_an_update_keeps_what_it_has_and_frees_what_it_drops():
    pool = addresses()
    old = service(type="NodePort", ports=[{"port": 80, "nodePort": 31000}])
    reserve(pool, old, None)
    new = service(clusterIP=old["spec"]["clusterIP"])
    taken = reserve(pool, new, old)
    assert new["spec"]["clusterIP"] == old["spec"]["clusterIP"]
    reserve(pool, service("o", type="NodePort", ports=[{"port": 80, "nodePort": 31000}]), None)
    taken.undo()


def test_a_full_range_says_so():
    pool = addresses(cidr="10.96.0.0/29")
    for number in range(5):
        reserve(pool, service(f"s{number}"), None)
    with pytest.raises(InternalError, match="range is full"):
        reserve(pool, service("last"), None)
    tiny = addresses(node_ports=(30000, 30000))
    reserve(tiny, service(type="NodePort"), None)
    with pytest.raises(InternalError, match="range is full"):
        reserve(tiny, service("o", type="NodePort"), None)


def test_a_load_balancer_that_keeps_traffic_local_gets_a_port_for_health_checks():
    pool = addresses()
    first = service(type="LoadBalancer", externalTrafficPolicy="Local", ports=[])
    reserve(pool, first, None)
    port = first["spec"]["healthCheckNodePort"]
    assert 30000 <= port <= 32767
    asks = service(type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=port, ports=[])
    with pytest.raises(InternalError, match=f"failed to allocate requested HealthCheck NodePort {port}"):
        reserve(pool, asks, None)
    reserve(pool, service(type="ClusterIP", ports=[]), first)
    reserve(pool, asks, None)
    assert asks["spec"]["healthCheckNodePort"] == port


def both(*services):
    return ServiceAddresses(["10.96.0.0/16", "fd00:10:96::/112"], (30000, 32767), services, kept="10.96.0.1")


def test_a_service_of_both_families_gets_an_address_of_each_range():
    pool, new = both(), service(ipFamilyPolicy="RequireDualStack", ipFamilies=["IPv6"])
    reserve(pool, new)
    first, second = map(ip_address, new["spec"]["clusterIPs"])
    assert new["spec"]["clusterIP"] == str(first)
    assert first in ip_network("fd00:10:96::/112")
    assert second in ip_network("10.96.0.0/16")


def test_an_upgrade_takes_a_second_address_and_a_downgrade_gives_it_back():
    pool, old = both(), service(clusterIP="10.96.7.7")
    reserve(pool, old)
    new = deepcopy(old)
    new["spec"]["ipFamilyPolicy"] = "PreferDualStack"
    reserve(pool, new, old)
    assert new["spec"]["clusterIPs"][0] == "10.96.7.7"
    second = new["spec"]["clusterIPs"][1]
    with pytest.raises(Invalid, match="already allocated"):
        reserve(pool, service("other", clusterIP=second))
    less = deepcopy(new)
    less["spec"]["ipFamilyPolicy"] = "SingleStack"
    reserve(pool, less, new)
    assert less["spec"]["clusterIPs"] == ["10.96.7.7"]
    reserve(pool, service("other", clusterIP=second))


def test_a_second_address_may_be_asked_for_and_a_refused_one_takes_nothing():
    pool, old = both(), service(clusterIP="10.96.7.7")
    reserve(pool, old)
    new = deepcopy(old)
    new["spec"] |= {"ipFamilyPolicy": "RequireDualStack", "clusterIPs": ["10.96.7.7", "fd00:10:97::1"]}
    why = r'\["10.96.7.7","fd00:10:97::1"\]: failed to allocate IP fd00:10:97::1: .* not in the valid range'
    with pytest.raises(Invalid, match=why):
        reserve(pool, new, old)
    new["spec"]["clusterIPs"][1] = "fd00:10:96::7"
    reserve(pool, new, old)
    assert new["spec"]["clusterIPs"] == ["10.96.7.7", "fd00:10:96::7"]


def test_a_large_range_of_ipv6_can_be_given_out():
    pool, new = ServiceAddresses(["fd00:10:96::/48"], (30000, 32767), [], kept="fd00:10:96::1"), service()
    reserve(pool, new)
    assert ip_address(new["spec"]["clusterIP"]) in ip_network("fd00:10:96::/48")
