"""Compiled policies: decisions and mutations without a server."""

import pytest

from sparsam.objects.cel import CostExceeded, EvaluationError
from sparsam.objects.cel.policies import Denial, MutatingPolicy, ValidatingPolicy
from sparsam.objects.kinds import find
from sparsam.objects.objecttypes import type_of
from tests.support.admission import policy

PODS = type_of(find("", "v1", "pods"))
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p", "labels": {"a": "b"}},
    "spec": {"containers": [{"name": "c", "image": "x", "args": ["1"]}]},
}


def values(obj, **more):
    return {"object": obj, "oldObject": None, "request": {}, "namespaceObject": None, "params": None, **more}


def denials(made, obj):
    return ValidatingPolicy(made).judge(values(obj))[0]


def test_a_policy_that_holds_says_nothing():
    assert ValidatingPolicy(policy("object.a == 1")).judge(values({"a": 1})) == ([], [])


def test_each_broken_validation_is_told_with_its_reason():
    made = policy({"expression": "object.a == 1", "reason": "Forbidden", "message": "one"}, "object.b == 2", "true")
    expected = [Denial("one", "Forbidden"), Denial("failed expression: object.b == 2", "Invalid")]
    assert denials(made, {"a": 0, "b": 0}) == expected


def test_variables_are_computed_once_and_only_if_needed():
    variables = [{"name": "x", "expression": "object.a + 1"}, {"name": "never", "expression": "object.none"}]
    made = policy("variables.x == 2 && variables.x + variables.x == 4", variables=variables)
    assert denials(made, {"a": 1}) == []


def test_a_variable_that_fails_is_named():
    made = policy("variables.x == 2", variables=[{"name": "x", "expression": "object.none"}])
    (denial,) = denials(made, {})
    assert denial.message == (
        "expression 'variables.x == 2' resulted in error: composited variable \"x\" fails to evaluate: no such key: none"
    )
    assert denial.reason == ""


def test_variables_have_types():
    made = policy("variables.x == 'a'", variables=[{"name": "x", "expression": "1"}])
    assert "found no matching overload for '_==_' applied to '(int, string)'" in denials(made, {})[0].message


def test_errors_do_not_count_when_the_policy_may_fail():
    made = policy("object.none == 1", "object.a == 1", failurePolicy="Ignore")
    assert [each.message for each in denials(made, {"a": 0})] == ["failed expression: object.a == 1"]


def test_a_policy_that_costs_too_much_is_told_or_refuses():
    endless = "object.l.all(a, object.l.all(b, object.l.all(c, object.l.all(d, a + b + c + d >= 0))))"
    compiled = ValidatingPolicy(policy(endless))
    many = values({"l": list(range(60))})
    with pytest.raises(CostExceeded):
        compiled.judge(many, limit=1000)
    ((denial,), _) = compiled.judge(many)
    assert denial.message.endswith("resulted in error: operation cancelled: actual cost limit exceeded")


def test_variables_and_failures_cost_what_they_take():
    walk = "object.l.all(a, object.l.all(b, a + b >= 0))"
    made = policy(
        "variables.x",
        *["variables.y == 1"] * 3,
        variables=[{"name": "x", "expression": walk}, {"name": "y", "expression": f"{walk} ? object.none : 1"}],
    )
    compiled = ValidatingPolicy(made)
    many = values({"l": list(range(30))})
    compiled.judge(many, limit=40_000)
    with pytest.raises(CostExceeded):
        compiled.judge(many, limit=9_000)
    failing = ValidatingPolicy(policy(*[f"{walk} && object.none"] * 4))
    with pytest.raises(CostExceeded):
        failing.judge(many, limit=15_000)


def mutating(kind, expression, **spec):
    name = "jsonPatch" if kind == "JSONPatch" else "applyConfiguration"
    made = policy(mutations=[{"patchType": kind, name: {"expression": expression}}], **spec)
    return MutatingPolicy(made)


def test_a_configuration_is_merged_and_the_object_kept():
    compiled = mutating(
        "ApplyConfiguration", "Object{metadata: Object.metadata{labels: {'c': object.metadata.labels.a}}}"
    )
    assert compiled.change(0, PODS, values(POD))["metadata"]["labels"] == {"a": "b", "c": "b"}
    assert POD["metadata"]["labels"] == {"a": "b"}


def test_items_are_told_apart_by_their_keys():
    wish = "Object{spec: Object.spec{containers: [Object.spec.containers{name: 'd', image: 'y'}]}}"
    changed = mutating("ApplyConfiguration", wish).change(0, PODS, values(POD))
    assert [each["name"] for each in changed["spec"]["containers"]] == ["c", "d"]


def test_a_patch_whose_test_fails_changes_nothing():
    patch = (
        "[JSONPatch{op: 'test', path: '/metadata/name', value: 'q'}, JSONPatch{op: 'remove', path: '/metadata/labels'}]"
    )
    assert mutating("JSONPatch", patch).change(0, PODS, values(POD)) == POD


@pytest.mark.parametrize(
    ("kind", "expression", "words"),
    [
        (
            "ApplyConfiguration",
            "Object{spec: Object.spec.containers{}}",
            'unexpected type name "Object.spec.containers"',
        ),
        ("ApplyConfiguration", "Object{none: 1}", ".none: field not declared in schema"),
        ("ApplyConfiguration", "Object{spec: Object.spec{nodeName: 1}}", "error applying patch"),
        (
            "ApplyConfiguration",
            "Object{spec: Object.spec{containers: [Object.spec.containers{name: 'c', args: ['2']}]}}",
            "may not mutate atomic arrays, maps or structs: .spec.containers[0].args",
        ),
        ("JSONPatch", "[JSONPatch{op: 'nothing', path: '/a'}]", "JSONPath: "),
        ("JSONPatch", "[JSONPatch{op: 'add', path: '/a', value: b'x'}]", "no JSON conversion of type bytes"),
        ("JSONPatch", "[JSONPatch{op: 'remove', path: '/none'}]", "JSONPath: "),
    ],
)
def test_what_cannot_be_made_is_told(kind, expression, words):
    with pytest.raises(EvaluationError) as error:
        mutating(kind, expression).change(0, PODS, values(POD))
    assert words in str(error.value)


def test_optional_fields_are_left_out():
    wish = "Object{metadata: Object.metadata{?annotations: optional.none(), ?labels: optional.of({'x': 'y'})}}"
    changed = mutating("ApplyConfiguration", wish).change(0, PODS, values(POD))
    assert changed["metadata"] == {"name": "p", "labels": {"a": "b", "x": "y"}}
