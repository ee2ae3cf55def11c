"""Webhooks and an extension API server behind Services of a running cluster, used with kubectl."""

import contextlib
import json
import os
import signal
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Cluster, until
from tests.support.extensionserver import NAME, ExtensionServer
from tests.support.webhooks import WebhookServer, deny, hook, in_thread, patch

WEB = "localhost/sparsam/web:1"
INIT = {"name": "added", "image": WEB, "command": ["sh", "-c", "echo added by a webhook"]}


@pytest.fixture(scope="module")
def address(cluster: Cluster) -> str:
    """Where the machine is reached."""
    (node,) = cluster.get("nodes")["items"]
    return next(each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP")


@pytest.fixture
def hooks(cluster: Cluster, address: str) -> Iterator[WebhookServer]:
    with in_thread(WebhookServer(host=address)) as server, exposed(cluster, "hook", address, server.port):
        yield server


@contextlib.contextmanager
def exposed(cluster: Cluster, name: str, address: str, port: int, service_port: int = 443) -> Iterator[None]:
    """A Service without selector, with an endpoint of its own."""
    endpoint_slice = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"port": port}],
        "endpoints": [{"addresses": [address]}],
    }
    spec = {"ports": [{"port": service_port, "targetPort": port}]}
    cluster.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
    cluster.apply(endpoint_slice)
    yield
    cluster.kubectl("delete", f"service/{name}", f"endpointslice/{name}-1")


@contextlib.contextmanager
def configured(cluster: Cluster, kind: str, *webhooks: dict[str, object]) -> Iterator[None]:
    name = f"{kind.lower()}-test"
    configuration = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": list(webhooks),
    }
    cluster.apply(configuration)
    yield
    cluster.kubectl("delete", f"{kind.lower()}webhookconfiguration/{name}")


def test_a_pod_that_a_webhook_changed_runs_as_changed(cluster: Cluster, hooks: WebhookServer, namespace: str):
    hooks.on("/add", patch({"op": "add", "path": "/spec/initContainers", "value": [INIT]}))
    selected = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    adding = hook(hooks.service_client("/add"), resources=("pods",), namespaceSelector=selected)
    with configured(cluster, "Mutating", adding):
        asked = ("-n", namespace, "create", "deployment", "web", f"--image={WEB}", "--port=8080")
        cluster.kubectl(*asked)
        cluster.kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
        (pod,) = cluster.get("pods", "-n", namespace, "-l", "app=web")["items"]
        name = pod["metadata"]["name"]
        assert cluster.kubectl("-n", namespace, "logs", name, "-c", "added") == "added by a webhook\n"


def test_kubectl_shows_why_a_webhook_refuses(cluster: Cluster, hooks: WebhookServer, namespace: str):
    hooks.on("/deny", deny)
    selected = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    maps = hook(hooks.service_client("/deny"), namespaceSelector=selected, operations=["CREATE", "DELETE"])
    attach = hook(
        hooks.service_client("/deny"), name="attach.example.com", resources=("pods/attach",), operations=["CONNECT"]
    )
    cluster.kubectl("-n", namespace, "run", "p", f"--image={WEB}")
    cluster.kubectl("-n", namespace, "wait", "--for=condition=Ready", "pod/p", "--timeout=60s")
    cluster.kubectl("-n", namespace, "create", "configmap", "before")
    with configured(cluster, "Validating", maps, attach):
        told = until(lambda: denied(cluster, "-n", namespace, "create", "configmap", "m", "--dry-run=server"))
        assert 'admission webhook "hook.example.com" denied the request: the webhook says no' in told
        assert "the webhook says no" in denied(cluster, "-n", namespace, "delete", "configmap", "before")
        assert "the webhook says no" in denied(cluster, "-n", namespace, "attach", "p", "-i")
        os.kill(cluster.children()["api"], signal.SIGKILL)
        told = until(lambda: denied(cluster, "-n", namespace, "create", "configmap", "m"))
        assert "the webhook says no" in told


def denied(cluster: Cluster, *arguments: str) -> str:
    """What kubectl says of a refusal; empty when there was none of a webhook."""
    told = cluster.kubectl(*arguments, check=False)
    return told if "admission webhook" in told else ""


def test_a_group_of_an_extension_server_is_one_of_the_cluster(cluster: Cluster, address: str):
    front_proxy = cluster.data_dir / "pki" / "front-proxy-ca.crt"
    with (
        in_thread(ExtensionServer(front_proxy, host=address)) as extension,
        exposed(cluster, "api", address, extension.port, 7443),
    ):
        cluster.apply(extension.api_service())
        cluster.kubectl("wait", f"apiservice/{NAME}", "--for=condition=Available", "--timeout=60s")
        assert "flunders" in cluster.kubectl("api-resources", "--api-group=wardle.example.com")
        flunder = {"apiVersion": "wardle.example.com/v1alpha1", "kind": "Flunder", "metadata": {"name": "a"}}
        cluster.kubectl("create", "-f", "-", stdin=json.dumps({**flunder, "spec": {}}))
        assert cluster.kubectl("get", "flunders", "-o", "name") == "flunder.wardle.example.com/a\n"
        assert "default/api" in cluster.kubectl("get", "apiservice", NAME)
        cluster.kubectl("delete", "apiservice", NAME)
    assert "flunders" not in until(lambda: cluster.kubectl("api-resources", "--cached=false", check=False))
