"""Rules in the expression language: the steps of Kubernetes' end-to-end tests, and what its documentation promises."""

import copy

import pytest

from sparsam.objects.structural import compile_schema
from sparsam.objects.structural.defaultrules import default_causes
from sparsam.objects.structural.nodes import parse

TEXT = {"type": "string"}
KEYED = {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["key"]}
PLACES = ["field", "struct.field", "list[0].field", "list[1].field", "map[foo].field", "map[bar].field"]


def ruled(schema, rule, **more):
    return schema | {"x-kubernetes-validations": [{"rule": rule} | more]}


def schema(**fields):
    return {"type": "object", "properties": fields}


def everywhere(rule, **more):
    """A schema with the rule on a field, on one of a struct, of a keyed list's items and of a map's values."""
    field = ruled(TEXT, rule, **more)
    struct = schema(field=field, otherField=TEXT, key=TEXT)
    values = {"type": "object", "additionalProperties": struct}
    return schema(field=field, struct=struct, list=KEYED | {"items": struct}, map=values)


def instance(text):
    return {
        "field": text,
        "struct": {"field": text},
        "list": [{"key": "foo", "field": text}, {"key": "bar", "field": text}],
        "map": {"foo": {"field": text}, "bar": {"field": text}},
    }


def causes(given, obj, old=None):
    found = compile_schema(given).validate(obj, old)
    return [f"{cause.reason.removeprefix('FieldValue')} {cause.field}: {cause.message}" for cause in found]


def fields(given, obj, old=None):
    return [cause.field for cause in compile_schema(given).validate(obj, old)]


SUM = schema(spec=ruled(schema(x={"type": "integer"}, y={"type": "integer"}), "self.x + self.y > 0"))


def test_an_object_that_keeps_the_rules_is_accepted():
    assert causes(SUM, {"spec": {"x": 1, "y": 0}}) == []


def test_a_broken_rule_is_named():
    expected = 'Invalid spec: Invalid value: "object": failed rule: self.x + self.y > 0'
    assert causes(SUM, {"spec": {"x": 0, "y": 0}}) == [expected]


def test_a_rule_that_finds_no_value_is_told():
    expected = 'Invalid spec: Invalid value: "object": no such key: y evaluating rule: self.x + self.y > 0'
    assert causes(SUM, {"spec": {"x": 0}}) == [expected]


def test_rules_are_not_asked_of_an_object_that_is_invalid():
    assert causes(SUM, {"spec": {"x": "a"}}) == [
        'TypeInvalid spec.x: Invalid value: "string": spec.x in body must be of type integer: "string"',
        "Invalid <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; "
        "correct the existing errors to complete validation",
    ]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"message": " no good "}, 'Invalid a: Invalid value: "string": no good'),
        ({"messageExpression": "'not ' + self"}, 'Invalid a: Invalid value: "string": not x'),
        ({"messageExpression": "self + '\\n'.substring(1)", "message": "m"}, 'Invalid a: Invalid value: "string": x'),
        ({"messageExpression": "self.substring(9)", "message": "m"}, 'Invalid a: Invalid value: "string": m'),
        ({"messageExpression": "' '"}, 'Invalid a: Invalid value: "string": failed rule: self != \'x\''),
        ({"reason": "FieldValueForbidden", "message": "m"}, "Forbidden a: Forbidden: m"),
        ({"reason": "FieldValueRequired", "message": "m"}, "Required a: Required value: m"),
        ({"reason": "FieldValueDuplicate", "message": "m"}, 'Duplicate a: Duplicate value: "string"'),
    ],
)  # fmt: skip
def test_messages_and_reasons_are_the_rule_s(more, expected):
    assert causes(schema(a=ruled(TEXT, "self != 'x'", **more)), {"a": "x"}) == [expected]


