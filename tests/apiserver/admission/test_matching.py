import pytest

from sparsam.apiserver.admission import Attributes
from sparsam.apiserver.admission.matching import (
    carries_namespace,
    equivalents,
    is_exempt,
    is_free_of_namespaces,
    matched_resource,
    object_matches,
    parse_rule,
)
from sparsam.apiserver.authentication import ANONYMOUS
from sparsam.objects.kinds import CONFIGMAPS, HORIZONTALPODAUTOSCALERS, NAMESPACES, NODES, PODS, find
from sparsam.objects.selectors import parse_label_selector

OLD_AUTOSCALERS = find("autoscaling", "v1", "horizontalpodautoscalers")


def asked(resource=PODS, operation="CREATE", subresource="", namespace="default"):
    return Attributes(operation, resource, namespace, "x", ANONYMOUS, subresource)


def rule(*resources, groups=("",), versions=("v1",), operations=("CREATE",), scope="*"):
    return parse_rule(
        {
            "apiGroups": list(groups),
            "apiVersions": list(versions),
            "operations": list(operations),
            "resources": list(resources),
            "scope": scope,
        }
    )


@pytest.mark.parametrize(
    ("resources", "subresource", "expected"),
    [
        (["pods"], "", True),
        (["pods"], "status", False),
        (["pods/status"], "status", True),
        (["pods/status"], "", False),
        (["pods/*"], "exec", True),
        (["pods/*"], "", True),
        (["*"], "", True),
        (["*"], "status", False),
        (["*/*"], "status", True),
        (["*/status"], "status", True),
        (["*/scale"], "status", False),
        (["services", "pods"], "", True),
    ],
)
def test_resources_and_their_parts(resources, subresource, expected):
    assert rule(*resources).covers(asked(subresource=subresource), PODS) is expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"groups": ("*",)}, True),
        ({"groups": ("apps",)}, False),
        ({"versions": ("*",)}, True),
        ({"versions": ("v2",)}, False),
        ({"operations": ("*",)}, True),
        ({"operations": ("DELETE", "CONNECT")}, False),
    ],
)
def test_groups_versions_and_operations(fields, expected):
    assert rule("pods", **fields).covers(asked(), PODS) is expected


@pytest.mark.parametrize(
    ("resource", "namespace", "namespaced", "cluster"),
    [(PODS, "default", True, False), (NODES, "", False, True), (NAMESPACES, "", False, True)],
)
def test_scope(resource, namespace, namespaced, cluster):
    request = asked(resource, namespace=namespace)
    found = [rule("*", scope=scope).covers(request, resource) for scope in ("*", "Namespaced", "Cluster")]
    assert found == [True, namespaced, cluster]


def test_an_own_rule_goes_before_an_equivalent_one():
    old, new = (rule("*", groups=("autoscaling",), versions=(version,)) for version in ("v1", "v2"))
    request = asked(HORIZONTALPODAUTOSCALERS)
    assert matched_resource([old, new], request, equivalent=True) == HORIZONTALPODAUTOSCALERS
    assert matched_resource([old], request, equivalent=True) == OLD_AUTOSCALERS
    assert matched_resource([old], request, equivalent=False) is None
    assert equivalents(PODS) == ()


def test_what_mends_a_broken_webhook_is_exempt():
    group = "admissionregistration.k8s.io"
    kinds = ("mutatingwebhookconfigurations", "validatingadmissionpolicybindings")
    assert all(is_exempt(find(group, "v1", kind)) for kind in kinds)
    assert not is_exempt(CONFIGMAPS)


def test_an_object_is_selected_as_it_is_or_as_it_will_be():
    selector = parse_label_selector("a=b")
    has, has_not = {"metadata": {"labels": {"a": "b"}}}, {"metadata": {}}
    assert object_matches(selector, has, has_not)
    assert object_matches(selector, None, has)
    assert not object_matches(selector, has_not, None)
    assert object_matches(parse_label_selector(""), None, None)


def test_whose_labels_a_namespace_selector_looks_at():
    assert is_free_of_namespaces(asked(NODES, namespace=""))
    assert not is_free_of_namespaces(asked(NAMESPACES, namespace=""))
    assert carries_namespace(asked(NAMESPACES, "UPDATE", namespace=""))
    assert not carries_namespace(asked(NAMESPACES, "DELETE", namespace=""))
    assert not carries_namespace(asked(NAMESPACES, "UPDATE", "status", ""))
