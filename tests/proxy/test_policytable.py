"""The table of NetworkPolicies: changes in steps, and real packets that come through or do not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from sparsam.proxy.families import IPV4, IPV6, Family
from sparsam.proxy.policies import Cluster, compile_policies, facts_of
from sparsam.proxy.policytable import CLOSED, EMPTY, PolicyTable, Site, build_table, render_change, render_whole
from tests.proxy.test_traffic import CLIENT_IP, A, B, World
from tests.support.netns import namespaces, needs_ipv6
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


def both(name: str, four: str, six: str) -> dict[str, Any]:
    made = pod(name, four)
    made["status"]["podIPs"].append({"ip": six})
    return made


def test_each_family_has_its_own_pods_and_blocks():
    pods = [both("a", A, "fd00::2"), pod("b", B)]
    blocks = [{"ipBlock": {"cidr": each}} for each in ("192.0.2.0/24", "2001:db8::/32")]
    rules = [policy(podSelector={}, ingress=[{"from": blocks}])]
    four, six = (table(rules, *pods, family=family) for family in (IPV4, IPV6))
    assert set(four.elements["receiving"]) == {A, B}
    assert set(six.elements["receiving"]) == {"fd00::2"}
    assert list(four.chains.values()) == [("ip saddr 192.0.2.0/24 return", "drop")]
    assert list(six.chains.values()) == [("ip6 saddr 2001:db8::/32 return", "drop")]


@pytest.mark.needs_root
@pytest.mark.needs_nft
@needs_nft
@needs_ipv6
def test_packets_of_ipv6_obey_and_neighbours_are_found_but_not_used_past_the_rules(world: World):
    six = {"a": "fd00:10:244:1::2", "b": "fd00:10:244:1::3"}
    world.node.sysctl("net/bridge/bridge-nf-call-ip6tables", "1")
    own: dict[str, str] = {}
    for name, namespace in (("a", world.a), ("b", world.b)):
        namespace.ip(f"addr add {six[name]}/64 dev eth0 nodad")
        found = until(lambda namespace=namespace: usable(namespace.ip("-o -6 addr show dev eth0 scope link")))
        own[name] = f"{found}%eth0"
        namespace.serve(name, six[name], 8080)
        namespace.serve(name, "::", 8081)
    pods = [both("a", A, six["a"]), both("b", B, six["b"])]

    def apply(*policies: dict[str, Any]) -> None:
        text = render_whole(SITE6, table(policies, *pods, family=IPV6))
        world.node.call(lambda: world.nft.run(text))

    assert reaches(world.a, six["b"], 8080)
    assert reaches(world.a, own["b"], 8081)
    apply(policy(podSelector={"matchLabels": {"app": "b"}}, policyTypes=["Ingress"]))
    world.a.ip("neigh flush dev eth0")
    assert not reaches(world.a, six["b"], 8080)
    assert not reaches(world.a, own["b"], 8081)
    assert reaches(world.b, six["a"], 8080)
    apply(policy(ingress=[{"from": [{"podSelector": {"matchLabels": {"app": "a"}}}]}]))
    assert reaches(world.a, six["b"], 8080)
    for wanted in (CLOSED, EMPTY):
        text = render_whole(SITE6, wanted)
        world.node.call(lambda text=text: world.nft.run(text))
        assert reaches(world.a, own["b"], 8081) is (wanted is EMPTY)


def usable(shown: str) -> str:
    """The address that a link has of itself, once the kernel has looked for duplicates."""
    return "" if "tentative" in shown or "fe80" not in shown else shown.split()[3].partition("/")[0]


def until(look: Callable[[], str]) -> str:
    for _ in range(40):
        if found := look():
            return found
        time.sleep(0.25)
    raise AssertionError("no address of the link's own")
