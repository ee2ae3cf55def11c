"""Where defaults go, and what nulls mean."""

import copy

import pytest

from sparsam.objects.structural import compile_schema

THREE = {"type": "integer", "default": 3}
NULLABLE = {"type": "integer", "nullable": True}


def schema(**fields):
    return {"type": "object", "properties": fields}


@pytest.mark.parametrize(
    ("properties", "obj", "filled"),
    [
        ({"a": THREE}, {}, {"a": 3}),
        ({"a": THREE}, {"a": 5}, {"a": 5}),
        ({"a": THREE}, {"a": None}, {"a": 3}),
        ({"a": THREE | {"nullable": True}}, {"a": None}, {"a": None}),
        ({"a": NULLABLE}, {"a": None}, {"a": None}),
        ({"a": {"type": "integer"}}, {"a": None}, {}),
        ({}, {"a": None}, {"a": None}),
        ({"s": schema(a=THREE)}, {}, {}),
        ({"s": schema(a=THREE)}, {"s": {}}, {"s": {"a": 3}}),
        ({"s": schema(a=THREE) | {"default": {}}}, {}, {"s": {"a": 3}}),
        ({"s": schema(a=THREE) | {"default": {"a": 1}}}, {}, {"s": {"a": 1}}),
        ({"l": {"type": "array", "items": schema(a=THREE)}}, {"l": [{}, {"a": 1}]}, {"l": [{"a": 3}, {"a": 1}]}),
        ({"l": {"type": "array", "items": THREE}}, {"l": [None, 1]}, {"l": [3, 1]}),
        ({"l": {"type": "array", "items": {"type": "integer"}}}, {"l": [None]}, {"l": [None]}),
        ({"m": {"type": "object", "additionalProperties": schema(a=THREE)}}, {"m": {"k": {}}}, {"m": {"k": {"a": 3}}}),
        ({"m": {"type": "object", "additionalProperties": THREE}}, {"m": {"k": None}}, {"m": {"k": 3}}),
        ({"m": {"type": "object", "additionalProperties": {"type": "integer"}}}, {"m": {"k": None}}, {"m": {}}),
    ],
)
def test_what_is_missing_gets_its_default(properties, obj, filled):
    structural = compile_schema(schema(**properties))
    structural.default(obj)
    assert obj == filled


def test_a_default_is_no_one_else_s():
    structural = compile_schema(schema(s={"type": "array", "items": {"type": "string"}, "default": ["a"]}))
    first, second = {}, {}
    structural.default(first)
    structural.default(second)
    first["s"].append("b")
    assert second == {"s": ["a"]}
    assert structural.schema.properties["s"].default == ["a"]


def test_defaulting_again_changes_nothing():
    structural = compile_schema(schema(s=schema(a=THREE, b=NULLABLE) | {"default": {}}))
    obj = {"s": {"b": None}}
    structural.default(obj)
    once = copy.deepcopy(obj)
    structural.default(obj)
    assert obj == once == {"s": {"a": 3, "b": None}}
