import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.proxy.links import NetworkPlan, NodeWire
from tests.support.proxy import has_nft


def plan(count):
    nodes = tuple(
        NodeWire(f"sparsam-test-{n}", f"10.245.0.{10 + n}", f"10.244.{n - 1}.0/24") for n in range(1, count + 1)
    )
    return NetworkPlan(nodes=nodes)


@given(st.integers(0, 100))
def test_every_pod_network_is_reached_from_everywhere_but_over_its_own_node(count):
    made = plan(count)
    pods = {node.pod_cidr for node in made.nodes}
    assert set(made.machine_routes()) == pods
    for node in made.nodes:
        routes = made.node_routes(node)
        assert set(routes) == {"0.0.0.0/0"} | pods - {node.pod_cidr}
        assert node.ip not in routes.values()
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
    return [sh("ip -o link | cut -d: -f2"), sh("ip route"), sh("ip netns"), sh("cat /proc/sys/net/ipv4/ip_forward")]

made = plan(3)
before = state()
changed = ensure_network(made)
again = ensure_network(made)
sh("ip netns exec sparsam-test-3 ip addr add 10.244.2.1/32 dev lo")
result = {
    "changed": changed,
    "again": again,
    "links": sh("ip -o link show master sparsam0"),
    "pings": [
        subprocess.run([
            "ip", "netns", "exec", f"sparsam-test-{node}", sys.executable, "-c",
            f"import socket; s=socket.socket(); s.settimeout(5); print(s.connect_ex(('{target}', 9)))",
        ], capture_output=True, text=True).stdout.strip()
        for node in (1, 2, 3) for target in ("10.245.0.1", "10.245.0.12", "10.244.2.1")
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
def test_three_nodes_reach_each_other_and_leave_no_trace():
    # A mount namespace with a /run of its own keeps the named namespaces away from the machine.
    script = 'mount -t tmpfs tmpfs /run && ip link set lo up && exec "$0" -c "$1"'
    done = subprocess.run(
        ["unshare", "-n", "-m", "--propagation", "private", "sh", "-c", script, sys.executable, SCENARIO],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    refused = "111"
    assert result["pings"] == [refused] * 9
    assert len(result["links"].splitlines()) == 3
    assert result["again"] == {}
    assert result["forward"] == "1"
    assert result["clean"]
