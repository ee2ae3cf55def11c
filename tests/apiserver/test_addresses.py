from ipaddress import ip_address, ip_network

import pytest

from sparsam.apiserver.addresses import ServiceAddresses
from sparsam.errors import InternalError, Invalid


def service(name="s", **spec):
    return {
        "metadata": {"name": name, "namespace": "d"},
        "spec": {"type": "ClusterIP", "ports": [{"port": 80}], **spec},
    }


def addresses(*services, cidr="10.96.0.0/16", node_ports=(30000, 32767)):
    return ServiceAddresses(cidr, node_ports, services, kept="10.96.0.1")


def test_a_service_gets_an_address_of_the_range():
    new = service()
    addresses().reserve(new, None)
    assert ip_address(new["spec"]["clusterIP"]) in ip_network("10.96.0.0/16")
    assert new["spec"]["clusterIPs"] == [new["spec"]["clusterIP"]]
    assert new["spec"]["ipFamilies"] == ["IPv4"]


def test_the_address_that_was_asked_for_is_given_once():
    pool = addresses()
    pool.reserve(service(clusterIP="10.96.7.7"), None)
    with pytest.raises(Invalid, match="provided IP is already allocated"):
        pool.reserve(service("other", clusterIP="10.96.7.7"), None)


@pytest.mark.parametrize(
    ("ip", "why"),
    [("192.168.1.1", "not in the valid range"), ("10.96.0.1", "already allocated")],
)
def test_addresses_out_of_range_or_kept_are_invalid(ip, why):
    with pytest.raises(Invalid, match=why) as caught:
        addresses().reserve(service(clusterIP=ip), None)
    assert caught.value.details["causes"][0]["field"] == "spec.clusterIPs"


def test_headless_and_external_name_take_no_address():
    pool = addresses()
    headless, external = service(clusterIP="None"), service(type="ExternalName", externalName="a.example")
    pool.reserve(headless, None)
    pool.reserve(external, None)
    assert headless["spec"]["clusterIPs"] == ["None"]
    assert "clusterIP" not in external["spec"]


def test_what_a_failed_write_took_is_free_again():
    pool = addresses()
    taken = pool.reserve(service(clusterIP="10.96.7.7"), None)
    taken.undo()
    pool.reserve(service(clusterIP="10.96.7.7"), None)


def test_a_deleted_service_frees_what_it_held():
    pool = addresses()
    new = service(clusterIP="10.96.7.7", type="NodePort", ports=[{"port": 80, "nodePort": 30080}])
    pool.reserve(new, None)
    pool.release(new)
    pool.reserve(service(clusterIP="10.96.7.7", type="NodePort", ports=[{"port": 80, "nodePort": 30080}]), None)


def test_stored_services_keep_what_they_have_after_a_restart():
    pool = addresses(service(clusterIP="10.96.7.7", clusterIPs=["10.96.7.7"]))
    with pytest.raises(Invalid):
        pool.reserve(service(clusterIP="10.96.7.7"), None)


def test_node_ports_are_given_and_conflicts_name_their_field():
    pool = addresses()
    new = service(type="NodePort", ports=[{"port": 80}, {"port": 81, "nodePort": 31000}])
    pool.reserve(new, None)
    assert 30000 <= new["spec"]["ports"][0]["nodePort"] <= 32767
    with pytest.raises(Invalid, match="provided port is already allocated") as caught:
        pool.reserve(service("o", type="NodePort", ports=[{"port": 80}, {"port": 81, "nodePort": 31000}]), None)
    assert caught.value.details["causes"][0]["field"] == "spec.ports[1].nodePort"
    with pytest.raises(Invalid, match="valid ports is 30000-32767"):
        pool.reserve(service("o", type="NodePort", ports=[{"port": 80, "nodePort": 80}]), None)


def test_two_protocols_of_one_port_share_a_node_port():
    new = service(type="NodePort", ports=[{"port": 53, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}])
    addresses().reserve(new, None)
    assert new["spec"]["ports"][0]["nodePort"] == new["spec"]["ports"][1]["nodePort"]


def test_a_load_balancer_may_do_without_node_ports():
    new = service(type="LoadBalancer", allocateLoadBalancerNodePorts=False)
    addresses().reserve(new, None)
    assert "nodePort" not in new["spec"]["ports"][0]


def test_an_update_keeps_what_it_has_and_frees_what_it_drops():
    pool = addresses()
    old = service(type="NodePort", ports=[{"port": 80, "nodePort": 31000}])
    pool.reserve(old, None)
    new = service(clusterIP=old["spec"]["clusterIP"])
    taken = pool.reserve(new, old)
    assert new["spec"]["clusterIP"] == old["spec"]["clusterIP"]
    pool.reserve(service("o", type="NodePort", ports=[{"port": 80, "nodePort": 31000}]), None)
    taken.undo()


def test_a_full_range_says_so():
    pool = addresses(cidr="10.96.0.0/29")
    for number in range(5):
        pool.reserve(service(f"s{number}"), None)
    with pytest.raises(InternalError, match="range is full"):
        pool.reserve(service("last"), None)
    tiny = addresses(node_ports=(30000, 30000))
    tiny.reserve(service(type="NodePort"), None)
    with pytest.raises(InternalError, match="range is full"):
        tiny.reserve(service("o", type="NodePort"), None)


def test_a_load_balancer_that_keeps_traffic_local_gets_a_port_for_health_checks():
    pool = addresses()
    first = service(type="LoadBalancer", externalTrafficPolicy="Local", ports=[])
    pool.reserve(first, None)
    port = first["spec"]["healthCheckNodePort"]
    assert 30000 <= port <= 32767
    asks = service(type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=port, ports=[])
    with pytest.raises(InternalError, match=f"failed to allocate requested HealthCheck NodePort {port}"):
        pool.reserve(asks, None)
    pool.reserve(service(type="ClusterIP", ports=[]), first)
    pool.reserve(asks, None)
    assert asks["spec"]["healthCheckNodePort"] == port
