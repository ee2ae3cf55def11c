"""The table of NetworkPolicies: changes in steps, and real packets that come through or do not."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from sparsam.proxy.families import IPV4, IPV6, Family
from sparsam.proxy.policies import Cluster, compile_policies, facts_of
from sparsam.proxy.policytable import EMPTY, PolicyTable, Site, build_table, render_change, render_whole
from tests.proxy.test_traffic import CLIENT_IP, A, B, World
from tests.support.netns import namespaces
from tests.support.policies import pod, policy
from tests.support.proxy import comparable, has_nft

needs_nft = pytest.mark.skipif(not has_nft(), reason="nftables needs root and a kernel that has it")
TABLE = "sparsam-policy"
SITE, SITE6 = (Site(family, TABLE, "spc0") for family in (IPV4, IPV6))


def table(policies: Iterable[dict[str, Any]], *pods: dict[str, Any], family: Family = IPV4) -> PolicyTable:
    facts = [facts for each in pods if (facts := facts_of(each, "n1", family))]
    return build_table(compile_policies(policies, Cluster(facts, family=family)), family)


def test_without_isolation_the_table_goes():
    assert render_whole(SITE, EMPTY) == render_change(SITE, table([policy()], pod("a", A)), EMPTY)
    assert render_whole(SITE, EMPTY) == f"add table ip {TABLE}\ndelete table ip {TABLE}\n"


def test_a_pod_more_changes_elements_and_no_rules():
    rules = [policy(ingress=[{"from": [{"podSelector": {}}]}])]
    before = table(rules, *(pod(f"p{number}", f"10.0.0.{number}") for number in range(1, 100)))
    after = table(rules, *(pod(f"p{number}", f"10.0.0.{number}") for number in range(1, 101)))
    assert len(before.chains) == 1
    change = render_change(SITE, before, after).splitlines()
    assert len(change) == 3
    assert all(line.startswith("add element") and "10.0.0.100" in line for line in change)
    assert render_change(SITE, after, after).strip() == ""


@pytest.fixture
def world() -> Any:
    with namespaces(4) as made:
        yield World(*made)


class Kernel:
    """Follows tables in steps."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.present = EMPTY

    def apply(self, wanted: PolicyTable) -> None:
        text = render_change(SITE, self.present, wanted)
        self.world.node.call(lambda: self.world.nft.run(text))
        self.present = wanted

    def listing(self) -> list[str]:
        if not self.present:
            return []
        return comparable(self.world.node.run("nft", "list", "table", "ip", TABLE))


def reaches(who: Any, ip: str, port: int) -> bool:
    try:
        who.ask(ip, port)
    except OSError:
        return False
    return True


@pytest.mark.needs_root
@pytest.mark.needs_nft
@needs_nft
def test_packets_obey(world: World):
    kernel = Kernel(world)

    def apply(*policies: dict[str, Any]) -> None:
        kernel.apply(table(policies, pod("a", A), pod("b", B)))

    assert reaches(world.a, B, 8080)
    apply(policy(podSelector={"matchLabels": {"app": "b"}}, policyTypes=["Ingress"]))
    assert not reaches(world.a, B, 8080)
    assert reaches(world.b, A, 8080)
    assert reaches(world.node, B, 8080)
    friend = {"podSelector": {"matchLabels": {"app": "a"}}}
    apply(policy(ingress=[{"from": [friend], "ports": [{"port": "web"}]}]))
    assert reaches(world.a, B, 8080)
    assert not reaches(world.b, A, 8080)
    apply(policy(policyTypes=["Egress"]))
    assert not reaches(world.a, CLIENT_IP, 9000)
    outside = {"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.200/32", "192.0.2.128/25"]}}
    ports = [{"port": 8000, "endPort": 9001}, {"port": 9000, "endPort": 9005}]
    apply(policy(policyTypes=["Egress"], egress=[{"to": [outside], "ports": ports}]))
    assert reaches(world.a, CLIENT_IP, 9000)
    assert not reaches(world.a, B, 8080)
    apply()
    assert reaches(world.a, B, 8080)


@pytest.mark.needs_root
@pytest.mark.needs_nft
@needs_nft
def test_steps_lead_to_the_same_table_as_a_whole_build(world: World):
    kernel = Kernel(world)
    pods = [pod(f"p{number}", f"10.0.0.{number}", labels={"app": f"a{number % 2}"}) for number in range(1, 7)]
    to_a0 = {"podSelector": {"matchLabels": {"app": "a0"}}}
    steps = [
        ([policy("deny", policyTypes=["Ingress", "Egress"])], pods[:3]),
        ([policy("deny", policyTypes=["Ingress", "Egress"]), policy("allow", ingress=[{"from": [to_a0]}])], pods[:3]),
        ([policy("allow", ingress=[{"from": [to_a0]}])], pods),
        ([policy("allow", ingress=[{"from": [to_a0], "ports": [{"port": "web"}]}])], pods[2:]),
        ([policy("out", egress=[{"to": [to_a0], "ports": [{"port": "web"}, {"port": 9}]}])], pods[1:]),
        ([], pods),
        ([policy("deny", podSelector={"matchLabels": {"app": "a0"}})], pods),
    ]
    for policies, present in steps:
        wanted = table(policies, *present)
        kernel.apply(wanted)
        stepwise = kernel.listing()
        text = render_whole(SITE, wanted)
        world.node.call(lambda text=text: world.nft.run(text))
        assert kernel.listing() == stepwise
