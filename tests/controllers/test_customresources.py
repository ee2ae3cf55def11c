"""Controllers that look at every kind look at custom resources too, from the moment that they are defined."""

from typing import Any

import pytest

from sparsam.controllers.garbage import GarbageCollector
from sparsam.controllers.namespace import NamespaceController
from sparsam.controllers.resourcequota import ResourceQuotaController
from sparsam.errors import Forbidden, NotFound
from sparsam.objects.customresources import condition_is_true
from sparsam.objects.kinds import CONFIGMAPS, CUSTOMRESOURCEDEFINITIONS, NAMESPACES, RESOURCEQUOTAS
from tests.support.controllers import controlled, eventually
from tests.support.customresources import definition, established, widget, widgets

WIDGETS = widgets()


async def gone(client: Any, resource: Any, name: str, namespace: str = "default") -> None:
    async def is_gone() -> bool:
        try:
            await client.get(resource, name, namespace)
        except NotFound:
            return True
        return False

    await eventually(is_gone, f"{name} is gone")


def owned_by(owner: dict[str, Any], obj: dict[str, Any], **more: Any) -> dict[str, Any]:
    metadata = owner["metadata"]
    reference = {"apiVersion": owner["apiVersion"], "kind": owner["kind"], "name": metadata["name"]}
    obj["metadata"]["ownerReferences"] = [reference | {"uid": metadata["uid"], **more}]
    return obj


async def test_dependents_of_a_custom_resource_go_with_it_and_its_own_with_their_owner(tmp_path: Any):
    async with controlled(tmp_path, GarbageCollector) as client:
        await established(client, definition())
        owner = await client.create(WIDGETS, widget("owner"))
        await client.create(WIDGETS, owned_by(owner, widget("dependent")))
        built_in = {"kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "default"}}
        await client.create(CONFIGMAPS, owned_by(owner, built_in))
        await client.delete(WIDGETS, "owner", "default", propagation="Background")
        await gone(client, WIDGETS, "dependent")
        await gone(client, CONFIGMAPS, "settings")


async def test_a_foreground_deletion_waits_and_an_orphan_is_left(tmp_path: Any):
    async with controlled(tmp_path, GarbageCollector) as client:
        await established(client, definition())
        owner = await client.create(WIDGETS, widget("owner"))
        held = owned_by(owner, widget("held"), blockOwnerDeletion=True)
        held["metadata"]["finalizers"] = ["example.com/wait"]
        await client.create(WIDGETS, held)
        await client.delete(WIDGETS, "owner", "default", propagation="Foreground")

        async def is_deleting() -> bool:
            return "deletionTimestamp" in (await client.get(WIDGETS, "held", "default"))["metadata"]

        await eventually(is_deleting)
        assert (await client.get(WIDGETS, "owner", "default"))["metadata"]["finalizers"] == ["foregroundDeletion"]
        await client.patch(WIDGETS, "held", {"metadata": {"finalizers": None}}, namespace="default")
        await gone(client, WIDGETS, "owner")

        owner = await client.create(WIDGETS, widget("parent"))
        await client.create(WIDGETS, owned_by(owner, widget("child")))
        await client.delete(WIDGETS, "parent", "default", propagation="Orphan")
        await gone(client, WIDGETS, "parent")
        assert "ownerReferences" not in (await client.get(WIDGETS, "child", "default"))["metadata"]


async def test_dependents_outlive_a_definition_that_goes_as_long_as_their_owner_is_held(tmp_path: Any):
    async with controlled(tmp_path, GarbageCollector) as client:
        await established(client, definition())
        held = widget("owner")
        held["metadata"]["finalizers"] = ["example.com/wait"]
        owner = await client.create(WIDGETS, held)
        built_in = {"kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "default"}}
        await client.create(CONFIGMAPS, owned_by(owner, built_in))
        await client.delete(CUSTOMRESOURCEDEFINITIONS, "widgets.example.com")

        async def is_emptying() -> bool:
            return "deletionTimestamp" in (await client.get(WIDGETS, "owner", "default"))["metadata"]

        await eventually(is_emptying)
        # What the collector makes of the definition's end it has made of this one, which came later, too.
        gone_owner = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "no", "uid": "none"}}
        await client.create(
            CONFIGMAPS,
            owned_by(gone_owner, {"kind": "ConfigMap", "metadata": {"name": "late", "namespace": "default"}}),
        )
        await gone(client, CONFIGMAPS, "late")
        assert (await client.get(CONFIGMAPS, "settings", "default"))["metadata"]["name"] == "settings"
        await client.patch(WIDGETS, "owner", {"metadata": {"finalizers": None}}, namespace="default")
        await gone(client, CUSTOMRESOURCEDEFINITIONS, "widgets.example.com", "")
        await gone(client, CONFIGMAPS, "settings")


