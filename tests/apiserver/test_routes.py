import pytest

from sparsam.apiserver.routes import parse
from sparsam.objects.catalog import BUILT_IN


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/namespaces/d/pods/p", ("", "pods", "d", "p", "")),
        ("/api/v1/namespaces/d/pods", ("", "pods", "d", "", "")),
        ("/api/v1/pods", ("", "pods", "", "", "")),
        ("/api/v1/namespaces", ("", "namespaces", "", "", "")),
        ("/api/v1/namespaces/d", ("", "namespaces", "", "d", "")),
        ("/api/v1/namespaces/d/status", ("", "namespaces", "", "d", "status")),
        ("/api/v1/namespaces/d/finalize", ("", "namespaces", "", "d", "finalize")),
        ("/apis/apps/v1/namespaces/d/deployments/x/scale", ("apps", "deployments", "d", "x", "scale")),
        ("/api/v1/nodes/n/status", ("", "nodes", "", "n", "status")),
        ("/api/v1/namespaces/d/pods/", ("", "pods", "d", "", "")),
    ],
)
def test_a_path_names_group_resource_namespace_name_and_subresource(path, expected):
    route = parse(path, BUILT_IN)
    assert (route.group, route.plural, route.namespace, route.name, route.subresource) == expected
    assert route.resource is not None


def test_what_follows_a_subresource_is_kept_for_proxies():
    assert parse("/api/v1/namespaces/d/pods/p/proxy/a/b", BUILT_IN).rest == "a/b"


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/api", "/api/v1", "/apis", "/apis/apps", "/apis/apps/v1", "/api/v1/"]
)
def test_paths_above_resources_are_no_routes(path):
    assert parse(path, BUILT_IN) is None


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/unknowns",
        "/apis/apps/v2/deployments",
        "/api/v1/namespaces/d/nodes",
        "/api/v1/pods/p",
    ],
)
def test_nothing_is_served_at_other_places(path):
    assert parse(path, BUILT_IN).resource is None


@pytest.mark.parametrize(
    ("method", "path", "watch", "verb"),
    [
        ("GET", "/api/v1/pods", False, "list"),
        ("GET", "/api/v1/pods", True, "watch"),
        ("GET", "/api/v1/namespaces/d/pods/p", False, "get"),
        ("DELETE", "/api/v1/namespaces/d/pods", False, "deletecollection"),
        ("DELETE", "/api/v1/namespaces/d/pods/p", False, "delete"),
        ("PATCH", "/api/v1/namespaces/d/pods/p", False, "patch"),
        ("OPTIONS", "/api/v1/namespaces/d/pods/p", False, ""),
    ],
)
def test_method_and_path_make_the_verb(method, path, watch, verb):
    assert parse(path, BUILT_IN).verb(method, watch=watch) == verb


def test_a_request_on_many_objects_that_selects_one_is_about_that_name():
    pods = parse("/api/v1/namespaces/d/pods", BUILT_IN)
    query = {"fieldSelector": "metadata.name=p", "labelSelector": "a=b"}
    watched = pods.action("GET", watch=True, query=query)
    assert (watched.verb, watched.name) == ("watch", "p")
    assert (watched.field_selector, watched.label_selector) == ("metadata.name=p", "a=b")
    created = pods.action("POST", watch=False, query=query)
    assert (created.verb, created.name, created.field_selector) == ("create", "", "")
