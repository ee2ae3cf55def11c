"""Forgets tracked UDP flows to endpoints that are gone.

The kernel chooses an endpoint for a flow's first packet and keeps to it while packets come. TCP notices that the other
side is gone; a UDP client that keeps its port would talk to nobody for as long as it tries.
"""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Collection
from typing import Any

from pyroute2.netlink.nfnetlink.nfctsocket import NFCTAttrTuple, NFCTSocket

from sparsam.proxy.families import FAMILIES, Family
from sparsam.proxy.netlink import NetlinkError

log = logging.getLogger(__name__)


def forget_udp(targets: Collection[tuple[str, int]]) -> int:
    """End the redirected flows to these addresses and ports; returns how many. Blocks shortly."""
    return sum(
        _forget(family, ours)
        for family in FAMILIES
        if (ours := {target for target in targets if family.has(target[0])})
    )


def _forget(family: Family, targets: Collection[tuple[str, int]]) -> int:
    constructor: Any = NFCTSocket
    ended = 0
    try:
        with constructor(nfgen_family=family.socket) as conntrack:
            for entry in list(conntrack.dump()):
                sent, answered = _tuple(family, entry, "CTA_TUPLE_ORIG"), _tuple(family, entry, "CTA_TUPLE_REPLY")
                if sent is None or answered is None or answered.proto != socket.IPPROTO_UDP:
                    continue
                target = (answered.saddr, answered.sport)
                if target in targets and target != (sent.daddr, sent.dport):
                    # An entry may end by itself meanwhile.
                    with contextlib.suppress(NetlinkError):
                        conntrack.entry("del", tuple_orig=sent)
                        ended += 1
    except (OSError, NetlinkError) as error:
        log.warning("udp flows not forgotten targets=%d error=%s", len(targets), error)
    return ended


def _tuple(family: Family, entry: Any, name: str) -> Any:
    attributes = entry.get_attr(name)
    if attributes is None or entry["nfgen_family"] != family.socket:
        return None
    read: Any = NFCTAttrTuple.from_netlink
    return read(family.socket, attributes)
