"""Services between the pods of two nodes, the machine that carries them and a client outside of it."""

import contextlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conftest import Cluster, run, running_cluster, until
from tests.e2e.test_walkthrough import fetch
from tests.support.netns import Namespace

WEB = "localhost/sparsam/web:1"
NS = "default"
OUTSIDE, TOWARDS_OUTSIDE = "198.51.100.2", "198.51.100.1"
N1, N2 = "10.245.0.11", "10.245.0.12"
SAY_WHO = r"""printf '#!/bin/sh\necho Content-Type: text/plain\necho\necho $HOSTNAME $REMOTE_ADDR\n' >/www/cgi-bin/index.cgi
export HOSTNAME=$(hostname); exec /bin/serve"""
PROBE = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
NEVER = {"exec": {"command": ["false"]}, "periodSeconds": 1}


def pod(name: str, node: str, *, labels: dict[str, str], **container: Any) -> dict[str, Any]:
    """A server that answers with its name and the address it is asked from."""
    container = {"name": "c", "image": WEB, "command": ["sh", "-c", SAY_WHO], "readinessProbe": PROBE, **container}
    grace = 20 if "lifecycle" in container else 0
    spec = {"terminationGracePeriodSeconds": grace, "nodeName": node, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels}, "spec": spec}


def service(name: str, selector: dict[str, str] | None = None, *, node_port: int = 0, **spec: Any) -> dict[str, Any]:
    port = {"port": 80, "targetPort": 8080} | ({"nodePort": node_port} if node_port else {})
    chosen = {"app": "web"} if selector is None else selector
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"ports": [port], **({"selector": chosen} if chosen else {}), **spec},
    }


