"""ResourceQuotas are counted on a real API server, with pods that a test ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sparsam.controllers.resourcequota import ResourceQuotaController, same_amounts, status_of
from sparsam.controllers.serviceaccount import ServiceAccountController
from sparsam.errors import Forbidden
from sparsam.objects.kinds import CONFIGMAPS, DEPLOYMENTS, PODS, RESOURCEQUOTAS, SERVICEACCOUNTS
from sparsam.objects.podresources import amounts
from tests.support.controllers import controlled, eventually


def test_what_nobody_counts_stays_and_what_is_not_limited_goes():
    quota = {"spec": {"hard": {"pods": "5", "x.example/y": "2"}}, "status": {"used": {"x.example/y": "1", "cpu": "3"}}}
    assert status_of(quota, amounts({"pods": "2"})) == {
        "hard": {"pods": "5", "x.example/y": "2"},
        "used": {"x.example/y": "1", "pods": "2"},
    }


def test_equal_amounts_may_be_written_differently():
    assert same_amounts(
        {"hard": {"cpu": "1"}, "used": {"cpu": "1000m"}}, {"hard": {"cpu": "1000m"}, "used": {"cpu": "1"}}
    )
    assert not same_amounts({"hard": {}, "used": {}}, {})
    assert not same_amounts({"hard": {"cpu": "1"}}, {"hard": {"cpu": "2"}})


def pod(name: str) -> dict[str, Any]:
    resources = {"requests": {"cpu": "500m"}}
    containers = [{"name": "c", "image": "i", "resources": resources}]
    return {"metadata": {"name": name, "namespace": "default"}, "spec": {"nodeName": "n", "containers": containers}}


def quota(**hard: str) -> dict[str, Any]:
    named = {name.replace("_", "/"): value for name, value in hard.items()}
    return {"metadata": {"name": "q", "namespace": "default"}, "spec": {"hard": named}}


async def used_is(client: Any, **wanted: str) -> None:
    named = {name.replace("_", "/"): value for name, value in wanted.items()}

    async def look() -> bool:
        found = await client.get(RESOURCEQUOTAS, "q", "default")
        return bool((found.get("status") or {}).get("used") == named)

    await eventually(look)


async def test_a_quota_counts_what_is_there_and_is_replenished(tmp_path: Any):
    async with controlled(tmp_path, ServiceAccountController, ResourceQuotaController) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        await client.create(PODS, pod("a"))
        await client.create(RESOURCEQUOTAS, quota(pods="2", cpu="1", count_pods="3"))
        await used_is(client, pods="1", cpu="500m", count_pods="1")
        await client.create(PODS, pod("b"))
        with pytest.raises(Forbidden, match="exceeded quota: q, requested: cpu=500m,pods=1"):
            await client.create(PODS, pod("c"))
        await client.patch(PODS, "a", {"status": {"phase": "Succeeded"}}, namespace="default", subresource="status")
        await used_is(client, pods="1", cpu="500m", count_pods="2")
        await client.create(PODS, pod("c"))
        await used_is(client, pods="2", cpu="1", count_pods="3")
        await client.delete(PODS, "b", "default", grace_seconds=0)
        await used_is(client, pods="1", cpu="500m", count_pods="2")


async def test_any_kind_can_be_counted(tmp_path: Any):
    async with controlled(tmp_path, ServiceAccountController, ResourceQuotaController) as client:
        await eventually(lambda: client.get(CONFIGMAPS, "kube-root-ca.crt", "default"))
        await client.create(
            RESOURCEQUOTAS, {**quota(), "spec": {"hard": {"count/deployments.apps": "1", "configmaps": "2"}}}
        )
        await eventually(lambda: _counted(client))
        await client.create(CONFIGMAPS, {"metadata": {"name": "a", "namespace": "default"}})
        with pytest.raises(Forbidden):
            await client.create(CONFIGMAPS, {"metadata": {"name": "b", "namespace": "default"}})
        await client.delete(CONFIGMAPS, "a", "default")
        await eventually(lambda: _created(client))
        template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
        await client.create(DEPLOYMENTS, {"metadata": {"name": "d", "namespace": "default"}, "spec": spec})
        with pytest.raises(Forbidden, match=r"requested: count/deployments\.apps=1"):
            await client.create(DEPLOYMENTS, {"metadata": {"name": "e", "namespace": "default"}, "spec": spec})


async def _counted(client: Any) -> bool:
    found = await client.get(RESOURCEQUOTAS, "q", "default")
    return (found.get("status") or {}).get("used") == {"count/deployments.apps": "0", "configmaps": "1"}


async def _created(client: Any) -> Any:
    try:
        return await client.create(CONFIGMAPS, {"metadata": {"name": "b", "namespace": "default"}})
    except Forbidden:
        await asyncio.sleep(0.05)
        return None
