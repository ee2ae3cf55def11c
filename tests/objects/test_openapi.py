import json
import re

import pytest

from sparsam.objects import openapi


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
