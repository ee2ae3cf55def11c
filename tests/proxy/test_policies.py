"""NetworkPolicies as what each pod may."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sparsam.proxy.families import IPV4
from sparsam.proxy.policies import EGRESS, INGRESS, Allowed, Cluster, compile_policies, facts_of, port_ranges
from tests.support.policies import pod, policy

LABELS = {"default": {"team": "a"}, "other": {"team": "b"}}


def cluster(*pods: dict[str, Any]) -> Cluster:
    return Cluster([facts for each in pods if (facts := facts_of(each, "n1", IPV4)) is not None], LABELS)


DB, WEB = pod("db", "10.0.0.1"), pod("web", "10.0.0.2", port=9090)
FAR, ALIEN = pod("far", "10.0.1.1", node="n2"), pod("alien", "10.0.2.1", "other")
ALL = cluster(DB, WEB, FAR, ALIEN)
DATABASE = {"matchLabels": {"app": "db"}}


def allowed(among: Cluster, *policies: dict[str, Any], direction: str = INGRESS) -> list[dict[str, Any]]:
    """What the database may, with the addresses in place of the sets."""
    compiled = compile_policies(policies, among)
    found = compiled.isolated[direction, "10.0.0.1"]
    return [
        {"who": sorted(compiled.members[each.peers]) if each.peers else each.block or "all", "ports": each.ports}
        | ({"but": each.excluded} if each.excluded else {})
        for each in found
    ]


def test_only_selected_pods_of_this_node_are_isolated():
    assert compile_policies([policy(policyTypes=["Ingress"])], ALL).isolated == {
        (INGRESS, "10.0.0.1"): (),
        (INGRESS, "10.0.0.2"): (),
    }
    chosen = policy(podSelector=DATABASE, policyTypes=["Ingress", "Egress"])
    assert compile_policies([chosen], ALL).isolated.keys() == {(EGRESS, "10.0.0.1"), (INGRESS, "10.0.0.1")}
    assert compile_policies([policy(egress=[{}])], cluster(DB)).isolated == {
        (INGRESS, "10.0.0.1"): (),
        (EGRESS, "10.0.0.1"): (Allowed(),),
    }


def test_peers_are_pods_namespaces_both_or_addresses():
    def peers(*each: dict[str, Any]) -> list[dict[str, Any]]:
        return allowed(ALL, policy(podSelector=DATABASE, ingress=[{"from": list(each)}]))

    assert peers({"podSelector": {}}) == [{"who": ["10.0.0.1", "10.0.0.2", "10.0.1.1"], "ports": ()}]
    assert peers({"namespaceSelector": {"matchLabels": {"team": "b"}}}) == [{"who": ["10.0.2.1"], "ports": ()}]
    named = {"matchLabels": {"kubernetes.io/metadata.name": "default"}}
    both = {"namespaceSelector": named, "podSelector": {"matchLabels": {"app": "web"}}}
    assert peers(both) == [{"who": ["10.0.0.2"], "ports": ()}]
    block = {"ipBlock": {"cidr": "10.9.0.7/16", "except": ["10.9.1.0/24", "10.9.1.8/32", "10.9.0.0/24"]}}
    assert peers(block) == [{"who": "10.9.0.0/16", "ports": (), "but": ("10.9.0.0/23",)}]
    assert peers({"ipBlock": {"cidr": "fd00::/8"}}) == []
    assert peers({"podSelector": {"matchLabels": {"app": "nobody"}}}) == [{"who": [], "ports": ()}]


def test_ports_are_numbers_ranges_names_or_whole_protocols():
    def ports(*each: dict[str, Any], direction: str = INGRESS) -> list[dict[str, Any]]:
        rule = {"ports": list(each), "to" if direction == EGRESS else "from": [{"podSelector": {}}]}
        made = policy(podSelector=DATABASE, policyTypes=[direction], **{direction.lower(): [rule]})
        return allowed(cluster(DB, WEB), made, direction=direction)

    def one(*span: Any) -> list[dict[str, Any]]:
        return [{"who": ["10.0.0.1", "10.0.0.2"], "ports": (span,)}]

    assert ports({"port": 80}) == one("tcp", 80, 80)
    assert ports({"port": 80, "endPort": 90, "protocol": "UDP"}) == one("udp", 80, 90)
    assert ports({"protocol": "SCTP"}) == one("sctp", 0, 65535)
    assert ports({"port": "web"}) == one("tcp", 8080, 8080)
    assert ports({"port": "none"}) == []
    assert ports({"port": "web"}, direction=EGRESS) == [
        {"who": ["10.0.0.1"], "ports": (("tcp", 8080, 8080),)},
        {"who": ["10.0.0.2"], "ports": (("tcp", 9090, 9090),)},
    ]


@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 9)), max_size=8))
def test_ranges_cover_the_same_ports_and_do_not_touch(spans):
    ports = [{"port": first, "endPort": first + more} for first, more in spans]
    ranges = port_ranges(ports, None)
    wanted = {number for first, more in spans for number in range(first, first + more + 1)}
    assert [number for _, first, last in ranges for number in range(first, last + 1)] == sorted(wanted)
    assert all(one[2] + 1 < other[1] for one, other in pairwise(ranges))


def test_policies_add_up_and_pods_without_an_address_of_their_own_are_left_out():
    rules = [policy(name, ingress=[{"ports": [{"port": number}]}]) for name, number in (("b", 2), ("a", 1))]
    assert [each["ports"] for each in allowed(cluster(DB), *rules)] == [(("tcp", 1, 1),), (("tcp", 2, 2),)]
    assert facts_of(pod("host", "192.0.2.1", hostNetwork=True), "n1", IPV4) is None
    ended = pod("over", "10.0.0.3")
    ended["status"]["phase"] = "Succeeded"
    assert facts_of(ended, "n1", IPV4) is None


def test_only_what_matters_of_a_pod_or_a_namespace_is_news():
    known = cluster(DB)
    before, after = facts_of(DB, "n1", IPV4), facts_of(pod("db", "10.0.0.1", labels={"app": "x"}), "n1", IPV4)
    assert not known.replace_pod(before, facts_of(DB, "n1", IPV4))
    assert known.replace_pod(before, after)
    assert known.replace_pod(after, None)
    assert not known.label_namespace("other", {"team": "b"})
    assert known.label_namespace("other", None)
    assert known.namespaces({}, "default") == ["default"]
