import asyncio

import pytest

from sparsam.agent.routes import RoutesConfig, RoutingTable, apply_to_kernel, plan_changes, purge, run, wanted_routes
from sparsam.client.api import ApiClient
from sparsam.client.config import load_kubeconfig
from sparsam.objects.kinds import NODES
from tests.support.apiserver import serving
from tests.support.netns import namespaces, needs_ipv6

CLUSTER = "10.244.0.0/16"


def node(name, cidr="", ip=""):
    addresses = [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": ip}] if ip else []
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name},
        "spec": {"podCIDR": cidr, "podCIDRs": [cidr]} if cidr else {},
        "status": {"addresses": addresses},
    }


def test_every_other_node_with_network_and_address_gets_a_route():
    nodes = [
        node("me", "10.244.0.0/24", "192.0.2.1"),
        node("b", "10.244.1.0/24", "192.0.2.2"),
        node("new", "10.244.2.0/24"),
        node("bare", "", "192.0.2.4"),
    ]
    assert wanted_routes(nodes, "me", [CLUSTER]) == {"10.244.1.0/24": "192.0.2.2"}


@pytest.mark.parametrize(
    ("cidr", "ip"),
    [
        ("0.0.0.0/0", "192.0.2.2"),
        ("192.168.0.0/24", "192.0.2.2"),
        ("10.244.0.0/16", "192.0.2.2"),
        ("10.244.1.7/24", "192.0.2.2"),
        ("fd00::/64", "192.0.2.2"),
        ("10.244.1.0/24", "fd00::2"),
        ("10.244.1.0/24", "nonsense"),
    ],
)
def test_a_node_cannot_ask_for_a_route_to_anything_but_pods(cidr, ip):
    assert wanted_routes([node("b", cidr, ip)], "me", [CLUSTER]) == {}


def test_with_both_families_each_network_goes_by_the_address_of_its_own():
    both = node("b", "10.244.1.0/24", "192.0.2.2")
    both["spec"]["podCIDRs"].append("fd00:10:244:1::/64")
    both["status"]["addresses"].append({"type": "InternalIP", "address": "fd00::2"})
    assert wanted_routes([both, node("old", "10.244.2.0/24", "192.0.2.3")], "me", [CLUSTER, "fd00:10:244::/56"]) == {
        "10.244.1.0/24": "192.0.2.2",
        "fd00:10:244:1::/64": "fd00::2",
        "10.244.2.0/24": "192.0.2.3",
    }


def test_routes_are_added_moved_and_removed():
    table = RoutingTable({"10.244.1.0/24": "192.0.2.2", "10.244.2.0/24": "192.0.2.3"}, frozenset())
    changes = plan_changes({"10.244.1.0/24": "192.0.2.9", "10.244.3.0/24": "192.0.2.4"}, table)
    assert changes.add == {"10.244.1.0/24": "192.0.2.9", "10.244.3.0/24": "192.0.2.4"}
    assert changes.remove == ("10.244.2.0/24",)
    settled = plan_changes(dict(table.own), table)
    assert (settled.add, settled.remove) == ({}, ())


def test_a_route_of_somebody_elses_stays():
    table = RoutingTable({}, frozenset({"10.244.1.0/24"}))
    changes = plan_changes({"10.244.1.0/24": "192.0.2.2"}, table)
    assert (changes.add, changes.remove) == ({}, ())


@pytest.mark.needs_root
def test_the_kernel_gets_our_routes_and_keeps_those_of_others(caplog):
    with namespaces(1) as (machine,):
        for words in (
            "link add d0 type bridge",
            "addr add 192.0.2.1/24 dev d0",
            "link set d0 up",
            "route add 10.244.9.0/24 via 192.0.2.99",
            "route add 198.51.100.0/24 via 192.0.2.99",
            "route add 172.30.0.0/24 via 192.0.2.9 proto 115",
        ):
            machine.ip(words)
        wanted = {
            "10.244.1.0/24": "192.0.2.2",
            "10.244.2.0/24": "198.51.100.7",
            "10.244.3.0/24": "192.0.2.1",
            "10.244.9.0/24": "192.0.2.5",
        }
        told = set()
        for _ in range(2):
            machine.call(lambda: apply_to_kernel(wanted, (CLUSTER,), told))
        assert machine.ip("-4 route show proto 115 root 10.244.0.0/16").split("\n")[0].split()[:3] == [
            "10.244.1.0/24",
            "via",
            "192.0.2.2",
        ]
        assert len(machine.ip("route show proto 115").splitlines()) == 2
        assert "10.244.9.0/24 via 192.0.2.99" in machine.ip("route")
        assert len([each for each in caplog.messages if "10.244.2.0/24" in each]) == 1
        machine.call(lambda: purge((CLUSTER,)))
        assert machine.ip("route show proto 115").split()[:3] == ["172.30.0.0/24", "via", "192.0.2.9"]
        assert "10.244.9.0/24 via 192.0.2.99" in machine.ip("route")


@pytest.mark.needs_root
@needs_ipv6
def test_the_kernel_gets_routes_of_both_families():
    clusters = (CLUSTER, "fd00:10:244::/56")
    with namespaces(1) as (machine,):
        for words in ("link add d0 type bridge", "addr add fd00::1/64 dev d0 nodad", "link set d0 up"):
            machine.ip(words)
        machine.call(lambda: apply_to_kernel({"fd00:10:244:1::/64": "fd00::2"}, clusters, set()))
        assert "fd00:10:244:1::/64 via fd00::2" in machine.ip("-6 route show proto 115")
        machine.call(lambda: purge(clusters))
        assert machine.ip("-6 route show proto 115") == ""


async def test_routes_follow_the_nodes_of_the_cluster(tmp_path):
    async with serving(tmp_path) as server, ApiClient(load_kubeconfig(server.kubeconfig)) as client:
        applied: asyncio.Queue[dict[str, str]] = asyncio.Queue()
        config = RoutesConfig(client=client.config, node_name="me", cluster_cidrs=(CLUSTER,))
        loop = asyncio.get_running_loop()

        def record(wanted, *_):
            loop.call_soon_threadsafe(applied.put_nowait, dict(wanted))

        keeping = asyncio.create_task(run(config, record))
        try:
            other = node("b", "10.244.1.0/24", "192.0.2.2")
            await client.create(NODES, other)
            await client.patch(NODES, "b", {"status": other["status"]}, subresource="status")
            await until(applied, {"10.244.1.0/24": "192.0.2.2"})
            await client.delete(NODES, "b")
            await until(applied, {})
        finally:
            keeping.cancel()
            await asyncio.wait({keeping})


async def until(applied, wanted):
    async with asyncio.timeout(20):
        while await applied.get() != wanted:
            pass
