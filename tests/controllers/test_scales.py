"""Finding what can be scaled, on a real API server."""

from typing import Any

import pytest

from sparsam.controllers.scales import NoMatch, NoScale, Scales
from sparsam.errors import Conflict
from sparsam.objects.kinds import REPLICASETS
from tests.support.controllers import controlled


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