def test_a_rule_may_blame_a_field_below():
    given = schema(s=ruled(schema(a=TEXT, m={"type": "object", "additionalProperties": TEXT}), "false", fieldPath=".a"))
    assert fields(given, {"s": {}}) == ["s.a"]
    at_root = ruled(given, "self.metadata.name == 'n'", fieldPath=".s.m['x/y']")
    assert fields(at_root, {"metadata": {"name": "m"}}) == ["s.m[x/y]"]
    assert fields(ruled(schema(), "false"), {}) == ["<nil>"]


def test_nulls_are_not_asked():
    assert causes(schema(a=ruled(TEXT | {"nullable": True}, "false")), {"a": None}) == []


def test_texts_with_a_format_are_what_the_format_says():
    given = schema(t=ruled(TEXT | {"format": "date-time"}, "self > timestamp('2020-01-01T00:00:00Z')"))
    assert causes(given, {"t": "2021-01-01T00:00:00Z"}) == []
    assert len(causes(given, {"t": "2019-01-01T00:00:00Z"})) == 1


def test_a_transition_rule_is_asked_of_updates_only():
    given = everywhere("self == oldSelf")
    assert fields(given, instance("a")) == []
    assert fields(given, instance("a"), instance("a")) == []
    assert fields(given, instance("b"), instance("a")) == PLACES


def test_an_update_is_not_held_to_rules_on_what_it_leaves_alone():
    old, new = instance("notfoo"), instance("notfoo")
    for struct in (new["struct"], *new["list"], *new["map"].values()):
        struct["otherField"] = "x"
    assert fields(everywhere("self == 'foo'"), new, old) == []


def test_an_update_is_held_to_rules_on_what_it_changes():
    assert fields(everywhere("self == 'foo'"), instance("notfoo"), instance("foo")) == PLACES


@pytest.mark.parametrize("more", [{}, {"x-kubernetes-list-type": "set"}])
def test_items_without_a_history_are_forgiven_with_their_list_only(more):
    given = schema(a={"type": "array", "items": ruled(TEXT, "self != 'foo'")} | more)
    old = {"a": ["foo", "bar"]}
    assert fields(given, copy.deepcopy(old), old) == []
    assert fields(given, {"a": ["foo", "bar", "baz"]}, old) == ["a[0]"]


def test_transition_rules_are_never_forgiven():
    old = instance("foo")
    assert fields(everywhere("self != oldSelf"), copy.deepcopy(old), old) == PLACES


def test_an_optional_old_value_is_asked_for_new_values_too():
    given = everywhere("!oldSelf.hasValue() || self != oldSelf.value()", optionalOldSelf=True)
    assert fields(given, instance("foo")) == []
    assert fields(given, instance("foo"), instance("foo")) == PLACES
    assert fields(given, instance("new"), instance("foo")) == []


def test_a_rule_that_costs_too_much_ends_the_validation():
    rule = "self.all(a, self.all(b, self.all(c, a + b + c >= 0)))"
    given = schema(l=ruled({"type": "array", "items": {"type": "integer"}}, rule), z=ruled(TEXT, "false"))
    found = causes(given, {"l": list(range(300)), "z": "x"})
    assert len(found) == 1
    assert "no further validation rules will be run due to call cost exceeds limit for rule: " in found[0]


def test_rules_of_one_object_share_a_budget():
    rule = "self.all(a, self.all(b, a + b >= 0))"
    given = schema(l=ruled({"type": "array", "items": {"type": "integer"}}, rule))
    many = schema(**{f"l{number}": given["properties"]["l"] for number in range(40)})
    found = causes(many, {f"l{number}": list(range(250)) for number in range(40)})
    assert len(found) == 1
    assert "running out of cost budget" in found[0]


def test_a_default_must_keep_the_rules():
    found = default_causes(parse(schema(a=ruled(TEXT | {"default": "x"}, "self != 'x'"))), "s")
    assert [cause.field for cause in found] == ["s.properties[a].default"]
