import pytest

from sparsam.objects import shapeproblems
from sparsam.objects.schema import kind_definition

DEPLOYMENT = kind_definition("apps", "v1", "Deployment")
POD = kind_definition("", "v1", "Pod")
LACKS = "associative list with keys has an element that omits key field"


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"replicaz": 1}, ".spec.replicaz: field not declared in schema"),
        ({"replicas": "1"}, ".spec.replicas: expected numeric (int or float), got string"),
        ({"replicas": True}, ".spec.replicas: expected numeric (int or float), got bool"),
        ({"paused": "yes"}, ".spec.paused: expected boolean, got &{yes}"),
        ({"template": [1, "a"]}, ".spec.template: expected map, got &{[1 a]}"),
        (
            {"template": {"spec": {"containers": {"a": {"b": None}}}}},
            "containers: expected list, got &{map[a:map[b:<nil>]]}",
        ),
        (
            {"selector": {"matchLabels": {"a": 1}}},
            "matchLabels.a: expected string, got &value.valueUnstructured{Value:1}",
        ),
    ],
)
def test_what_does_not_fit_is_named_with_its_path(spec, problem):
    (found,) = shapeproblems.find(DEPLOYMENT, {"spec": spec})
    assert found.endswith(problem)


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"containers": [{}]}, f'.spec.containers: element 0: {LACKS} "name" (and doesn\'t have default value)'),
        ({"containers": [None]}, ".spec.containers: element 0: associative list with keys may not have a null element"),
        ({"containers": ["a"]}, "element 0: associative list with keys may not have non-map elements"),
        ({"containers": [{"name": "a"}, {"name": "a"}]}, '.spec.containers: duplicate entries for key [name="a"]'),
        (
            {"containers": [{"name": "a", "command": [1]}]},
            '.spec.containers[name="a"].command[0]: expected string, got &value.valueUnstructured{Value:1}',
        ),
        (
            {"containers": [{"name": "a", "ports": [{"containerPort": 1}, {"containerPort": 1, "protocol": "TCP"}]}]},
            '.spec.containers[name="a"].ports: duplicate entries for key [containerPort=1,protocol="TCP"]',
        ),
    ],
)
def test_items_need_what_tells_them_apart(spec, problem):
    (found,) = shapeproblems.find(POD, {"spec": spec})
    assert found.endswith(problem)


@pytest.mark.parametrize(
    ("finalizers", "problem"),
    [
        ([{}], "associative list without keys has an element that's a map type"),
        ([[]], "not supported: associative list with lists as elements"),
        ([None], "associative list without keys has an element that's an explicit null"),
        (["a/b", "a/b"], 'duplicate entries for key [="a/b"]'),
    ],
)
def test_sets_have_plain_values_each_once(finalizers, problem):
    (found,) = shapeproblems.find(POD, {"metadata": {"finalizers": finalizers}})
    assert problem in found


def test_what_fits_has_no_problem():
    spec = {"replicas": 1, "selector": None, "template": {"spec": {"imagePullSecrets": [{}], "containers": []}}}
    assert list(shapeproblems.find(DEPLOYMENT, {"spec": spec})) == []
    revision = kind_definition("apps", "v1", "ControllerRevision")
    assert list(shapeproblems.find(revision, {"data": {"any": ["thing"]}, "revision": 1})) == []


def test_all_problems_are_named():
    assert len(list(shapeproblems.find(POD, {"spec": {"a": 1, "nodeName": 2}, "status": 3}))) == 3
