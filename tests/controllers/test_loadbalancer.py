from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.controllers.loadbalancer import CLASS, LoadBalancers, NoAddress, choose, ingress_ips, is_ours
from sparsam.objects.kinds import EVENTS, SERVICES
from tests.support.controllers import controlled, eventually

POOL, POOL6 = ip_network("10.97.0.0/29"), ip_network("fd00:97::/112")
POOLS = {"IPv4": POOL}
BOTH = {"IPv6": POOL6, "IPv4": POOL}


def service(name="web", has=(), **spec):
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80}], **spec},
        "status": {"loadBalancer": {"ingress": [{"ip": ip} for ip in has]}},
    }


@pytest.mark.parametrize(
    ("spec", "ours"),
    [
        ({}, True),
        ({"loadBalancerClass": CLASS}, True),
        ({"loadBalancerClass": "example.com/other"}, False),
        ({"type": "NodePort"}, False),
    ],
)
def test_services_of_another_class_are_left_alone(spec, ours):
    assert is_ours(service(**spec)) is ours


@pytest.mark.parametrize(
    ("made", "taken", "chosen"),
    [
        (service(), set(), "10.97.0.1"),
        (service(), {"10.97.0.1"}, "10.97.0.2"),
        (service(has=["10.97.0.4"]), set(), "10.97.0.4"),
        (service(has=["10.97.0.4"]), {"10.97.0.4"}, "10.97.0.1"),
        (service(has=["192.0.2.1"]), set(), "10.97.0.1"),
        (service(has=["10.97.0.4"], loadBalancerIP="10.97.0.6"), set(), "10.97.0.6"),
    ],
)
def test_who_asks_gets_what_it_asks_for_and_others_keep_what_they_have(made, taken, chosen):
    assert choose(made, POOLS, taken) == [chosen]


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (service(loadBalancerIP="192.0.2.1"), "not in the pool"),
        (service(loadBalancerIP="10.97.0.2"), "already in use"),
        (service(loadBalancerIP="web.example"), "not in the pool"),
        (service(), "no free address"),
    ],
)
def test_who_cannot_be_served_is_told_why(made, why):
    with pytest.raises(NoAddress, match=why):
        choose(made, POOLS, {str(ip) for ip in POOL.hosts()})


@pytest.mark.parametrize(
    ("families", "pools", "spec", "chosen"),
    [
        (["IPv4", "IPv6"], BOTH, {}, ["10.97.0.1", "fd00:97::1"]),
        (["IPv6", "IPv4"], BOTH, {}, ["fd00:97::1", "10.97.0.1"]),
        (["IPv6"], BOTH, {}, ["fd00:97::1"]),
        (["IPv4", "IPv6"], POOLS, {}, ["10.97.0.1"]),
        (["IPv4", "IPv6"], BOTH, {"loadBalancerIP": "fd00:97::7"}, ["10.97.0.1", "fd00:97::7"]),
    ],
)
def test_a_service_gets_an_address_of_each_of_its_families_that_has_a_pool(families, pools, spec, chosen):
    assert choose(service(ipFamilies=families, **spec), pools, set()) == chosen


def test_a_family_without_pool_is_named():
    with pytest.raises(NoAddress, match="no pool of IPv6"):
        choose(service(ipFamilies=["IPv6"]), POOLS, set())
    with pytest.raises(NoAddress, match="not in the pool"):
        choose(service(ipFamilies=["IPv4"], loadBalancerIP="fd00:97::7"), BOTH, set())


@given(st.sets(st.sampled_from([str(ip) for ip in POOL.hosts()]), max_size=5))
def test_an_address_is_never_one_that_another_has(taken):
    assert not set(choose(service(), POOLS, taken)) & set(taken)


async def test_addresses_are_given_kept_moved_and_taken_back(tmp_path):
    def make(context):
        return LoadBalancers(context, cidrs=["10.97.0.0/30"])

    async with controlled(tmp_path, make) as client:

        async def holds(name, *ips):
            return ingress_ips(await client.get(SERVICES, name, "default")) == list(ips)

        for name, ip in (("one", "10.97.0.1"), ("two", "10.97.0.2")):
            await client.create(SERVICES, service(name))
            await eventually(lambda name=name, ip=ip: holds(name, ip))
        await client.create(SERVICES, service("three"))

        async def said():
            listed = await client.list(EVENTS, "default")
            return {(each["involvedObject"]["name"], each["reason"]) for each in listed["items"]}

        async def three_waits():
            return ("three", "SyncLoadBalancerFailed") in await said()

        await eventually(three_waits)
        await client.patch(SERVICES, "one", {"spec": {"type": "ClusterIP"}}, namespace="default")
        await eventually(lambda: holds("one"))
        await eventually(lambda: holds("three", "10.97.0.1"))
        await client.delete(SERVICES, "two", "default")
        await client.patch(SERVICES, "three", {"spec": {"loadBalancerIP": "10.97.0.2"}}, namespace="default")
        await eventually(lambda: holds("three", "10.97.0.2"))

        async def told():
            return {
                ("one", "EnsuringLoadBalancer"),
                ("one", "EnsuredLoadBalancer"),
                ("one", "DeletingLoadBalancer"),
                ("one", "DeletedLoadBalancer"),
            } <= await said()

        await eventually(told)
