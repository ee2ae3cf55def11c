"""What roles grant, by value, and that the API server heeds them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from sparsam.apiserver.authentication import User, authenticated
from sparsam.apiserver.authorization import Action
from sparsam.apiserver.roles import Book, granted, rule_allows, subject_matches
from sparsam.client.api import ApiClient
from sparsam.client.config import load_kubeconfig
from sparsam.errors import Forbidden
from sparsam.objects.kinds import (
    CLUSTERROLEBINDINGS,
    CLUSTERROLES,
    NAMESPACES,
    NODES,
    PODS,
    ROLEBINDINGS,
    ROLES,
    SERVICEACCOUNTS,
)
from sparsam.store.memory import MemoryStore
from tests.support.apiserver import serving

Obj = dict[str, Any]
ROBOT = authenticated("system:serviceaccount:d:robot", ("system:serviceaccounts",))
GROUP = "rbac.authorization.k8s.io"


def rule(verbs: str, resources: str = "", groups: str = "", **more: Any) -> Obj:
    return {
        "verbs": verbs.split(),
        "apiGroups": (groups or "core").replace("core", "").split(","),
        "resources": resources.split(),
        **more,
    }


def action(verb: str, resource: str, namespace: str = "", **more: str) -> Action:
    what, _, part = resource.partition("/")
    return Action(verb=verb, version="v1", resource=what, subresource=part, namespace=namespace, **more)


def binding(name: str, role: str, *subjects: Obj, kind: str = "ClusterRole", namespace: str = "") -> Obj:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {
        "metadata": metadata,
        "roleRef": {"kind": kind, "name": role, "apiGroup": GROUP},
        "subjects": list(subjects),
    }


ACCOUNT = {"kind": "ServiceAccount", "name": "robot", "namespace": "d"}


@pytest.mark.parametrize(
    ("given", "wanted", "allowed"),
    [
        (rule("get", "pods"), action("get", "pods"), True),
        (rule("get", "pods"), action("list", "pods"), False),
        (rule("get", "pods"), action("get", "pods/log"), False),
        (rule("get", "pods/log"), action("get", "pods/log"), True),
        (rule("get", "*/log"), action("get", "pods/log"), True),
        (rule("get", "*"), action("get", "nodes/metrics"), True),
        (rule("*", "nodes/metrics"), action("get", "nodes/metrics"), True),
        (rule("get", "deployments"), action("get", "deployments", group="apps"), False),
        (rule("get", "deployments", "apps"), action("get", "deployments", group="apps"), True),
        (rule("get", "pods", resourceNames=["a"]), action("get", "pods", name="a"), True),
        (rule("get", "pods", resourceNames=["a"]), action("get", "pods", name="b"), False),
        (rule("get", "pods", resourceNames=["a"]), action("list", "pods"), False),
        ({"verbs": ["get"], "nonResourceURLs": ["/metrics", "/x/*"]}, Action(verb="get", path="/metrics"), True),
        ({"verbs": ["get"], "nonResourceURLs": ["/metrics", "/x/*"]}, Action(verb="get", path="/x/y"), True),
        ({"verbs": ["get"], "nonResourceURLs": ["/metrics"]}, Action(verb="get", path="/metrics/y"), False),
        ({"verbs": ["get"], "nonResourceURLs": ["*"]}, action("get", "pods"), False),
        (rule("get", "*"), Action(verb="get", path="/metrics"), False),
        ({"verbs": None}, action("get", "pods"), False),
    ],
    ids=lambda value: None if isinstance(value, bool) else str(value)[:60],
)
def test_a_rule_is_about_verbs_groups_resources_and_names(given: Obj, wanted: Action, allowed: bool):
    assert rule_allows(given, wanted) is allowed


@pytest.mark.parametrize(
    ("subject", "matches"),
    [
        (ACCOUNT, True),
        ({"kind": "ServiceAccount", "name": "robot"}, True),
        ({"kind": "ServiceAccount", "name": "robot", "namespace": "other"}, False),
        ({"kind": "Group", "name": "system:serviceaccounts"}, True),
        ({"kind": "User", "name": "system:serviceaccount:d:robot"}, True),
        ({"kind": "User", "name": "robot"}, False),
        ({"kind": "Group", "name": "system:masters"}, False),
        ({"kind": "Else", "name": "robot"}, False),
    ],
)
def test_subjects_are_users_groups_and_service_accounts(subject: Obj, matches: bool):
    assert subject_matches(subject, ROBOT, "d") is matches


def book(**kinds: list[Obj]) -> Book:
    named = {
        "roles": ROLES,
        "clusterroles": CLUSTERROLES,
        "bindings": ROLEBINDINGS,
        "clusterbindings": CLUSTERROLEBINDINGS,
    }
    return {
        resource: {(obj["metadata"].get("namespace", ""), obj["metadata"]["name"]): obj for obj in kinds.get(name, [])}
        for name, resource in named.items()
    }


def role(name: str, *rules: Obj, namespace: str = "") -> Obj:
    return {"metadata": {"name": name, **({"namespace": namespace} if namespace else {})}, "rules": list(rules)}


def test_a_binding_in_a_namespace_grants_there_and_nowhere_else():
    found = book(
        roles=[role("reader", rule("get", "pods"), namespace="d")],
        clusterroles=[role("writer", rule("create", "pods"))],
        bindings=[
            binding("a", "reader", ACCOUNT, kind="Role", namespace="d"),
            binding("b", "writer", ACCOUNT, namespace="d"),
            binding("dangling", "nowhere", ACCOUNT, kind="Role", namespace="d"),
        ],
    )
    for verb in ("get", "create"):
        assert granted(found, ROBOT, action(verb, "pods", "d"))
        assert not granted(found, ROBOT, action(verb, "pods", "other"))
        assert not granted(found, ROBOT, action(verb, "pods"))
    assert not granted(found, User("else"), action("get", "pods", "d"))


async def test_the_api_server_heeds_roles_as_they_come_and_go(tmp_path: Path):
    async with serving(tmp_path) as server, ApiClient(load_kubeconfig(server.kubeconfig)) as admin:
        await admin.create(NAMESPACES, {"metadata": {"name": "d"}})
        await admin.create(SERVICEACCOUNTS, {"metadata": {"name": "robot"}}, "d")
        request = {"spec": {"audiences": [], "expirationSeconds": 3600}}
        token = await admin.create(SERVICEACCOUNTS, request, "d", name="robot", subresource="token")
        async with ApiClient(load_kubeconfig(server.kubeconfig_with_token(token["status"]["token"]))) as robot:
            with pytest.raises(Forbidden, match='cannot list resource "nodes"'):
                await robot.list(NODES)
            await admin.create(CLUSTERROLES, role("reader", rule("list", "nodes")))
            await admin.create(CLUSTERROLEBINDINGS, binding("robot", "reader", ACCOUNT))
            await _until(robot, allowed=True)
            with pytest.raises(Forbidden):
                await robot.list(PODS)
            await admin.delete(CLUSTERROLEBINDINGS, "robot")
            await _until(robot, allowed=False)


async def _until(client: ApiClient, *, allowed: bool) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await client.list(NODES)
                now = True
            except Forbidden:
                now = False
            if now is allowed:
                return
            await asyncio.sleep(0.02)


async def test_nobody_hands_out_rights_that_they_do_not_hold(tmp_path: Path):
    mine = [rule("get list", "pods"), rule("create update", "roles rolebindings", GROUP)]
    async with serving(tmp_path) as server, ApiClient(load_kubeconfig(server.kubeconfig)) as admin:
        await admin.create(SERVICEACCOUNTS, {"metadata": {"name": "robot", "namespace": "default"}})
        await admin.create(ROLES, {"metadata": {"name": "mine", "namespace": "default"}, "rules": mine})
        subject = {"kind": "ServiceAccount", "name": "robot", "namespace": "default"}
        await admin.create(ROLEBINDINGS, binding("mine", "mine", subject, kind="Role", namespace="default"))
        issued = await admin.create(SERVICEACCOUNTS, {"spec": {}}, "default", name="robot", subresource="token")
        kubeconfig = server.kubeconfig_with_token(issued["status"]["token"])
        async with ApiClient(load_kubeconfig(kubeconfig)) as robot:

            async def grant(name: str, *rules: Obj) -> Obj:
                return await robot.create(
                    ROLES, {"metadata": {"name": name, "namespace": "default"}, "rules": [*rules]}
                )

            async with asyncio.timeout(20):
                while True:
                    try:
                        await grant("less", rule("get", "pods"))
                        break
                    except Forbidden:
                        await asyncio.sleep(0.05)
            with pytest.raises(Forbidden) as refused:
                await grant("more", rule("get delete", "pods"), rule("get", "pods/log"))
            assert refused.value.message.endswith(
                "is attempting to grant RBAC permissions not currently held:\n"
                '{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}\n'
                '{APIGroups:[""], Resources:["pods/log"], Verbs:["get"]}'
            )
            await robot.create(ROLEBINDINGS, binding("less", "less", subject, kind="Role", namespace="default"))
            with pytest.raises(Forbidden, match="not currently held"):
                await robot.create(ROLEBINDINGS, binding("all", "cluster-admin", subject, namespace="default"))


async def test_default_roles_are_there_and_grow_again(tmp_path: Path):
    store = await MemoryStore.open()
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    async with (
        serving(tmp_path / "first", store=store) as server,
        ApiClient(load_kubeconfig(server.kubeconfig)) as admin,
    ):
        names = {each["metadata"]["name"] for each in (await admin.list(CLUSTERROLES))["items"]}
        assert {"cluster-admin", "admin", "edit", "view", "system:basic-user", "system:discovery"} <= names
        await admin.patch(CLUSTERROLES, "system:auth-delegator", {"rules": [rule("get", "pods")]})
    async with (
        serving(tmp_path / "second", store=store) as server,
        ApiClient(load_kubeconfig(server.kubeconfig)) as admin,
    ):
        assert len((await admin.get(CLUSTERROLES, "system:auth-delegator"))["rules"]) == 3
