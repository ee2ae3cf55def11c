"""What nodes may do: by request, and over a server that follows its store."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
import pytest

from sparsam.apiserver.authentication import authenticated
from sparsam.apiserver.authorization import Action, ComponentAuthorizer
from sparsam.apiserver.nodeauthorizer import NodeAuthorizer, node_of
from sparsam.client.api import ApiClient
from sparsam.client.config import load_kubeconfig
from sparsam.errors import Forbidden, NotFound
from sparsam.objects.kinds import (
    NODES,
    PERSISTENTVOLUMES,
    PODS,
    RESOURCESLICES,
    SECRETS,
    SERVICEACCOUNTS,
    SUBJECTACCESSREVIEWS,
    VOLUMEATTACHMENTS,
    Resource,
)
from sparsam.objects.localvolumes import NODE_LABEL
from sparsam.store.memory import MemoryStore
from tests.support.apiserver import serving

SELFSUBJECTRULESREVIEWS = Resource(
    "authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews", namespaced=False
)
NODE = authenticated("system:node:n1", ("system:nodes",))
POD = {
    "metadata": {"name": "p", "namespace": "d"},
    "spec": {
        "nodeName": "n1",
        "serviceAccountName": "a",
        "containers": [{"envFrom": [{"secretRef": {"name": "s"}}, {"configMapRef": {"name": "m"}}]}],
        "volumes": [{"name": "x", "persistentVolumeClaim": {"claimName": "c"}}],
        "resourceClaims": [{"name": "r", "resourceClaimName": "r"}],
    },
}
NO_RELATION = "no relationship found between node 'n1' and this object"


@contextlib.asynccontextmanager
async def authorizer():
    """Of a store with one pod of n1, the volume of its claim, and a local volume, an attachment and a slice of n1."""
    store = await MemoryStore.open()
    volume = {"metadata": {"name": "v"}, "spec": {"claimRef": {"namespace": "d", "name": "c"}}}
    local = {"metadata": {"name": "l", "labels": {NODE_LABEL: "n1"}}, "spec": {}}
    for key, obj in (
        (PODS.key("p", "d"), POD),
        (PERSISTENTVOLUMES.key("v"), volume),
        (PERSISTENTVOLUMES.key("l"), local),
        (VOLUMEATTACHMENTS.key("va"), {"spec": {"nodeName": "n1"}}),
        (RESOURCESLICES.key("rs"), {"spec": {"nodeName": "n1"}}),
        (RESOURCESLICES.key("far"), {"spec": {"nodeName": "n2"}}),
    ):
        await store.create(key, msgspec.json.encode(obj))
    made = NodeAuthorizer(ComponentAuthorizer(), store)
    task = asyncio.create_task(made.run())
    try:
        await made.loaded.wait()
        yield made, store
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.close()


def action(text: str, **more: str) -> Action:
    """`verb group/resource/subresource namespace/name`, each part but verb and resource perhaps empty."""
    verb, what, where = (*text.split(), "/")[:3]
    group, resource, part = (*what.split("/"), "")[:3]
    namespace, _, name = where.partition("/")
    return Action(verb, group=group, resource=resource, subresource=part, namespace=namespace, name=name, **more)


ALLOWED = [
    "get /secrets d/s",
    "watch /secrets d/s",
    "get /configmaps d/m",
    "get /persistentvolumeclaims d/c",
    "patch /persistentvolumeclaims/status d/c",
    "get /persistentvolumes /v",
    "get /persistentvolumes /l",
    "patch /persistentvolumes /l",
    "get storage.k8s.io/volumeattachments /va",
    "get resource.k8s.io/resourceclaims d/r",
    "create /serviceaccounts/token d/a",
    "create coordination.k8s.io/leases kube-node-lease/",
    "patch coordination.k8s.io/leases kube-node-lease/n1",
    "create storage.k8s.io/csinodes /",
    "update storage.k8s.io/csinodes /n1",
    "create resource.k8s.io/resourceslices /",
    "delete resource.k8s.io/resourceslices /rs",
    "get /nodes /n1",
    "create /nodes /",
    "patch /nodes/status /n1",
    "delete /nodes /n1",
    "get /pods d/p",
    "create /pods d/",
    "delete /pods d/p",
    "patch /pods/status d/p",
    "create /pods/eviction d/p",
    "list /services /",
    "create /events d/",
    "get node.k8s.io/runtimeclasses /r",
    "create authentication.k8s.io/tokenreviews /",
]
REFUSED = [
    ("get /secrets d/other", NO_RELATION),
    ("get /secrets e/s", NO_RELATION),
    ("list /secrets d/", "No Object name found"),
    ("list /secrets /", "can only read namespaced object of this type"),
    ("update /secrets d/s", "can only read resources of this type"),
    ("get /secrets/x d/s", "cannot read subresource"),
    ("list /persistentvolumeclaims d/", "can only get individual resources of this type"),
    ("get /persistentvolumeclaims/x d/c", "cannot get subresource"),
    ("get /persistentvolumeclaims/status d/c", "can only get/update/patch this type"),
    ("delete /persistentvolumes /v", "can only get individual resources of this type"),
    ("list /persistentvolumes /", "can only get individual resources of this type"),
    ("get /persistentvolumes/status /v", "cannot get subresource"),
    ("get storage.k8s.io/volumeattachments /other", NO_RELATION),
    ("create /serviceaccounts/token d/b", NO_RELATION),
    ("get /serviceaccounts d/a", "can only create tokens for individual service accounts"),
    ("create /serviceaccounts d/a", "can only create token subresource of serviceaccount"),
    ("list coordination.k8s.io/leases kube-node-lease/", "can only get, create, update, patch, or delete a node lease"),
    ("get coordination.k8s.io/leases d/n1", 'can only access leases in the "kube-node-lease" system namespace'),
    (
        "get coordination.k8s.io/leases kube-node-lease/n2",
        "can only access node lease with the same name as the requesting node",
    ),
    ("list storage.k8s.io/csinodes /", "can only get, create, update, patch, or delete a CSINode"),
    ("get storage.k8s.io/csinodes/x /n1", "cannot authorize CSINode subresources"),
    ("get storage.k8s.io/csinodes /n2", "can only access CSINode with the same name as the requesting node"),
    ("delete resource.k8s.io/resourceslices /far", NO_RELATION),
    (
        "list resource.k8s.io/resourceslices /",
        "can only list/watch/deletecollection resourceslices with nodeName field selector",
    ),
    ("get resource.k8s.io/resourceslices/x /rs", "cannot authorize ResourceSlice subresources"),
    ("list /nodes /", "node 'n1' cannot read all nodes, only its own Node object"),
    ("get /nodes /n2", "node 'n1' cannot read 'n2', only its own Node object"),
    ("delete /nodes /n2", ""),
    ("get /nodes/proxy /n1", ""),
    ("list /pods d/", "can only list/watch pods with spec.nodeName field selector"),
    ("get /pods d/q", NO_RELATION),
    ("update /pods d/p", ""),
    ("create /pods/binding d/p", ""),
    ("list apps/deployments d/", ""),
    ("create rbac.authorization.k8s.io/clusterroles /", ""),
]


async def test_a_node_does_what_is_about_its_own_pods():
    async with authorizer() as (made, _):
        assert [each for each in ALLOWED if not made.allows(NODE, action(each))] == []


async def test_a_node_is_refused_the_rest_in_upstreams_words():
    async with authorizer() as (made, _):
        assert [each for each, _ in REFUSED if made.allows(NODE, action(each))] == []
        assert [(each, made.why_not(NODE, action(each))) for each, _ in REFUSED] == REFUSED


async def test_selectors_that_name_the_node_allow_to_read_many():
    async with authorizer() as (made, _):
        for text, fields, labels in (
            ("list /pods /", "spec.nodeName=n1", ""),
            ("watch /pods /", "status.phase!=Failed,spec.nodeName==n1", ""),
            ("list resource.k8s.io/resourceslices /", "spec.nodeName=n1", ""),
            ("watch /persistentvolumes /", "", f"{NODE_LABEL}=n1"),
        ):
            asked = {"field_selector": fields, "label_selector": labels}
            assert made.allows(NODE, action(text, **asked)), text
            others = {name: value.replace("n1", "n2") for name, value in asked.items()}
            assert not made.allows(NODE, action(text, **others)), text
        assert not made.allows(NODE, action("list /pods /", field_selector="spec.nodeName!=n1"))


async def test_pods_that_come_and_go_take_their_rights_along():
    async with authorizer() as (made, store):
        wanted = action("get /secrets d/late")
        assert not made.allows(NODE, wanted)
        pod = {**POD, "metadata": {"name": "q", "namespace": "d"}}
        unbound = {**pod, "spec": {"imagePullSecrets": [{"name": "late"}], "containers": []}}
        entry = await store.create(PODS.key("q", "d"), msgspec.json.encode(unbound))
        bound = {**unbound, "spec": {**unbound["spec"], "nodeName": "n1"}}
        entry = await store.update(entry.key, msgspec.json.encode(bound), expected=entry.revision)
        await until(lambda: made.allows(NODE, wanted))
        debugged = {"name": "e", "envFrom": [{"secretRef": {"name": "debug"}}]}
        more = {**bound, "spec": {**bound["spec"], "ephemeralContainers": [debugged]}}
        await store.update(entry.key, msgspec.json.encode(more), expected=entry.revision)
        await until(lambda: made.allows(NODE, action("get /secrets d/debug")))
        await store.delete(entry.key)
        await until(lambda: not made.allows(NODE, wanted))


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def test_who_is_a_node():
    assert node_of(NODE) == "n1"
    assert node_of(authenticated("system:node:n1", ())) is None
    assert node_of(authenticated("system:node:", ("system:nodes",))) is None
    assert node_of(authenticated("jane", ("system:nodes",))) is None


async def review(client, about):
    """What the server says of n1's right."""
    spec = {"user": "system:node:n1", "groups": ["system:nodes"], "resourceAttributes": about}
    return (await client.create(SUBJECTACCESSREVIEWS, {"spec": spec}))["status"]


