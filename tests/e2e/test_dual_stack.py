"""Both address families at once, on two nodes: pods, Services, DNS, node ports and policies."""

import contextlib
import json
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Cluster, running_cluster, until

WEB = "localhost/sparsam/web:1"
NETWORKS = ("--cluster-cidr", "10.244.0.0/16,fd00:10:244::/56", "--service-cidr", "10.96.0.0/16,fd00:10:96::/112")

pytestmark = pytest.mark.skipif(not Path("/proc/sys/net/ipv6").exists(), reason="this kernel has no IPv6")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with running_cluster(tmp_path_factory.mktemp("d"), "--nodes", "2", "--node-name", "d", *NETWORKS) as one:
        yield one


def pod(name: str, node: str, **container: Any) -> dict[str, Any]:
    env = [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": f"status.{field}"}}}
        for name, field in (("POD_IPS", "podIPs"), ("HOST_IPS", "hostIPs"))
    ]
    env.append({"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})
    probe = {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}
    described = {"name": "c", "image": WEB, "env": env, "readinessProbe": probe, **container}
    described.setdefault("ports", [{"name": "web", "containerPort": 8080}])
    spec = {"terminationGracePeriodSeconds": 0, "nodeName": node, "containers": [described]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec}


@pytest.fixture(scope="module")
def pods(cluster: Cluster) -> dict[str, list[str]]:
    """The addresses of a server on one node and of a client on the other."""
    first, second = (node["metadata"]["name"] for node in cluster.get("nodes")["items"])
    made = [
        pod("server", first, ports=[{"name": "web", "containerPort": 8080, "hostPort": 8088}]),
        pod("client", second),
        pod("stranger", first),
    ]
    until(lambda: cluster.get("serviceaccounts")["items"], what="default service account")
    cluster.kubectl("apply", "-f", "-", stdin="\n---\n".join(map(json.dumps, made)))
    cluster.kubectl("wait", "--for=condition=Ready", "pod", "--all", "--timeout=80s")
    items = cluster.get("pods")["items"]
    return {each["metadata"]["name"]: [ip["ip"] for ip in each["status"]["podIPs"]] for each in items}


@pytest.fixture(scope="module")
def service(cluster: Cluster, pods: dict[str, list[str]]) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": "web"}]
    spec = {"type": "LoadBalancer", "ipFamilyPolicy": "RequireDualStack", "selector": {"app": "server"}, "ports": ports}
    cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec})

    def balanced() -> dict[str, Any] | None:
        made = cluster.get("service", "web")
        return made if len(made["status"]["loadBalancer"].get("ingress") or ()) == 2 else None

    return until(balanced, what="two load balancer addresses")


def url(host: str, port: int = 80) -> str:
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def asks(cluster: Cluster, who: str, address: str) -> str:
    """What a pod gets from an address; nothing if it gets no answer."""
    return cluster.kubectl("exec", who, "--", "timeout", "2", "wget", "-qO-", address, check=False)


def answers(address: str) -> str:
    """What this machine gets from an address."""
    with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=5) as answer:
        return str(answer.read().decode())
    return ""


def resolves(cluster: Cluster, name: str) -> list[str]:
    """The addresses that a pod finds for a name: those after the server's own."""
    lines = cluster.kubectl("exec", "client", "--", "nslookup", name, check=False).splitlines()
    words = [line.split() for line in lines]
    return [each[1] for each in words[2:] if each[:1] == ["Address:"] and "10.96.0.10" not in each[1]]


