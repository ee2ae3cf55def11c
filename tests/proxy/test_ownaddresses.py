import asyncio

import pytest

from sparsam.proxy.ownaddresses import OwnAddresses
from sparsam.proxy.services import EMPTY, Fragment
from tests.support.netns import namespaces

pytestmark = pytest.mark.needs_root


def wants(*ips):
    return Fragment(own_ips=frozenset(ips))


def test_the_link_has_the_addresses_that_services_want_and_no_others():
    with namespaces(1) as (node,):

        def settle(addresses):
            assert node.call(lambda: asyncio.run(addresses.settle(healthy=True)))
            lines = node.ip("-o -4 addr show dev spd0").splitlines()
            return {line.split()[3] for line in lines}

        first = OwnAddresses("spd0", "10.96.0.10")
        first.put(("a", "one"), wants("10.97.0.1"))
        first.put(("a", "two"), wants("10.97.0.1", "10.97.0.2"))
        assert settle(first) == {"10.97.0.1/32", "10.97.0.2/32"}
        node.ip("addr add 10.96.0.10/32 dev spd0")
        first.put(("a", "two"), EMPTY)
        assert settle(first) == {"10.96.0.10/32", "10.97.0.1/32"}
        assert "UP" in node.ip("link show spd0")
        # A process that begins anew knows nothing of the one before.
        assert settle(OwnAddresses("spd0", "10.96.0.10")) == {"10.96.0.10/32"}
