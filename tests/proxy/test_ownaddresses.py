import asyncio

import pytest

from sparsam.proxy.families import IPV4, IPV6
from sparsam.proxy.ownaddresses import OwnAddresses
from sparsam.proxy.services import EMPTY, Fragment
from tests.support.netns import namespaces, needs_ipv6

pytestmark = pytest.mark.needs_root


def wants(*ips):
    return Fragment(own_ips=frozenset(ips))


def settler(node, version):
    def settle(addresses):
        assert node.call(lambda: asyncio.run(addresses.settle(healthy=True)))
        lines = node.ip(f"-o -{version} addr show dev spd0 scope global").splitlines()
        return {line.split()[3] for line in lines}

    return settle


def test_the_link_has_the_addresses_that_services_want_and_no_others():
    with namespaces(1) as (node,):
        settle = settler(node, 4)

        first = OwnAddresses("spd0", IPV4, "10.96.0.10")
        first.put(("a", "one"), wants("10.97.0.1"))
        first.put(("a", "two"), wants("10.97.0.1", "10.97.0.2"))
        assert settle(first) == {"10.97.0.1/32", "10.97.0.2/32"}
        node.ip("addr add 10.96.0.10/32 dev spd0")
        first.put(("a", "two"), EMPTY)
        assert settle(first) == {"10.96.0.10/32", "10.97.0.1/32"}
        assert "UP" in node.ip("link show spd0")
        # A process that begins anew knows nothing of the one before.
        assert settle(OwnAddresses("spd0", IPV4, "10.96.0.10")) == {"10.96.0.10/32"}


@needs_ipv6
def test_addresses_of_ipv6_can_be_used_at_once():
    with namespaces(1) as (node,):
        settle = settler(node, 6)
        addresses = OwnAddresses("spd0", IPV6, "")
        addresses.put(("a", "one"), wants("fd00::1", "fd00::2"))
        assert settle(addresses) == {"fd00::1/128", "fd00::2/128"}
        assert "tentative" not in node.ip("-6 addr show dev spd0 scope global")
        addresses.put(("a", "one"), wants("fd00::2"))
        assert settle(addresses) == {"fd00::2/128"}
