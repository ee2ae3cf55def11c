import json

import pytest

from sparsam.apiserver.discovery import paths, subresource_verbs
from sparsam.apiserver.http import Request
from sparsam.objects.catalog import BUILT_IN
from sparsam.objects.kinds import CONFIGMAPS, DEPLOYMENTS, PODS, RESOURCES

AGGREGATED = b"application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


async def ask(path, accept=b"application/json", **headers):
    pairs = [(b"accept", accept), *((key.encode(), value.encode()) for key, value in headers.items())]
    scope = {"type": "http", "method": "GET", "path": path, "headers": pairs, "query_string": b""}
    return await paths(BUILT_IN, "192.0.2.1:6443")[path](Request(scope, None))


async def test_every_resource_is_listed_once():
    for group, version in {(each.group, each.version) for each in RESOURCES}:
        path = f"/apis/{group}/{version}" if group else f"/api/{version}"
        listed = json.loads((await ask(path)).body)["resources"]
        names = [each["name"] for each in listed if "/" not in each["name"]]
        assert names == [each.plural for each in RESOURCES if (each.group, each.version) == (group, version)]


async def test_scale_is_of_another_group_than_its_parent():
    listed = json.loads((await ask("/apis/apps/v1")).body)["resources"]
    scale = next(each for each in listed if each["name"] == "deployments/scale")
    assert (scale["group"], scale["version"], scale["kind"]) == ("autoscaling", "v1", "Scale")


async def test_the_newer_version_is_preferred():
    group = json.loads((await ask("/apis/autoscaling")).body)
    assert group["preferredVersion"]["version"] == "v2"


async def test_the_aggregated_form_says_everything_at_once_and_is_cached_by_tag():
    reply = await ask("/apis", AGGREGATED)
    document = json.loads(reply.body)
    assert document["kind"] == "APIGroupDiscoveryList"
    assert "apps" in [item["metadata"]["name"] for item in document["items"]]
    tag = dict(reply.headers)["etag"]
    assert (await ask("/apis", AGGREGATED, **{"if-none-match": tag})).status == 304


@pytest.mark.parametrize(
    ("resource", "subresource", "verbs"),
    [
        (PODS, "log", ("get",)),
        (PODS, "binding", ("create",)),
        (DEPLOYMENTS, "scale", ("get", "patch", "update")),
        (CONFIGMAPS, "status", ()),
    ],
)
def test_subresources_have_verbs_of_their_own(resource, subresource, verbs):
    assert subresource_verbs(resource, subresource) == verbs
