"""How server-side apply sees custom resources: who owns what, and how lists and maps merge."""

import pytest

from sparsam.objects.structural import compile_schema

TEXT = {"type": "string"}
ITEM = {"type": "object", "properties": {"name": TEXT, "port": {"type": "integer", "default": 80}, "v": TEXT}}
KEYED = {
    "type": "array",
    "items": ITEM,
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["name", "port"],
}


def shape(**fields):
    return compile_schema({"type": "object", "properties": {"spec": {"type": "object", "properties": fields}}}).shape()


def members(field, value):
    return (shape(f=field).members({"spec": {"f": value}}) or {})["f:spec"]["f:f"]


@pytest.mark.parametrize(
    ("field", "value", "owned"),
    [
        (TEXT, "x", {}),
        ({"type": "array", "items": TEXT}, ["a"], {}),
        ({"type": "array", "items": TEXT, "x-kubernetes-list-type": "atomic"}, ["a"], {}),
        ({"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"}, ["a"], {'v:"a"': {}}),
        (KEYED, [{"name": "a", "v": "x"}],
         {'k:{"name":"a","port":80}': {".": {}, "f:name": {}, "f:v": {}}}),
        ({"type": "object", "properties": {"a": TEXT}}, {"a": "x"}, {"f:a": {}}),
        ({"type": "object", "properties": {"a": TEXT}, "x-kubernetes-map-type": "atomic"}, {"a": "x"}, {}),
        ({"type": "object", "additionalProperties": TEXT}, {"a": "x"}, {"f:a": {}}),
        ({"type": "object", "additionalProperties": TEXT, "x-kubernetes-map-type": "atomic"}, {"a": "x"}, {}),
        ({"type": "object", "x-kubernetes-preserve-unknown-fields": True}, {"a": {"b": 1}},
         {"f:a": {".": {}, "f:b": {}}}),
        ({"type": "object", "properties": {"a": TEXT}, "x-kubernetes-preserve-unknown-fields": True},
         {"a": "x", "b": {"c": 1}}, {"f:a": {}, "f:b": {".": {}, "f:c": {}}}),
        ({"x-kubernetes-int-or-string": True}, 5, {}),
    ],
)  # fmt: skip
def test_what_belongs_to_who_applies_it(field, value, owned):
    assert members(field, value) == owned


def test_what_names_an_object_is_nobody_s():
    obj = {"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "n", "labels": {"a": "b"}}, "spec": {"f": "x"}}
    assert shape(f=TEXT).members(obj) == {"f:metadata": {"f:labels": {"f:a": {}}}, "f:spec": {"f:f": {}}}


def test_items_of_keyed_lists_are_merged_one_by_one():
    live = {"spec": {"l": [{"name": "a", "port": 80, "v": "x"}]}}
    config = {"spec": {"l": [{"name": "a", "v": "y"}, {"name": "b"}]}}
    merged = shape(l=KEYED).merge(live, config)
    assert merged["spec"]["l"] == [{"name": "a", "port": 80, "v": "y"}, {"name": "b"}]


def test_atomic_lists_are_replaced():
    merged = shape(l={"type": "array", "items": TEXT}).merge({"spec": {"l": ["a"]}}, {"spec": {"l": ["b"]}})
    assert merged["spec"]["l"] == ["b"]


@pytest.mark.parametrize("field", [KEYED, {"type": "array", "items": TEXT, "x-kubernetes-list-type": "set"}, ITEM,
                                   {"type": "object", "additionalProperties": ITEM},
                                   {"type": "object", "x-kubernetes-embedded-resource": True,
                                    "properties": {"metadata": {"type": "object"}}}])  # fmt: skip
@pytest.mark.parametrize(
    "value", ["x", 1, None, [], {}, ["x"], [[]], {"a": "x"}, {"metadata": {"labels": []}}, {"name": {}}]
)
def test_what_is_of_another_type_is_one_field_and_harms_nothing(field, value):
    spec = shape(f=field)
    good = {"spec": {"f": [] if field.get("type") == "array" else {}}}
    for old, new in ((good, {"spec": {"f": value}}), ({"spec": {"f": value}}, good), ({"spec": value}, good)):
        spec.compare(old, new)
        spec.members(new)
        spec.everything(new)
        merged = spec.merge(old, new)
        spec.prune(merged, spec.members(new) or {})