async def test_dependents_outlive_a_definition_that_loses_its_conditions(tmp_path: Any):
    async with controlled(tmp_path, GarbageCollector) as client:
        await established(client, definition())
        owner = await client.create(WIDGETS, widget("owner"))
        built_in = {"kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "default"}}
        await client.create(CONFIGMAPS, owned_by(owner, built_in))
        name = "widgets.example.com"
        for _ in range(5):
            nothing = {"status": {"conditions": []}}
            await client.patch(CUSTOMRESOURCEDEFINITIONS, name, nothing, subresource="status")

            async def is_back() -> bool:
                return condition_is_true(await client.get(CUSTOMRESOURCEDEFINITIONS, name), "Established")

            await eventually(is_back)
        gone_owner = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "no", "uid": "none"}}
        late = {"kind": "ConfigMap", "metadata": {"name": "late", "namespace": "default"}}
        await client.create(CONFIGMAPS, owned_by(gone_owner, late))
        await gone(client, CONFIGMAPS, "late")
        assert (await client.get(CONFIGMAPS, "settings", "default"))["metadata"]["name"] == "settings"


async def test_a_namespace_is_emptied_of_custom_resources(tmp_path: Any):
    async with controlled(tmp_path, NamespaceController) as client:
        await established(client, definition())
        await client.create(NAMESPACES, {"kind": "Namespace", "metadata": {"name": "n"}})
        await client.create(WIDGETS, widget("w", namespace="n"))
        await client.delete(NAMESPACES, "n")
        await gone(client, NAMESPACES, "n", "")
        assert (await client.list(WIDGETS, "n"))["items"] == []


async def test_a_quota_counts_custom_resources_that_are_defined_after_it(tmp_path: Any):
    async with controlled(tmp_path, ResourceQuotaController) as client:
        metadata, hard = {"name": "q", "namespace": "default"}, {"count/widgets.example.com": "1"}
        await client.create(RESOURCEQUOTAS, {"kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}})
        await established(client, definition())

        async def used() -> str:
            quota = await client.get(RESOURCEQUOTAS, "q", "default")
            return str((quota.get("status", {}).get("used") or {}).get("count/widgets.example.com", ""))

        async def is_used(amount: str) -> bool:
            return await used() == amount

        await eventually(lambda: is_used("0"))
        await client.create(WIDGETS, widget("one"))
        assert await used() == "1"
        with pytest.raises(Forbidden, match=r"exceeded quota: q, requested: count/widgets\.example\.com=1"):
            await client.create(WIDGETS, widget("two"))
        await client.delete(WIDGETS, "one", "default")
        await eventually(lambda: is_used("0"))


async def test_a_definition_that_goes_and_comes_again_is_followed_again(tmp_path: Any):
    async with controlled(tmp_path, GarbageCollector) as client:
        for _ in range(2):
            await established(client, definition())
            owner = await client.create(WIDGETS, widget("owner"))
            await client.create(WIDGETS, owned_by(owner, widget("dependent")))
            await client.delete(WIDGETS, "owner", "default", propagation="Background")
            await gone(client, WIDGETS, "dependent")
            await client.delete(CUSTOMRESOURCEDEFINITIONS, "widgets.example.com")
            await gone(client, CUSTOMRESOURCEDEFINITIONS, "widgets.example.com", "")