def test_a_cluster_of_ipv6_alone_works(tmp_path: Path):
    # The first test, since there is room for one cluster at a time.
    networks = ("--cluster-cidr", "fd00:10:244::/56", "--service-cidr", "fd00:10:96::/112")
    with running_cluster(tmp_path, "--node-name", "six", *networks) as cluster:
        until(lambda: cluster.get("serviceaccounts")["items"], what="default service account")
        cluster.apply(pod("server", "six"))
        cluster.kubectl("wait", "--for=condition=Ready", "pod/server", "--timeout=80s")
        cluster.kubectl("expose", "pod", "server", "--name=web", "--port=80", "--target-port=8080")
        spec = cluster.get("service", "web")["spec"]
        assert (spec["ipFamilies"], spec["ipFamilyPolicy"]) == (["IPv6"], "SingleStack")
        until(lambda: "pod server" in asks(cluster, "server", "http://web/"), what="the Service by its name")
        assert "pod server" in answers(url(spec["clusterIP"]))
        assert "pod server" in cluster.kubectl("get", "--raw", "/api/v1/namespaces/default/pods/server/proxy/")
        cluster.kubectl("exec", "server", "--", "sh", "-c", "nc -w 5 kubernetes.default 443 < /dev/null")
        refused = cluster.kubectl(
            "patch", "service", "web", "-p", '{"spec": {"ipFamilyPolicy": "RequireDualStack"}}', check=False
        )
        assert "this cluster is not configured for dual-stack services" in refused


def test_nodes_and_pods_have_an_address_of_each_family(cluster: Cluster, pods: dict[str, list[str]]):
    nodes = {node["metadata"]["name"]: node for node in cluster.get("nodes")["items"]}
    for name, ips in pods.items():
        made = cluster.get("pod", name)
        node = nodes[made["spec"]["nodeName"]]
        own = [each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP"]
        assert [ip_address(ip).version for ip in ips] == [4, 6]
        for ip, cidr in zip(ips, node["spec"]["podCIDRs"], strict=True):
            assert ip_address(ip) in ip_network(cidr)
        assert [each["ip"] for each in made["status"]["hostIPs"]] == own
        inside = cluster.kubectl("exec", name, "--", "sh", "-c", "echo $POD_IPS $HOST_IPS; ip addr; cat /etc/hosts")
        assert inside.split()[:2] == [",".join(ips), ",".join(own)]
        assert "tentative" not in inside
        for ip in ips:
            assert f"{ip}/" in inside
            assert f"{ip}\t{name}" in inside


def test_pods_of_different_nodes_reach_each_other_by_either_address(cluster: Cluster, pods: dict[str, list[str]]):
    for ip in pods["server"]:
        assert "pod server" in asks(cluster, "client", url(ip, 8080))
        assert "pod server" in answers(url(ip, 8080))


def test_a_service_answers_by_every_address_that_it_has(cluster: Cluster, service: dict[str, Any]):
    spec, port = service["spec"], service["spec"]["ports"][0]["nodePort"]
    assert [ip_address(ip).version for ip in spec["clusterIPs"]] == [4, 6]
    assert cluster.get("servicecidr", "kubernetes")["spec"]["cidrs"] == ["10.96.0.0/16", "fd00:10:96::/112"]
    slices = cluster.get("endpointslices", "-l", "kubernetes.io/service-name=web")["items"]
    assert {each["addressType"] for each in slices} == {"IPv4", "IPv6"}
    nodes = [each["address"] for node in cluster.get("nodes")["items"] for each in node["status"]["addresses"][:2]]
    balanced = [each["ip"] for each in service["status"]["loadBalancer"]["ingress"]]
    places = [url(ip) for ip in (*spec["clusterIPs"], *balanced)] + [url(ip, port) for ip in nodes]
    assert len(places) == 8
    for place in places:
        until(lambda place=place: "pod server" in answers(place), what=f"{place} from the machine")
        until(lambda place=place: "pod server" in asks(cluster, "client", place), what=f"{place} from a pod")
    assert "pod server" in asks(cluster, "server", url(spec["clusterIPs"][1])), "itself by way of its Service"
    for ip in (each for each in nodes if each.endswith((".11", "::b"))):
        assert "pod server" in answers(url(ip, 8088)), "the host's port"


def test_names_have_addresses_of_both_families_and_lead_back(cluster: Cluster, service: dict[str, Any]):
    name, ips = "web.default.svc.cluster.local", service["spec"]["clusterIPs"]
    assert until(lambda: sorted(resolves(cluster, name)) == sorted(ips), what="both addresses")
    assert "pod server" in asks(cluster, "client", "http://web/")
    for ip in ips:
        assert name in cluster.kubectl("exec", "client", "--", "nslookup", ip)
    cluster.kubectl("expose", "pod", "server", "--name=single", "--port=80", "--target-port=8080")
    own = cluster.get("service", "single")["spec"]["clusterIPs"]
    assert until(lambda: resolves(cluster, "single.default.svc.cluster.local") == own, what="one address")


def test_a_service_gains_and_loses_its_second_family(cluster: Cluster, pods: dict[str, list[str]]):
    ports = [{"port": 80, "targetPort": 8080}]
    spec = {"ipFamilies": ["IPv6"], "selector": {"app": "server"}, "ports": ports, "sessionAffinity": "ClientIP"}
    cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "six"}, "spec": spec})
    [first] = cluster.get("service", "six")["spec"]["clusterIPs"]
    until(lambda: "pod server" in asks(cluster, "client", url(first)), what="the only address")
    page = cluster.kubectl("get", "--raw", "/api/v1/namespaces/default/services/six/proxy/")
    assert "pod server" in page, "the API server finds endpoints of IPv6"
    cluster.kubectl("patch", "service", "six", "-p", '{"spec": {"ipFamilyPolicy": "PreferDualStack"}}')
    both = cluster.get("service", "six")["spec"]["clusterIPs"]
    assert both[0] == first
    until(lambda: "pod server" in asks(cluster, "client", url(both[1])), what="the second address")
    refused = cluster.kubectl("patch", "service", "six", "-p", '{"spec": {"ipFamilies": ["IPv6"]}}', check=False)
    assert "must be 'SingleStack' to release the secondary IP family" in refused
    cluster.kubectl("patch", "service", "six", "-p", '{"spec": {"ipFamilyPolicy": "SingleStack"}}')
    assert cluster.get("service", "six")["spec"]["clusterIPs"] == [first]
    until(lambda: not asks(cluster, "client", url(both[1])).startswith("sparsam"), what="the second address to go")
    assert "pod server" in asks(cluster, "client", url(first))


