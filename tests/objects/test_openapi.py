import json
import re

import pytest

from sparsam.objects import openapi
from sparsam.objects.catalog import Catalog
from sparsam.objects.customresources import resources_of
from tests.support.customresources import accepted, definition, version


def references(document, prefix):
    return set(re.findall(rf'"\$ref": "{re.escape(prefix)}([^"]+)"', json.dumps(document)))


def test_version_two_defines_everything_it_refers_to():
    document = openapi.openapi_v2()
    assert references(document, "#/definitions/") <= document["definitions"].keys()
    pod = document["definitions"]["io.k8s.api.core.v1.Pod"]
    assert pod["x-kubernetes-group-version-kind"] == [{"group": "", "version": "v1", "kind": "Pod"}]
    containers = document["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["description"].startswith("List of containers belonging to the pod.")


def test_paths_say_which_kind_they_serve():
    paths = openapi.openapi_v2()["paths"]
    create = paths["/apis/apps/v1/namespaces/{namespace}/deployments"]["post"]
    assert create["x-kubernetes-action"] == "post"
    assert create["x-kubernetes-group-version-kind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
    assert create["operationId"] == "createAppsV1NamespacedDeployment" or create["operationId"].endswith("Deployment")
    assert "patch" in paths["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"]
    patch = paths["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"]
    assert "fieldValidation" in {parameter["name"] for parameter in patch["parameters"]}


@pytest.mark.parametrize("group_version", openapi.group_versions())
def test_each_document_of_version_three_is_closed(group_version):
    document = openapi.openapi_v3(group_version)
    assert document["openapi"] == "3.0.0"
    assert document["paths"]
    assert references(document, "#/components/schemas/") <= document["components"]["schemas"].keys()


def test_an_unknown_group_has_no_document():
    with pytest.raises(KeyError):
        openapi.openapi_v3("apis/nope/v1")


def test_custom_resources_have_paths_and_schemas_in_both_versions():
    wanted = definition(version(subresources={"status": {}}), listKind="WidgetSet")
    catalog = Catalog(resources_of(accepted(wanted)))
    base = "/apis/example.com/v1/namespaces/{namespace}/widgets"
    whole = openapi.openapi_v2(catalog)
    assert {base, f"{base}/{{name}}", f"{base}/{{name}}/status", "/apis/example.com/v1/widgets"} <= whole[
        "paths"
    ].keys()
    assert {"com.example.v1.Widget", "com.example.v1.WidgetSet"} <= whole["definitions"].keys()
    part = openapi.openapi_v3("apis/example.com/v1", catalog)
    schemas = part["components"]["schemas"]
    assert schemas["com.example.v1.Widget"]["properties"]["spec"]["properties"]["color"]["default"] == "red"
    listing = part["paths"][base]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert listing == {"$ref": "#/components/schemas/com.example.v1.WidgetSet"}
    assert references(part, "#/components/schemas/") <= schemas.keys()
    assert "apis/example.com/v1" in openapi.group_versions(catalog)
    assert "apis/example.com/v1" not in openapi.group_versions()
