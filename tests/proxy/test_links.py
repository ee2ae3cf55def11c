import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.proxy.links import NetworkPlan, NodeWire
from tests.support.netns import needs_ipv6
from tests.support.proxy import has_nft


def plan(count, families=1):
    nodes = tuple(
        NodeWire(
            f"sparsam-test-{n}",
            (f"10.245.0.{10 + n}", f"fd00:10:245::{10 + n:x}")[:families],
            (f"10.244.{n - 1}.0/24", f"fd00:10:244:{n - 1:x}::/64")[:families],
        )
        for n in range(1, count + 1)
    )
    return NetworkPlan(addresses=("10.245.0.1/24", "fd00:10:245::1/64")[:families], nodes=nodes)


@given(st.integers(0, 100), st.integers(1, 2))
def test_every_pod_network_is_reached_from_everywhere_but_over_its_own_node(count, families):
    made = plan(count, families)
    pods = {cidr for node in made.nodes for cidr in node.pod_cidrs}
    assert set(made.machine_routes()) == pods
    for node in made.nodes:
        routes = made.node_routes(node)
        assert set(routes) == {"0.0.0.0/0", "::/0"} - ({"::/0"} if families == 1 else set()) | pods - set(
            node.pod_cidrs
        )
        assert not set(node.ips) & set(routes.values())
        assert all((":" in destination) == (":" in gateway) for destination, gateway in routes.items())
    names = [made.host_link(node) for node in made.nodes]
    assert len(set(names)) == count
    assert all(len(name) <= 15 for name in names)


SCENARIO = """
import json, subprocess, sys
from sparsam.proxy.links import ensure_network, remove_network
from tests.proxy.test_links import plan

def sh(command):
    return subprocess.run(command, shell=True, capture_output=True, text=True).stdout

def state():
    settings = sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding")
    return [sh("ip -o link | cut -d: -f2"), sh("ip route; ip -6 route"), sh("ip netns"), settings]

families = int(sys.argv[1])
made = plan(3, families)
before = state()
changed = ensure_network(made)
again = ensure_network(made)
sh("ip netns exec sparsam-test-3 ip addr add 10.244.2.1/32 dev lo")
sh("ip netns exec sparsam-test-3 ip addr add fd00:10:244:2::1/128 dev lo nodad")
targets = ["10.245.0.1", "10.245.0.12", "10.244.2.1"]
if families == 2:
    targets += ["fd00:10:245::1", "fd00:10:245::c", "fd00:10:244:2::1"]
code = "import socket; s = socket.socket(socket.{}); s.settimeout(5); print(s.connect_ex(('{}', 9)))"
result = {
    "changed": changed,
    "again": again,
    "links": sh("ip -o link show master sparsam0"),
    "pings": [
        subprocess.run([
            "ip", "netns", "exec", f"sparsam-test-{node}", sys.executable, "-c",
            code.format("AF_INET6" if ":" in target else "AF_INET", target),
        ], capture_output=True, text=True).stdout.strip()
        for node in (1, 2, 3) for target in targets
    ],
    "forward": sh("ip netns exec sparsam-test-1 cat /proc/sys/net/ipv4/ip_forward").strip(),
}
remove_network(made, changed)
remove_network(made)
result["clean"] = state() == before
print(json.dumps(result))
"""


@pytest.mark.needs_root
@pytest.mark.skipif(not has_nft(), reason="needs root and network namespaces")
@pytest.mark.parametrize("families", [1, pytest.param(2, marks=needs_ipv6)])
def test_three_nodes_reach_each_other_and_leave_no_trace(families):
    # A mount namespace with a /run of its own keeps the named namespaces away from the machine.
    script = 'mount -t tmpfs tmpfs /run && ip link set lo up && exec "$0" -c "$1" "$2"'
    done = subprocess.run(
        [
            "unshare",
            "-n",
            "-m",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
            sys.executable,
            SCENARIO,
            str(families),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(Path.cwd()), os.environ.get("PYTHONPATH", "")))},
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    refused = "111"
    assert result["pings"] == [refused] * 9 * families
    assert len(result["links"].splitlines()) == 3
    assert result["again"] == {}
    assert result["forward"] == "1"
    assert result["clean"]
