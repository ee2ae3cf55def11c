"""What a cluster of both families programs: the same for each, by the family's own words."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.proxy.families import FAMILIES, IPV4, IPV6, family_of
from sparsam.proxy.ruleset import Ruleset
from sparsam.proxy.services import EMPTY, compile_service
from tests.support.proxy import NETWORK, NETWORK6, Tracer, endpoint_slice, service

IPS = ["10.96.0.5", "fd00:10:96::5"]
SLICES = [
    endpoint_slice("10.244.1.1", "10.244.2.1"),
    endpoint_slice("fd00:10:244:1::1", "fd00:10:244:2::1", name="web-2", family="IPv6"),
]
POD = {IPV4: "10.244.1.9", IPV6: "fd00:10:244:1::9"}
HOST = {IPV4: "192.0.2.10", IPV6: "fd00:7::10"}
CLIENT = {IPV4: "198.51.100.7", IPV6: "2001:db8::7"}


def both(**spec):
    return service(ip=IPS[0], clusterIPs=IPS, ipFamilies=["IPv4", "IPv6"], **spec)


def tracer(made, network, slices=SLICES):
    ruleset = Ruleset(network)
    ruleset.replace({("default", "web"): compile_service(made, slices, network)})
    return Tracer(ruleset.chains, ruleset.elements, local=tuple(HOST.values()))


@pytest.fixture(params=[NETWORK, NETWORK6], ids=["IPv4", "IPv6"])
def network(request):
    return request.param


@given(st.ip_addresses())
def test_an_address_has_one_family(address):
    family = family_of(str(address))
    assert family.version == address.version
    assert [each.has(str(address)) for each in FAMILIES] == [each is family for each in FAMILIES]


@given(st.lists(st.ip_addresses().map(lambda address: f"{address}/{address.max_prefixlen - address.version}")))
def test_merged_networks_cover_the_same_and_do_not_overlap(texts):
    for family in FAMILIES:
        merged = [family.network(each) for each in family.merged(texts)]
        for each in filter(family.has, texts):
            assert any(family.network(each, strict=False).subnet_of(whole) for whole in merged)
        assert not any(one.overlaps(other) for one in merged for other in merged if one != other)


def test_each_address_leads_to_the_endpoints_of_its_family(network):
    sent = tracer(both(), network).send(POD[network.family], network.family.of(tuple(IPS)), 80)
    assert sent.targets == {(each["addresses"][0], 8080) for each in SLICES[network is NETWORK6]["endpoints"]}
    assert sent.marked == {False}


def test_a_service_of_one_family_means_nothing_to_the_other(network):
    alone = service(ip=IPS[0], type="NodePort", ports=[{"name": "http", "port": 80, "nodePort": 30080}])
    fragment = compile_service(alone, SLICES, network)
    assert (fragment == EMPTY) == (network is NETWORK6)


def test_node_ports_and_load_balancer_addresses_are_served_in_both(network):
    family = network.family
    ports = [{"name": "http", "port": 80, "protocol": "TCP", "nodePort": 30080}]
    ingress = [{"ip": "203.0.113.5"}, {"ip": "fd00:8::5"}]
    made = both(type="LoadBalancer", ports=ports, status={"loadBalancer": {"ingress": ingress}})
    made["spec"]["loadBalancerSourceRanges"] = ["198.51.100.0/24", "2001:db8::/64"]
    walk = tracer(made, network)
    assert walk.send(CLIENT[family], HOST[family], 30080).marked == {True}
    balanced = ingress[network is NETWORK6]["ip"]
    assert walk.send(CLIENT[family], balanced, 80).targets
    assert walk.send(POD[family], balanced, 80).dropped


def test_local_traffic_stays_on_the_node(network):
    family = network.family
    ports = [{"name": "http", "port": 80, "protocol": "TCP", "nodePort": 30080}]
    walk = tracer(both(type="NodePort", ports=ports, externalTrafficPolicy="Local"), network)
    everywhere = walk.send(POD[family], HOST[family], 30080).targets
    assert everywhere == {(each["addresses"][0], 8080) for each in SLICES[network is NETWORK6]["endpoints"]}


def test_health_checks_count_the_endpoints_of_the_family(network):
    made = both(type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=32000)
    four_alone = [SLICES[0], endpoint_slice(name="web-2", family="IPv6")]
    assert compile_service(made, four_alone, network).health_check.endpoints == (0 if network is NETWORK6 else 2)


def test_what_nobody_serves_is_told_once():
    lost = service(externalIPs=["fd00::9"])
    warned = [compile_service(lost, SLICES, each).warnings for each in (NETWORK, NETWORK6)]
    assert [len(each) for each in warned] == [1, 0]
    assert not compile_service(both(externalIPs=["fd00::9"]), SLICES, NETWORK).warnings


def test_no_word_of_one_family_is_in_the_table_of_the_other(network):
    ruleset = Ruleset(replace(network, node_ip=HOST[network.family]))
    made = both(type="LoadBalancer", sessionAffinity="ClientIP", loadBalancerSourceRanges=["192.0.2.0/24", "fd00::/8"])
    ruleset.replace({("default", "web"): compile_service(made, SLICES, ruleset.network)})
    words = ruleset.render("sparsam").split()
    assert network.family.nft in words
    assert ({"ip": "ip6", "ip6": "ip"})[network.family.nft] not in words