def test_a_policy_holds_for_both_families(cluster: Cluster, pods: dict[str, list[str]]):
    near, far = pods["stranger"], pods["client"]

    def who_reaches() -> set[tuple[str, int]]:
        asked = [(who, at, ip) for who in ("stranger", "client") for at, ip in zip((4, 6), pods["server"], strict=True)]
        # At once, since whoever is shut out waits.
        with ThreadPoolExecutor() as pool:
            pages = pool.map(lambda each: asks(cluster, each[0], url(each[2], 8080)), asked)
            return {(who, at) for (who, at, _), page in zip(asked, pages, strict=True) if "pod server" in page}

    def guard(*peers: dict[str, Any]) -> None:
        spec = {"podSelector": {"matchLabels": {"app": "server"}}, "ingress": [{"from": peers}] if peers else []}
        kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "guard"}}
        cluster.apply({**kind, "spec": spec | {"policyTypes": ["Ingress"]}})

    assert len(who_reaches()) == 4
    guard()
    until(lambda: who_reaches() == set(), what="nobody")
    guard({"podSelector": {"matchLabels": {"app": "stranger"}}})
    until(lambda: who_reaches() == {("stranger", 4), ("stranger", 6)}, what="the stranger by both")
    guard({"ipBlock": {"cidr": f"{far[1]}/128"}}, {"ipBlock": {"cidr": f"{near[0]}/32"}})
    until(lambda: who_reaches() == {("client", 6), ("stranger", 4)}, what="each by one")
    cluster.kubectl("delete", "networkpolicy", "guard")
    until(lambda: len(who_reaches()) == 4, what="everybody")
