"""NetworkPolicies: what each pod may, and real packets that come through or do not."""

from __future__ import annotations

import re
from typing import Any

import pytest

from sparsam.proxy.policies import EGRESS, INGRESS, Allowed, Cluster, Isolation, facts_of, isolations, render
from tests.proxy.test_traffic import CLIENT_IP, A, B, World
from tests.support.netns import namespaces
from tests.support.proxy import has_nft

LABELS = {"default": {"team": "a"}, "other": {"team": "b"}}


def pod(name: str, ip: str, namespace: str = "default", **fields: Any) -> dict[str, Any]:
    ports = [{"name": "web", "containerPort": fields.pop("port", 8080)}]
    labels = fields.pop("labels", {"app": name})
    spec = {"nodeName": fields.pop("node", "n1"), "containers": [{"name": "c", "ports": ports}], **fields}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"metadata": metadata, "spec": spec, "status": {"podIP": ip, "phase": "Running"}}


def policy(name: str = "p", namespace: str = "default", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": {"podSelector": {}, **spec}}


def cluster(*pods: dict[str, Any]) -> Cluster:
    return Cluster([facts for each in pods if (facts := facts_of(each, "n1")) is not None], LABELS)


DB, WEB = pod("db", "10.0.0.1"), pod("web", "10.0.0.2", port=9090)
FAR, ALIEN = pod("far", "10.0.1.1", node="n2"), pod("alien", "10.0.2.1", "other")
ALL = cluster(DB, WEB, FAR, ALIEN)


def only(found: list[Isolation], ip: str = "10.0.0.1") -> tuple[Allowed, ...]:
    (isolation,) = [each for each in found if each.ip == ip]
    return isolation.allowed


def test_only_selected_pods_of_this_node_are_isolated():
    found = isolations([policy(policyTypes=["Ingress"])], ALL)
    assert found == [Isolation("10.0.0.1", INGRESS, ()), Isolation("10.0.0.2", INGRESS, ())]
    chosen = policy(podSelector={"matchLabels": {"app": "db"}}, policyTypes=["Ingress", "Egress"])
    assert [(each.ip, each.direction) for each in isolations([chosen], ALL)] == [
        ("10.0.0.1", EGRESS),
        ("10.0.0.1", INGRESS),
    ]
    assert [each.direction for each in isolations([policy(egress=[{}])], cluster(DB))] == [EGRESS, INGRESS]


def test_peers_are_pods_namespaces_both_or_addresses():
    database = {"matchLabels": {"app": "db"}}

    def peers(*each: dict[str, Any]) -> tuple[Allowed, ...]:
        return only(isolations([policy(podSelector=database, ingress=[{"from": list(each)}])], ALL))

    assert peers({"podSelector": {}}) == (Allowed(("10.0.0.1", "10.0.1.1", "10.0.0.2")),)
    assert peers({"namespaceSelector": {"matchLabels": {"team": "b"}}}) == (Allowed(("10.0.2.1",)),)
    named = {"matchLabels": {"kubernetes.io/metadata.name": "default"}}
    both = {"namespaceSelector": named, "podSelector": {"matchLabels": {"app": "web"}}}
    assert peers(both) == (Allowed(("10.0.0.2",)),)
    block = {"ipBlock": {"cidr": "10.9.0.0/16", "except": ["10.9.1.0/24"]}}
    assert peers(block) == (Allowed(("10.9.0.0/16",), ("10.9.1.0/24",)),)
    assert peers({"ipBlock": {"cidr": "fd00::/8"}}) == ()
    assert peers({"podSelector": {"matchLabels": {"app": "nobody"}}}) == ()


def test_ports_are_numbers_ranges_names_or_whole_protocols():
    database = {"matchLabels": {"app": "db"}}

    def ports(*each: dict[str, Any], direction: str = "ingress") -> tuple[Allowed, ...]:
        peer = {"podSelector": {}}
        rule = {"ports": list(each), "to" if direction == "egress" else "from": [peer]}
        kind = [direction.capitalize()]
        return only(
            isolations([policy(podSelector=database, policyTypes=kind, **{direction: [rule]})], cluster(DB, WEB))
        )

    everybody = ("10.0.0.1", "10.0.0.2")
    assert ports({"port": 80}) == (Allowed(everybody, (), (("tcp", "80"),)),)
    assert ports({"port": 80, "endPort": 90, "protocol": "UDP"}) == (Allowed(everybody, (), (("udp", "80-90"),)),)
    assert ports({"protocol": "SCTP"}) == (Allowed(everybody, (), (("sctp", ""),)),)
    assert ports({"port": "web"}) == (Allowed(everybody, (), (("tcp", "8080"),)),)
    assert ports({"port": "none"}) == ()
    out = ports({"port": "web"}, direction="egress")
    assert out == (Allowed(("10.0.0.1",), (), (("tcp", "8080"),)), Allowed(("10.0.0.2",), (), (("tcp", "9090"),)))


def test_policies_add_up_and_pods_without_an_address_of_their_own_are_left_out():
    rules = [policy(name, ingress=[{"ports": [{"port": number}]}]) for name, number in (("b", 2), ("a", 1))]
    assert only(isolations(rules, cluster(DB))) == (
        Allowed(None, (), (("tcp", "1"),)),
        Allowed(None, (), (("tcp", "2"),)),
    )
    assert facts_of(pod("host", "192.0.2.1", hostNetwork=True), "n1") is None
    ended = pod("over", "10.0.0.3")
    ended["status"]["phase"] = "Succeeded"
    assert facts_of(ended, "n1") is None


def test_without_isolation_the_table_goes():
    assert render("t", []) == "add table ip t\ndelete table ip t\n"
    assert not re.search(r"\{\s*\}", render("t", isolations([policy(policyTypes=["Ingress"])], ALL)))


@pytest.fixture
def world() -> Any:
    with namespaces(4) as made:
        yield World(*made)


def apply(world: World, *policies: dict[str, Any]) -> None:
    """Put policies in force for both pods of the world."""
    text = render("sparsam-policy", isolations(policies, cluster(pod("a", A), pod("b", B))))
    world.node.call(lambda: world.nft.run(text))


def reaches(who: Any, ip: str, port: int) -> bool:
    try:
        who.ask(ip, port)
    except OSError:
        return False
    return True


@pytest.mark.needs_root
@pytest.mark.needs_nft
@pytest.mark.skipif(not has_nft(), reason="nftables needs root and a kernel that has it")
def test_packets_obey(world: World):
    assert reaches(world.a, B, 8080)
    apply(world, policy(podSelector={"matchLabels": {"app": "b"}}, policyTypes=["Ingress"]))
    assert not reaches(world.a, B, 8080)
    assert reaches(world.b, A, 8080)
    assert reaches(world.node, B, 8080)
    friend = {"podSelector": {"matchLabels": {"app": "a"}}}
    apply(world, policy(ingress=[{"from": [friend], "ports": [{"port": "web"}]}]))
    assert reaches(world.a, B, 8080)
    assert not reaches(world.b, A, 8080)
    apply(world, policy(policyTypes=["Egress"]))
    assert not reaches(world.a, CLIENT_IP, 9000)
    outside = {"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.200/32"]}}
    apply(world, policy(policyTypes=["Egress"], egress=[{"to": [outside], "ports": [{"port": 8000, "endPort": 9001}]}]))
    assert reaches(world.a, CLIENT_IP, 9000)
    assert not reaches(world.a, B, 8080)
    apply(world)
    assert reaches(world.a, B, 8080)
