"""Finding what can be scaled, on a real API server."""

from typing import Any

import pytest

from sparsam.controllers.scales import NoMatch, NoScale, Scales
from sparsam.errors import Conflict
from sparsam.objects.kinds import REPLICASETS
from tests.support.controllers import controlled
from tests.support.customresources import definition, established, version, widget


async def test_a_scale_is_found_by_kind_read_and_changed(tmp_path: Any):
    async with controlled(tmp_path) as client:
        scales = Scales(client)
        resource = await scales.resource("apps", "ReplicaSet")
        assert resource is REPLICASETS
        template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        spec = {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template}
        await client.create(resource, {"metadata": {"name": "r", "namespace": "default"}, "spec": spec})
        scale = await scales.get(resource, "r", "default")
        await scales.resize(resource, scale, 3)
        assert (await scales.get(resource, "r", "default"))["spec"]["replicas"] == 3
        with pytest.raises(Conflict):
            await scales.resize(resource, scale, 4)


async def test_kinds_that_are_not_there_or_have_no_scale_are_told_apart(tmp_path: Any):
    async with controlled(tmp_path) as client:
        scales = Scales(client)
        with pytest.raises(NoScale, match=r"daemonsets\.apps does not implement the scale subresource"):
            await scales.resource("apps", "DaemonSet")
        for group in ("none.example", "apps", ""):
            with pytest.raises(NoMatch, match=f'no matches for kind "Thing" in group "{group}"'):
                await scales.resource(group, "Thing")


async def test_custom_resources_are_scaled_where_their_definition_says(tmp_path: Any):
    parts = {"scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}}
    async with controlled(tmp_path) as client:
        await established(client, definition(version(subresources=parts)))
        scales = Scales(client)
        resource = await scales.resource("example.com", "Widget")
        await client.create(resource, widget("w", replicas=1))
        await scales.resize(resource, await scales.get(resource, "w", "default"), 4)
        assert (await client.get(resource, "w", "default"))["spec"]["replicas"] == 4