async def test_a_node_reads_over_the_api_what_its_pods_use(tmp_path):
    async with serving(tmp_path, nodes=("n1", "n2")) as server, contextlib.AsyncExitStack() as stack:
        paths = [server.kubeconfig_for(name) for name in ("admin", "node-n1", "node-n2")]
        admin, mine, other = [await stack.enter_async_context(ApiClient(load_kubeconfig(path))) for path in paths]
        await admin.create(SERVICEACCOUNTS, {"metadata": {"name": "default"}}, "default")
        await admin.create(SECRETS, {"metadata": {"name": "s"}, "stringData": {"a": "b"}}, "default")
        container = {"name": "c", "image": "i", "envFrom": [{"secretRef": {"name": "s"}}]}
        spec = {"nodeName": "n1", "containers": [container], "imagePullSecrets": [{"name": "absent"}]}
        made = await admin.create(PODS, {"metadata": {"name": "p"}, "spec": spec}, "default")

        async def reads() -> bool:
            with contextlib.suppress(Forbidden):
                return bool(await mine.get(SECRETS, "s", "default"))
            return False

        async with asyncio.timeout(20):
            while not await reads():
                await asyncio.sleep(0.02)
        with pytest.raises(NotFound):
            await mine.get(SECRETS, "absent", "default")
        words = (
            'secrets "s" is forbidden: User "system:node:n2" cannot get resource "secrets" in API group "" in the '
            "namespace \"default\": no relationship found between node 'n2' and this object"
        )
        with pytest.raises(Forbidden) as refused:
            await other.get(SECRETS, "s", "default")
        assert refused.value.message == words

        bound = {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": made["metadata"]["uid"]}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}}
        with pytest.raises(Forbidden, match="node requested token not bound to a pod"):
            await mine.create(SERVICEACCOUNTS, request, "default", name="default", subresource="token")
        request["spec"]["boundObjectRef"] = bound
        answer = await mine.create(SERVICEACCOUNTS, request, "default", name="default", subresource="token")
        assert answer["status"]["token"]

        about = {"verb": "list", "group": "resource.k8s.io", "resource": "resourceslices", "version": "v1"}
        requirement = {"key": "spec.nodeName", "operator": "In", "values": ["n1"]}
        assert await review(admin, about) == {
            "allowed": False,
            "reason": "can only list/watch/deletecollection resourceslices with nodeName field selector",
        }
        for selector in ({"requirements": [requirement]}, {"rawSelector": "spec.nodeName=n1"}):
            assert await review(admin, {**about, "fieldSelector": selector}) == {"allowed": True}

        rules = await mine.create(SELFSUBJECTRULESREVIEWS, {"spec": {"namespace": "default"}})
        assert rules["status"]["incomplete"]
        assert rules["status"]["evaluationError"] == "node authorizer does not support user rule resolution"

        node = {"metadata": {"name": "n3"}}
        with pytest.raises(Forbidden, match='node "n1" is not allowed to modify node "n3"'):
            await mine.create(NODES, node)
        eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
        with pytest.raises(Forbidden, match=r"node n2 can only evict pods with spec\.nodeName set to itself"):
            await other.create(PODS, eviction, "default", name="p", subresource="eviction")
        listed = await mine.list(PODS, "default", field_selector="spec.nodeName=n1")
        assert [each["metadata"]["name"] for each in listed["items"]] == ["p"]
