"""The pod network's configuration and the kernel settings it needs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from sparsam.agent.network import apply_sysctls, attached, ensure_gateways, network_config, restore_sysctls
from tests.support.netns import namespaces, needs_ipv6

FOUR, BOTH = ("10.244.1.0/24",), ("10.244.1.0/24", "fd00:10:244:1::/64")


def ipam(*cidrs: str) -> dict:
    return msgspec.json.decode(network_config(cidrs, "spc0", Path("/state")))["plugins"][0]["ipam"]


def test_pods_get_an_address_and_a_way_out_of_each_family():
    assert ipam(*FOUR)["ranges"] == [[{"subnet": "10.244.1.0/24", "gateway": "10.244.1.1"}]]
    assert ipam(*FOUR)["routes"] == [{"dst": "0.0.0.0/0"}]
    assert ipam(*BOTH)["ranges"][1] == [{"subnet": "fd00:10:244:1::/64", "gateway": "fd00:10:244:1::1"}]
    assert ipam(*BOTH)["routes"] == [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]


def test_addresses_of_both_families_tell_who_has_them(tmp_path):
    given = tmp_path / "sparsam"
    given.mkdir()
    for name, text in {"10.244.1.2": "a\neth0", "fd00:10:244:1::2": "a\neth0", "fd00:10:244:1::3": "b"}.items():
        (given / name).write_text(text)
    for name in ("lock", "last_reserved_ip.0", "last_reserved_ip.1"):
        (given / name).write_text("c")
    assert attached(tmp_path) == {"a", "b"}


@pytest.fixture
def settings(tmp_path):
    """Kernel settings as files; a link that learns routes from routers, and one that does not."""
    values = {
        "net/ipv4/ip_forward": "0",
        "net/ipv6/conf/all/forwarding": "0",
        "net/ipv6/conf/all/accept_ra": "1",
        "net/ipv6/conf/default/accept_ra": "1",
        "net/ipv6/conf/eth0/accept_ra": "1",
        "net/ipv6/conf/eth1/accept_ra": "0",
    }
    for name, value in values.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{value}\n")
    return tmp_path, lambda: {name: (tmp_path / name).read_text().strip() for name in values}


def test_without_ipv6_its_settings_stay(settings):
    root, now = settings
    before = now()
    assert apply_sysctls(FOUR, root) == {"net/ipv4/ip_forward": "0"}
    assert now() == before | {"net/ipv4/ip_forward": "1"}


def test_a_node_that_routes_still_hears_of_routers_where_it_did_and_nowhere_else(settings):
    root, now = settings
    before = now()
    changed = apply_sysctls(BOTH, root)
    raised = {"net/ipv6/conf/all/forwarding": "1", "net/ipv6/conf/eth0/accept_ra": "2"}
    assert now() == before | {"net/ipv4/ip_forward": "1"} | raised
    pods = root / "net/ipv6/conf/spc0/accept_ra"
    pods.parent.mkdir()
    pods.write_text("1")
    assert apply_sysctls(BOTH, root) == {}
    restore_sysctls(changed, root)
    assert now() == before


@pytest.mark.needs_root
@needs_ipv6
def test_the_gateway_of_ipv6_can_be_used_before_any_pod_is_there():
    with namespaces(1) as (node,):
        for _ in range(2):
            node.call(lambda: ensure_gateways(BOTH, "spc0"))
        shown = node.ip("-6 addr show dev spc0 scope global")
        assert "fd00:10:244:1::1/64" in shown
        assert "tentative" not in shown
    with namespaces(1) as (node,):
        node.call(lambda: ensure_gateways(FOUR, "spc0"))
        assert "spc0" not in node.ip("link")
