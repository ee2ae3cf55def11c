"""What a new cluster needs besides processes: credentials, system objects, and the test that it is ready."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sparsam.cli.nodes import public_host
from sparsam.settings import NodeSettings, Settings, api_url

PROBE_SECONDS = 2.0


def write_credentials(settings: Settings, nodes: Iterable[NodeSettings]) -> None:
    """Certificates and one kubeconfig each for the administrator, control process, machine's proxy and every node."""
    from sparsam.apiserver import pki

    nodes = list(nodes)
    identities = [pki.node_identity(node.name) for node in nodes]
    identities += [pki.node_serving_identity(node.name, node.ips) for node in nodes]
    own = ("kubernetes", "kubernetes.default", "kubernetes.default.svc")
    sans = [*own, f"kubernetes.default.svc.{settings.cluster_domain}", "localhost", "127.0.0.1"]
    sans += [settings.client_host, *settings.machine_ips, settings.api_service_ip]
    if host := public_host(settings):
        sans.append(host)
    pki.ensure_pki(settings.pki_dir, sans=sans, identities=identities)

    here = settings.server_url
    write_kubeconfig(settings.kubeconfig, settings, here, "admin")
    for part in ("control", "scheduler", "proxy"):
        write_kubeconfig(settings.data_path / f"{part}.kubeconfig", settings, here, part)
    for node in nodes:
        server = api_url(settings.machine_ip, settings.port) if node.netns else here
        path = settings.data_path / f"node-{node.name}.kubeconfig"
        write_kubeconfig(path, settings, server, f"node-{node.name}")


def write_kubeconfig(path: Path, settings: Settings, server: str, identity: str) -> None:
    """A kubeconfig for an identity whose certificate and key are in the cluster's directory of certificates."""

    def inline(name: str) -> str:
        return base64.b64encode((settings.pki_dir / name).read_bytes()).decode()

    user = {"client-certificate-data": inline(f"{identity}.crt"), "client-key-data": inline(f"{identity}.key")}
    cluster = {"server": server, "certificate-authority-data": inline("ca.crt")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "sparsam", "cluster": cluster}],
        "users": [{"name": identity, "user": user}],
        "contexts": [{"name": "sparsam", "context": {"cluster": "sparsam", "user": identity}}],
        "current-context": "sparsam",
    }
    # JSON is YAML, and every client reads it.
    path.touch(mode=0o600)
    path.write_text(json.dumps(config, indent=2) + "\n")


def api_is_ready(settings: Settings) -> bool:
    """Whether the API server says so itself."""
    context = ssl.create_default_context(cafile=str(settings.pki_dir / "ca.crt"))
    try:
        url = f"{settings.server_url}/readyz"
        with urllib.request.urlopen(url, timeout=PROBE_SECONDS, context=context) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


async def create_system_objects(settings: Settings) -> None:
    """The objects every cluster has that no controller makes: the DNS Service, the class for claims of no class."""
    from sparsam.client.api import ApiClient
    from sparsam.client.config import load_kubeconfig
    from sparsam.errors import NotFound
    from sparsam.objects import localvolumes
    from sparsam.objects.kinds import CSIDRIVERS, SERVICES, STORAGECLASSES

    wanted = (
        (SERVICES, _dns_service(settings), "kube-system"),
        (CSIDRIVERS, localvolumes.driver(), ""),
        (STORAGECLASSES, localvolumes.storage_class(), ""),
    )
    async with ApiClient(load_kubeconfig(settings.kubeconfig)) as client:
        for resource, obj, namespace in wanted:
            try:
                await client.get(resource, obj["metadata"]["name"], namespace)
            except NotFound:
                # Asked for first: to create the Service again would be refused for its address, which it has itself.
                await client.create(resource, obj, namespace)


async def controllers_work(settings: Settings) -> bool:
    """Whether controllers have given the default namespace what every pod needs, its service account."""
    from sparsam.client.api import ApiClient
    from sparsam.client.config import load_kubeconfig
    from sparsam.errors import NotFound
    from sparsam.objects.kinds import SERVICEACCOUNTS

    async with ApiClient(load_kubeconfig(settings.kubeconfig)) as client:
        try:
            await client.get(SERVICEACCOUNTS, "default", "default")
        except NotFound:
            return False
        return True


async def nodes_not_ready(settings: Settings, names: Iterable[str]) -> set[str]:
    """Those of the named nodes that are not Ready yet."""
    from sparsam.client.api import ApiClient
    from sparsam.client.config import load_kubeconfig
    from sparsam.objects.kinds import NODES

    async with ApiClient(load_kubeconfig(settings.kubeconfig)) as client:
        nodes = await client.list(NODES)
    ready = {node["metadata"]["name"] for node in nodes["items"] if _is_ready(node)}
    return set(names) - ready


def _is_ready(node: dict[str, Any]) -> bool:
    conditions = node.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _dns_service(settings: Settings) -> dict[str, Any]:
    ports = [
        {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
        {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
    ]
    labels = {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system", "labels": labels},
        "spec": {"clusterIP": settings.dns_ip, "ports": ports},
    }
