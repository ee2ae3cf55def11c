"""Clients that others wrote, unmodified: kubectl and the Python libraries create, list, watch and delete."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.apiserver import serving, serving_in_thread

KUBECTL = shutil.which("kubectl", path=str(Path(sys.executable).parent))


@pytest.fixture
def server(tmp_path):
    with serving_in_thread(tmp_path) as running:
        yield running


@pytest.fixture
def kubectl(server, tmp_path):
    if KUBECTL is None:
        pytest.skip("kubectl is not installed in this virtual environment")
    environment = {**os.environ, "KUBECONFIG": str(server.kubeconfig), "HOME": str(tmp_path)}

    def run(*arguments, code=0, stdin=None):
        done = subprocess.run(
            [KUBECTL, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=60, input=stdin
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    return run


def test_kubectl_creates_shows_changes_and_deletes(kubectl):
    assert kubectl("create", "configmap", "c", "--from-literal=a=b") == "configmap/c created\n"
    assert json.loads(kubectl("get", "cm", "c", "-o", "json"))["data"] == {"a": "b"}
    assert "c " in kubectl("get", "cm")
    assert kubectl("label", "cm", "c", "x=y") == "configmap/c labeled\n"
    assert kubectl("get", "cm", "-l", "x=y", "-o", "name") == "configmap/c\n"
    assert kubectl("annotate", "cm", "c", "k=v") == "configmap/c annotated\n"
    assert kubectl("delete", "cm", "c") == 'configmap "c" deleted from default namespace\n'
    assert "NotFound" in kubectl("get", "cm", "c", code=1)


def test_kubectl_applies_twice(kubectl):
    manifest = json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}})
    assert "created" in kubectl("apply", "-f", "-", stdin=manifest)
    assert "unchanged" in kubectl("apply", "-f", "-", stdin=manifest)
    assert "configured" in kubectl("apply", "-f", "-", stdin=manifest.replace('"1"', '"2"'))
    assert "unknown field" in kubectl("apply", "-f", "-", stdin=manifest.replace('"data"', '"dada"'), code=1)


def test_kubectl_applies_lists_and_finds_mistakes_in_them(kubectl):
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}
    manifest = json.dumps({"apiVersion": "v1", "kind": "List", "items": [item]})
    assert "created" in kubectl("create", "-f", "-", stdin=manifest)
    assert "configured" in kubectl("apply", "-f", "-", stdin=kubectl("get", "cm", "-o", "json"))
    assert "unknown field" in kubectl("apply", "-f", "-", stdin=manifest.replace('"data"', '"dada"'), code=1)


def test_kubectl_applies_on_the_server(kubectl):
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1", "b": "1"}}
    first, second = json.dumps(item), json.dumps(item | {"data": {"a": "2"}})
    apply = ("apply", "--server-side", "-f", "-")
    assert kubectl(*apply, stdin=first) == "configmap/c serverside-applied\n"
    refused = kubectl(*apply, "--field-manager=other", stdin=second, code=1)
    assert 'Apply failed with 1 conflict: conflict with "kubectl": .data.a' in refused
    assert "serverside-applied" in kubectl(*apply, "--field-manager=other", "--force-conflicts", stdin=second)
    assert kubectl("get", "cm", "c", "-o", "jsonpath={.data}") == '{"a":"2","b":"1"}'
    assert "+  c: new" in kubectl(
        "diff", "--server-side", "-f", "-", stdin=second.replace("}}", ', "c": "new"}}'), code=1
    )
    assert "serverside-applied" in kubectl(*apply, stdin=second)
    assert kubectl("get", "cm", "c", "-o", "jsonpath={.data}") == '{"a":"2"}'
    refused = kubectl(*apply, stdin=second.replace('"data"', '"dada"'), code=1)
    assert "failed to create typed patch object (default/c; /v1, Kind=ConfigMap): .dada: field not declared" in refused


def test_kubectl_goes_over_to_the_server(kubectl):
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1", "b": "1"}}
    kubectl("apply", "-f", "-", stdin=json.dumps(item))
    moved = json.dumps(item | {"data": {"a": "2"}})
    assert "serverside-applied" in kubectl("apply", "--server-side", "-f", "-", stdin=moved)
    assert kubectl("get", "cm", "c", "-o", "jsonpath={.data}") == '{"a":"2"}'
    entries = json.loads(kubectl("get", "cm", "c", "-o", "json", "--show-managed-fields"))["metadata"]["managedFields"]
    assert {(each["manager"], each["operation"]) for each in entries} == {
        ("kubectl", "Apply"),
        ("kubectl-last-applied", "Apply"),
    }


def test_kubectl_writes_under_the_names_it_is_given(kubectl):
    kubectl("create", "configmap", "c", "--from-literal=a=1", "--field-manager=maker")
    kubectl("patch", "cm", "c", "--type=merge", "-p", '{"data":{"b":"2"}}', "--field-manager=patcher")
    kubectl("label", "cm", "c", "x=y")
    assert "managedFields" not in kubectl("get", "cm", "c", "-o", "yaml")
    shown = kubectl("get", "cm", "c", "-o", "yaml", "--show-managed-fields")
    assert {line.split()[1] for line in shown.splitlines() if "manager:" in line} == {
        "kubectl-label",
        "maker",
        "patcher",
    }


def test_kubectl_sends_protobuf_for_typed_commands(kubectl):
    assert "created" in kubectl("create", "namespace", "team")
    assert "created" in kubectl("create", "deployment", "web", "--image=nginx", "--replicas=2")
    assert "scaled" in kubectl("scale", "deployment", "web", "--replicas=3")
    assert kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.replicas}") == "3"


def test_kubectl_knows_what_is_served(kubectl):
    assert "deployments.apps" in kubectl("api-resources", "-o", "name")
    assert "Server Version: v1.37.0+sparsam" in kubectl("version")
    assert "nodeName <string>" in kubectl("explain", "pod.spec.nodeName")
    assert kubectl("auth", "can-i", "create", "pods") == "yes\n"
    assert "kubernetes-admin" in kubectl("auth", "whoami")


def test_the_official_client(server):
    from kubernetes import client, config, watch

    api = client.CoreV1Api(config.new_client_from_config(str(server.kubeconfig)))
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="c"), data={"a": "b"})
    created = api.create_namespaced_config_map("default", body)
    assert [item.metadata.name for item in api.list_namespaced_config_map("default").items] == ["c"]
    events = watch.Watch().stream(
        api.list_namespaced_config_map,
        "default",
        resource_version=str(int(created.metadata.resource_version) - 1),
        timeout_seconds=1,
    )
    assert [(event["type"], event["object"].metadata.name) for event in events] == [("ADDED", "c")]
    api.delete_namespaced_config_map("c", "default")
    assert api.list_namespaced_config_map("default").items == []


async def test_kubernetes_asyncio(tmp_path):
    from kubernetes_asyncio import client, config

    async with serving(tmp_path) as server, await config.new_client_from_config(str(server.kubeconfig)) as connection:
        api = client.CoreV1Api(connection)
        await api.create_namespaced_config_map("default", {"metadata": {"name": "c"}})
        assert [item.metadata.name for item in (await api.list_namespaced_config_map("default")).items] == ["c"]
        await api.delete_namespaced_config_map("c", "default")


def test_lightkube(server):
    from lightkube import Client, KubeConfig
    from lightkube.models.meta_v1 import ObjectMeta
    from lightkube.resources.core_v1 import ConfigMap

    client = Client(config=KubeConfig.from_file(str(server.kubeconfig)))
    client.create(ConfigMap(metadata=ObjectMeta(name="c"), data={"a": "b"}))
    assert [each.metadata.name for each in client.list(ConfigMap)] == ["c"]
    kind, found = next(iter(client.watch(ConfigMap, resource_version="1")))
    assert (kind, found.metadata.name) == ("ADDED", "c")
    client.delete(ConfigMap, "c")


# It warns of every server that is newer than itself.
@pytest.mark.filterwarnings("ignore:Kubernetes version:UserWarning")
async def test_kr8s(tmp_path):
    import kr8s.asyncio
    from kr8s.asyncio.objects import ConfigMap

    async with serving(tmp_path) as server:
        api = await kr8s.asyncio.api(kubeconfig=str(server.kubeconfig))
        config_map = await ConfigMap({"metadata": {"name": "c", "namespace": "default"}, "data": {"a": "b"}}, api=api)
        await config_map.create()
        assert [each.name async for each in api.get("configmaps", namespace="default")] == ["c"]
        await config_map.delete()
