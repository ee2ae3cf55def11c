"""Client libraries that others wrote, unmodified, against a running API server, with the kubeconfig that it wrote.

Each lists, creates, patches, deletes and watches. Watches start at the version of the first list, so that what they tell
does not depend on timing.
"""

import asyncio
import contextlib
import json

import pytest

from tests.support.liveserver import live_server
from tests.support.replay import Caller

WATCH_SECONDS = 5
POD_SPEC = {"containers": [{"name": "c", "image": "registry.example.com/c:1"}]}
MANIFESTS = {
    "ConfigMap": {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}},
    "Pod": {"apiVersion": "v1", "kind": "Pod", "spec": POD_SPEC},
    "Deployment": {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": POD_SPEC},
        },
    },
}
PATCH = {"metadata": {"labels": {"patched": "yes"}}}


class Generated:
    """What the official client and kubernetes-asyncio have in common: code generated from the same description."""

    def __init__(self, library, connection, run):
        self._run, self._watch = run, library.watch.Watch
        self._core, self._apps = library.client.CoreV1Api(connection), library.client.AppsV1Api(connection)

    def _call(self, verb, kind):
        plural = {"ConfigMap": "config_map", "Pod": "pod", "Deployment": "deployment"}[kind]
        return getattr(self._apps if kind == "Deployment" else self._core, f"{verb}_namespaced_{plural}")

    async def list(self, kind):
        listed = await self._run(self._call("list", kind), "default")
        return [item.metadata.name for item in listed.items], listed.metadata.resource_version

    async def create(self, kind, manifest):
        return (await self._run(self._call("create", kind), "default", manifest)).metadata.name

    async def patch(self, kind, name, patch):
        return (await self._run(self._call("patch", kind), name, "default", patch)).metadata.labels

    async def delete(self, kind, name):
        await self._run(self._call("delete", kind), name, "default")

    def _stream(self, kind, version):
        call = self._call("list", kind)
        return self._watch().stream(call, "default", resource_version=version, timeout_seconds=WATCH_SECONDS)


class Official(Generated):
    """The official client: blocking."""

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, kubeconfig):
        import kubernetes.watch

        connection = kubernetes.config.new_client_from_config(str(kubeconfig))
        yield cls(kubernetes, connection, asyncio.to_thread)
        connection.close()

    async def watch(self, kind, version):
        for event in self._stream(kind, version):
            yield event["type"], event["object"].metadata.name


class Asyncio(Generated):
    """kubernetes-asyncio."""

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, kubeconfig):
        import kubernetes_asyncio.watch

        async def run(call, *arguments):
            return await call(*arguments)

        async with await kubernetes_asyncio.config.new_client_from_config(str(kubeconfig)) as connection:
            yield cls(kubernetes_asyncio, connection, run)

    async def watch(self, kind, version):
        async with self._stream(kind, version) as events:
            async for event in events:
                yield event["type"], event["object"].metadata.name


class Lightkube:
    """lightkube, its asynchronous client."""

    def __init__(self, client):
        self._client = client

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, kubeconfig):
        from lightkube import AsyncClient, KubeConfig

        client = AsyncClient(config=KubeConfig.from_file(str(kubeconfig)), namespace="default")
        yield cls(client)
        await client.close()

    def _kind(self, kind):
        from lightkube.resources import apps_v1, core_v1

        return getattr(apps_v1 if kind == "Deployment" else core_v1, kind)

    async def list(self, kind):
        listed = self._client.list(self._kind(kind))
        names = [item.metadata.name async for item in listed]
        return names, listed.resourceVersion

    async def create(self, kind, manifest):
        return (await self._client.create(self._kind(kind).from_dict(manifest))).metadata.name

    async def patch(self, kind, name, patch):
        return (await self._client.patch(self._kind(kind), name, patch)).metadata.labels

    async def delete(self, kind, name):
        await self._client.delete(self._kind(kind), name)

    async def watch(self, kind, version):
        events = self._client.watch(self._kind(kind), resource_version=version, server_timeout=WATCH_SECONDS)
        async with contextlib.aclosing(events):
            async for event, item in events:
                yield event, item.metadata.name


class Kr8s:
    """kr8s, whose objects act on themselves."""

    def __init__(self, api):
        self._api = api

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, kubeconfig):
        import kr8s.asyncio

        api = await kr8s.asyncio.api(kubeconfig=str(kubeconfig), namespace="default")
        yield cls(api)
        # Nothing public closes it.
        await api._session.aclose()

    def _kind(self, kind):
        import kr8s.asyncio.objects

        return getattr(kr8s.asyncio.objects, kind)

    async def list(self, kind):
        # It hides the version of a list.
        group, version = ("/apis", "apps/v1") if kind == "Deployment" else ("/api", "v1")
        where = {"base": group, "version": version, "namespace": "default", "url": f"{kind.lower()}s"}
        async with self._api.call_api("GET", **where) as answer:
            version = answer.json()["metadata"]["resourceVersion"]
        return [item.name async for item in self._api.get(self._kind(kind), namespace="default")], version

    async def create(self, kind, manifest):
        item = await self._kind(kind)(manifest, namespace="default", api=self._api)
        await item.create()
        return item.name

    async def patch(self, kind, name, patch):
        item = await self._kind(kind).get(name, namespace="default", api=self._api)
        await item.patch(patch)
        return item.labels

    async def delete(self, kind, name):
        item = await self._kind(kind).get(name, namespace="default", api=self._api)
        await item.delete()

    async def watch(self, kind, version):
        async with contextlib.aclosing(self._api.watch(self._kind(kind), namespace="default", since=version)) as events:
            async for event, item in events:
                yield event, item.name


CLIENTS = {"kubernetes": Official, "kubernetes_asyncio": Asyncio, "lightkube": Lightkube, "kr8s": Kr8s}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with live_server(tmp_path_factory.mktemp("clients")) as running:
        with contextlib.closing(Caller(running.url, running.tls())) as call:
            # A controller's work, and there is none here.
            call.create("/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
        yield running


# kr8s warns of every server that is newer than itself.
@pytest.mark.filterwarnings("ignore:Kubernetes version:UserWarning")
@pytest.mark.parametrize("kind", MANIFESTS)
@pytest.mark.parametrize("client", CLIENTS)
async def test_a_client_lists_creates_patches_deletes_and_watches(server, client, kind):
    name = f"{client.replace('_', '-')}-{kind.lower()}"
    async with CLIENTS[client].connected(server.kubeconfig) as api:
        names, version = await api.list(kind)
        assert name not in names
        manifest = json.loads(json.dumps(MANIFESTS[kind])) | {"metadata": {"name": name, "namespace": "default"}}
        assert await api.create(kind, manifest) == name
        assert name in (await api.list(kind))[0]
        assert (await api.patch(kind, name, PATCH))["patched"] == "yes"
        await api.delete(kind, name)
        assert name not in (await api.list(kind))[0]
        seen = []
        async with contextlib.aclosing(api.watch(kind, version)) as events:
            async for event, of in events:
                seen.append((event, of))
                if event == "DELETED":
                    break
        assert seen == [("ADDED", name), ("MODIFIED", name), ("DELETED", name)]
