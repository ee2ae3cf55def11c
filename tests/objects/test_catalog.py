import random

from sparsam.objects.catalog import BUILT_IN, Catalog, version_rank
from sparsam.objects.kinds import DEPLOYMENTS, Resource


def resource(group: str, version: str, kind: str) -> Resource:
    return Resource(group, version, kind, f"{kind.lower()}s")


def test_versions_are_ranked_as_kubernetes_documents_it():
    names = ["v10", "v2", "v1", "v11beta2", "v10beta3", "v3beta1", "v12alpha1", "v11alpha2", "foo1", "foo10"]
    shuffled = random.Random(1).sample(names, len(names))
    assert sorted(shuffled, key=version_rank, reverse=True) == names


def test_custom_resources_are_found_by_place_and_kind_and_the_preferred_version_comes_first():
    old, new = resource("example.com", "v1beta1", "Widget"), resource("example.com", "v1", "Widget")
    catalog = Catalog([old, new])
    assert catalog.find("example.com", "v1", "widgets") is new
    assert catalog.by_kind("example.com/v1beta1", "Widget") is old
    assert catalog.groups["example.com"] == ("v1", "v1beta1")
    assert catalog.served("example.com", "v1") == [new]
    assert catalog.served("example.com", "v2") == []
    assert BUILT_IN.find("example.com", "v1", "widgets") is None


def test_built_in_resources_keep_their_place():
    catalog = Catalog([resource("apps", "v1", "Deployment")])
    assert catalog.find("apps", "v1", "deployments") is DEPLOYMENTS
    assert catalog.by_kind("apps/v1", "Deployment") is DEPLOYMENTS
    assert catalog.groups["autoscaling"] == ("v2", "v1")
