"""What the node leaves in iptables, and what of it may go."""

from __future__ import annotations

import pytest

from sparsam.agent.footprint import only_portmap_is_left
from sparsam.agent.network import restore_sysctls

LEFT = """*nat
:PREROUTING ACCEPT [0:0]
:CNI-HOSTPORT-DNAT - [0:0]
:CNI-HOSTPORT-MASQ - [0:0]
-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-HOSTPORT-DNAT
-A CNI-HOSTPORT-MASQ -m mark --mark 0x2000/0x2000 -j MASQUERADE
COMMIT
"""


@pytest.mark.parametrize(
    ("line", "left"),
    [
        ("", True),
        (":DOCKER - [0:0]", False),
        ("-A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE", False),
        ("-A CNI-HOSTPORT-DNAT -p tcp --dport 80 -j CNI-DN-abc", False),
    ],
)
def test_a_table_goes_only_when_nothing_of_others_is_in_it(line: str, left: bool):
    assert only_portmap_is_left(LEFT.replace("COMMIT", f"{line}\nCOMMIT")) is left
    assert not only_portmap_is_left("")


def test_settings_are_put_back_unless_somebody_changed_them_since(tmp_path):
    forward = tmp_path / "net/ipv4/ip_forward"
    forward.parent.mkdir(parents=True)
    forward.write_text("1\n")
    restore_sysctls({"net/ipv4/ip_forward": "0"}, tmp_path)
    assert forward.read_text() == "0"
    forward.write_text("2")
    restore_sysctls({"net/ipv4/ip_forward": "0"}, tmp_path)
    assert forward.read_text() == "2"