PODS = [
    pod("a", "n-1", labels={"app": "web"}),
    pod("b", "n-2", labels={"app": "web", "only": "b"}),
    pod("going", "n-2", labels={"app": "going"}, lifecycle={"preStop": {"exec": {"command": ["sleep", "15"]}}}),
    pod("never", "n-2", labels={"app": "never"}, readinessProbe=NEVER),
    pod("host", "n-2", labels={}, ports=[{"containerPort": 8080, "hostPort": 8099}]),
    pod("loop", "n-2", labels={}, ports=[{"containerPort": 8080, "hostPort": 8099, "hostIP": "127.0.0.1"}]),
]
PODS[-1]["spec"]["containers"][0]["ports"][0]["hostPort"] = 8098
BALANCED = {"type": "LoadBalancer"}
SERVICES = [
    service("plain", type="NodePort"),
    service("sticky", sessionAffinity="ClientIP"),
    service("inner", internalTrafficPolicy="Local"),
    service("near-node", trafficDistribution="PreferSameNode"),
    service("near-zone", trafficDistribution="PreferClose"),
    service("local", {"only": "b"}, externalTrafficPolicy="Local", **BALANCED),
    service("pool", loadBalancerIP="10.245.1.77", allocateLoadBalancerNodePorts=False, **BALANCED),
    service("guarded", loadBalancerSourceRanges=["198.51.100.0/24"], **BALANCED),
    service("foreign", loadBalancerClass="example.com/other", **BALANCED),
    service("outer", externalIPs=["203.0.113.7"]),
    service("going", {"app": "going"}),
    service("hidden", {"app": "never"}),
    service("shown", {"app": "never"}, publishNotReadyAddresses=True),
    service("handmade", {}),
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("n"), "--nodes", "2", "--node-name", "n") as one:
        for number in (1, 2):
            one.kubectl("label", "node", f"n-{number}", f"topology.kubernetes.io/zone=z{number}")
        one.kubectl("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, [*SERVICES, *PODS])))
        ready = [f"pod/{each['metadata']['name']}" for each in PODS if each["metadata"]["name"] != "never"]
        one.kubectl("wait", "--for=condition=Ready", *ready, "--timeout=80s")
        yield one


@pytest.fixture(scope="module")
def outside(cluster: Cluster) -> Iterator[Namespace]:
    """A machine that is none of the cluster's, beside the one that carries it."""
    with contextlib.closing(Namespace()) as other:
        for command in (
            f"ip link add outside type veth peer name eth0 netns {other.pid}",
            f"ip addr add {TOWARDS_OUTSIDE}/24 dev outside",
            "ip link set outside up",
        ):
            run(command.split(), check=True, seconds=10)
        other.ip(f"addr add {OUTSIDE}/24 dev eth0")
        other.ip("link set eth0 up")
        other.ip(f"route add default via {TOWARDS_OUTSIDE}")
        yield other


def asked(cluster: Cluster, who: str, host: str, times: int = 1) -> set[str]:
    """The names of the pods that answer a pod; empty when nobody does."""
    loop = f"for i in $(seq {times}); do timeout 3 wget -qO- http://{host}/ 2>/dev/null; done; true"
    return {line.split()[0] for line in cluster.kubectl("exec", who, "--", "sh", "-c", loop).splitlines()}


def from_machine(host: str) -> str:
    """The name of the pod that answers this machine, or nothing."""
    with contextlib.suppress(OSError):
        return fetch(f"http://{host}/").split()[0]
    return ""


def from_outside(outside: Namespace, host: str) -> list[str]:
    """Name of the pod that answers the client outside, and the address it sees."""

    def ask() -> list[str]:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://{host}/", timeout=3) as answer:
            name, client = answer.read().decode().split()
            return [name, client.strip("[]").removeprefix("::ffff:")]
        return []

    return outside.call(ask)


def address(cluster: Cluster, name: str) -> str:
    def given() -> str:
        status = cluster.get("service", name)["status"]
        return next((each["ip"] for each in status["loadBalancer"].get("ingress", ())), "")

    return until(given, what=f"address of {name}")


def test_connections_are_spread_and_a_client_with_affinity_stays(cluster: Cluster):
    until(lambda: asked(cluster, "a", "plain", 12) == {"a", "b"}, what="both endpoints")
    until(lambda: asked(cluster, "a", "sticky"), what="the sticky service")
    assert len(asked(cluster, "a", "sticky", 12)) == 1


def test_internal_traffic_stays_on_its_node_where_the_policy_says_so(cluster: Cluster):
    until(lambda: asked(cluster, "a", "inner", 8) == {"a"}, what="node 1's own")
    until(lambda: asked(cluster, "b", "inner", 8) == {"b"}, what="node 2's own")


@pytest.mark.parametrize("name", ["near-node", "near-zone"])
def test_endpoints_of_the_same_node_or_zone_are_preferred(cluster: Cluster, name: str):
    until(lambda: asked(cluster, "a", name, 8) == {"a"}, what="the near one of node 1")
    until(lambda: asked(cluster, "b", name, 8) == {"b"}, what="the near one of node 2")
    # Where nothing is near, anything is better than nothing.
    until(lambda: asked(cluster, "host", name) == {"b"}, what="the near one of node 2")
    machine = cluster.get("service", name)["spec"]["clusterIP"]
    until(lambda: {from_machine(machine) for _ in range(12)} == {"a", "b"}, what="both, from no node")


def test_external_traffic_that_stays_local_shows_the_client_and_health_checks_say_where(cluster: Cluster, outside):
    spec = cluster.get("service", "local")["spec"]
    port, check = spec["ports"][0]["nodePort"], spec["healthCheckNodePort"]
    ip = address(cluster, "local")
    until(lambda: from_outside(outside, ip) == ["b", OUTSIDE], what="the client's own address")
    until(lambda: from_outside(outside, f"{N2}:{port}") == ["b", OUTSIDE], what="the node with the endpoint")
    assert from_outside(outside, f"{N1}:{port}") == []
    assert asked(cluster, "a", f"{N1}:{port}") == {"b"}
    said = json.loads(until(lambda: fetch(f"http://{N2}:{check}/healthz"), what="the check"))
    wanted = {"namespace": NS, "name": "local"}
    assert said == {"service": wanted, "localEndpoints": 1, "serviceProxyHealthy": True}
    with pytest.raises(urllib.error.HTTPError, match="503"):
        fetch(f"http://{N1}:{check}/")


def test_addresses_of_the_pool_answer_pods_the_machine_and_clients_outside(cluster: Cluster, outside: Namespace):
    ip = address(cluster, "pool")
    assert ip == "10.245.1.77"
    assert "nodePort" not in cluster.get("service", "pool")["spec"]["ports"][0]
    until(lambda: from_machine(ip), what="the machine")
    until(lambda: asked(cluster, "a", ip), what="a pod")
    name, seen = until(lambda: from_outside(outside, ip), what="the client outside")
    assert (name in "ab", seen != OUTSIDE) == (True, True)
    # Nothing else of this machine is to be had there.
    with pytest.raises(ConnectionRefusedError):
        outside.connect(ip, 22)
    assert "ingress" not in cluster.get("service", "foreign")["status"]["loadBalancer"]
    events = cluster.kubectl("get", "events", "--field-selector", "involvedObject.name=pool")
    assert "Ensured load balancer" in events
    cluster.kubectl("patch", "service", "pool", "-p", '{"spec":{"type":"ClusterIP","loadBalancerIP":null}}')
    until(lambda: not cluster.get("service", "pool")["status"]["loadBalancer"], what="the address taken back")
    until(lambda: not from_machine(ip) and not from_outside(outside, ip), what="silence at the old address")


def test_source_ranges_let_in_whom_they_name(cluster: Cluster, outside: Namespace):
    ip = address(cluster, "guarded")
    until(lambda: from_outside(outside, ip), what="who is named")
    assert asked(cluster, "a", ip) == set()
    assert asked(cluster, "a", "guarded") <= {"a", "b"} != set()
    patch = '{"spec":{"loadBalancerSourceRanges":["10.244.0.0/16"]}}'
    cluster.kubectl("patch", "service", "guarded", "-p", patch)
    until(lambda: asked(cluster, "a", ip), what="pods, now named")
    assert from_outside(outside, ip) == []


def test_external_addresses_lead_to_the_service(cluster: Cluster, outside: Namespace):
    until(lambda: asked(cluster, "a", "203.0.113.7"), what="a pod")
    until(lambda: from_outside(outside, "203.0.113.7"), what="a client outside")


def test_ports_of_a_host_lead_to_its_pod(cluster: Cluster, outside: Namespace):
    until(lambda: from_machine(f"{N2}:8099") == "host", what="the machine")
    assert asked(cluster, "a", f"{N2}:8099") == {"host"}
    assert asked(cluster, "b", f"{N2}:8099") == {"host"}
    assert from_outside(outside, f"{N2}:8099") == ["host", OUTSIDE]
    assert from_machine(f"{N1}:8099") == ""
    # One that only the node's loopback has.
    assert from_machine(f"{N2}:8098") == ""
    inside = ["ip", "netns", "exec", "sparsam-n-2", "curl", "-sm5", "http://127.0.0.1:8098/"]
    assert run(inside, check=True, seconds=20).stdout.startswith("loop ")
    second = pod("second", "", labels={}, ports=[{"containerPort": 8080, "hostPort": 8099}])
    second["spec"] |= {"nodeName": None, "nodeSelector": {"kubernetes.io/hostname": "n-2"}}
    cluster.apply(second)
    until(lambda: "free ports" in cluster.kubectl("describe", "pod", "second"), what="the conflict")


def test_the_last_endpoint_serves_while_it_ends(cluster: Cluster):
    until(lambda: asked(cluster, "a", "going"), what="before")
    cluster.kubectl("delete", "pod", "going", "--wait=false")

    def terminating() -> bool:
        slices = cluster.get("endpointslices", "-l", "kubernetes.io/service-name=going")["items"]
        found = [each["conditions"] for one in slices for each in one["endpoints"] or ()]
        return found == [{"ready": False, "serving": True, "terminating": True}]

    until(terminating, what="conditions of an endpoint that ends")
    assert asked(cluster, "a", "going", 3) == {"going"}
    assert asked(cluster, "b", "going") == {"going"}


def test_unready_endpoints_are_hidden_unless_they_are_to_be_published(cluster: Cluster):
    until(lambda: asked(cluster, "a", "shown") == {"never"}, what="the published one")
    refused = cluster.kubectl("exec", "a", "--", "timeout", "5", "wget", "-qO-", "http://hidden/", check=False)
    assert "Connection refused" in refused


def test_slices_that_others_write_are_served(cluster: Cluster):
    ip = cluster.get("pod", "b")["status"]["podIP"]
    labels = {"kubernetes.io/service-name": "handmade", "endpointslice.kubernetes.io/managed-by": "me"}
    cluster.apply(
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "handmade-1", "labels": labels},
            "addressType": "IPv4",
            "ports": [{"port": 8080}],
            "endpoints": [{"addresses": [ip]}],
        }
    )
    until(lambda: asked(cluster, "a", "handmade") == {"b"}, what="the endpoint of a handmade slice")
    assert cluster.get("endpointslice", "handmade-1")["endpoints"][0]["addresses"] == [ip]
