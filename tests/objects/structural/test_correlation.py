"""An update is not held against what it leaves as it was (KEP-4008)."""

import pytest

from sparsam.objects.structural import compile_schema

FIELD = {"type": "string", "enum": ["good"]}
STRUCT = {"type": "object", "properties": {"field": FIELD, "other": {"type": "string"}, "key": {"type": "string"}}}
KEYED = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["key"]}
SCHEMA = {
    "type": "object",
    "properties": {
        "field": FIELD,
        "struct": STRUCT,
        "list": {"type": "array", "items": STRUCT} | KEYED,
        "map": {"type": "object", "additionalProperties": STRUCT},
        "plain": {"type": "array", "items": FIELD},
        "set": {"type": "array", "items": FIELD, "x-kubernetes-list-type": "set"},
    },
}
BAD = {"field": "bad"}
OLD = {
    "field": "bad",
    "struct": BAD,
    "list": [BAD | {"key": "a"}, BAD | {"key": "b"}],
    "map": {"a": BAD},
    "plain": ["bad", "worse"],
    "set": ["bad", "worse"],
}


def fields(new, old=OLD):
    return [cause.field for cause in compile_schema(SCHEMA).validate(new, old)]


def test_a_new_object_is_held_to_everything():
    assert len(fields(OLD, None)) == 9


@pytest.mark.parametrize(
    "new",
    [
        OLD,
        OLD | {"metadata": {"labels": {"a": "b"}}},
        OLD | {"struct": BAD | {"other": "x"}},
        OLD | {"list": [BAD | {"key": "b", "other": "x"}, BAD | {"key": "a"}]},
        OLD | {"map": {"a": BAD | {"other": "x"}, "b": {}}},
    ],
)
def test_what_stays_is_forgiven(new):
    assert fields(new) == []


@pytest.mark.parametrize(
    ("new", "expected"),
    [
        ({"field": "worse"}, ["field"]),
        ({"struct": {"field": "worse"}}, ["struct.field"]),
        ({"list": [{"key": "b", "field": "worse"}]}, ["list[0].field"]),
        ({"list": [BAD | {"key": "c"}]}, ["list[0].field"]),
        ({"map": {"b": BAD}}, ["map.b.field"]),
        ({"plain": ["bad", "worse", "good"]}, ["plain[0]", "plain[1]"]),
        ({"set": ["bad", "worse", "good"]}, ["set[0]", "set[1]"]),
    ],
)
def test_what_changes_is_not(new, expected):
    assert fields(new) == expected


def test_true_does_not_stay_one():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    assert len(compile_schema(schema).validate({"a": True}, {"a": 1})) == 1


def test_duplicates_are_forgiven_where_there_were_some():
    schema = {"type": "object", "properties": {"s": SCHEMA["properties"]["set"] | {"items": {"type": "string"}}}}
    structural = compile_schema(schema)
    assert structural.validate({"s": ["a", "a", "b"]}, {"s": ["a", "a"]}) == []
    assert [cause.field for cause in structural.validate({"s": ["a", "a"]}, {"s": ["a"]})] == ["s[1]"]
