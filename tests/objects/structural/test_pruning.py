"""Which fields a schema knows, and what becomes of the others."""

import copy

import pytest

from sparsam.objects.structural import compile_schema

TEXT = {"type": "string"}
KEEP = {"x-kubernetes-preserve-unknown-fields": True}


def schema(**fields):
    return {"type": "object", "properties": fields}


@pytest.mark.parametrize(
    ("properties", "obj", "unknown", "left"),
    [
        ({}, {"kind": "K", "apiVersion": "g/v1", "metadata": {"name": "n"}}, [],
         {"kind": "K", "apiVersion": "g/v1", "metadata": {"name": "n"}}),
        ({"a": TEXT}, {"a": "x", "b": 1}, ["b"], {"a": "x"}),
        ({"spec": schema(a=TEXT)}, {"spec": {"a": "x", "b": {"c": 1}}}, ["spec.b"], {"spec": {"a": "x"}}),
        ({"spec": {"type": "object"}}, {"spec": {"a": {"b": 1}}}, ["spec.a"], {"spec": {}}),
        ({"l": {"type": "array", "items": schema(a=TEXT)}}, {"l": [{"a": "x"}, {"b": 1}]}, ["l[1].b"],
         {"l": [{"a": "x"}, {}]}),
        ({"m": {"type": "object", "additionalProperties": schema(a=TEXT)}}, {"m": {"k": {"a": "x", "b": 1}}},
         ["m.k.b"], {"m": {"k": {"a": "x"}}}),
        ({"m": {"type": "object", "additionalProperties": True}}, {"m": {"k": {"a": "x"}, "s": 1}}, ["m.k.a"],
         {"m": {"k": {}, "s": 1}}),
        ({"f": {"type": "object"} | KEEP}, {"f": {"a": {"b": [1]}}}, [], {"f": {"a": {"b": [1]}}}),
        ({"f": schema(a=schema(b=TEXT)) | KEEP}, {"f": {"a": {"b": "x", "c": 1}, "d": 2}}, ["f.a.c"],
         {"f": {"a": {"b": "x"}, "d": 2}}),
        ({"f": {"type": "array", "items": KEEP}}, {"f": [{"a": 1}, [{"b": 2}]]}, [], {"f": [{"a": 1}, [{"b": 2}]]}),
        ({"f": KEEP}, {"f": [{"a": 1}]}, [], {"f": [{"a": 1}]}),
        ({"spec": schema(metadata=TEXT)}, {"spec": {"kind": "x", "metadata": "y"}}, ["spec.kind"],
         {"spec": {"metadata": "y"}}),
    ],
)  # fmt: skip
def test_what_the_schema_does_not_know_is_named_and_taken_away(properties, obj, unknown, left):
    structural = compile_schema(schema(**properties))
    given = copy.deepcopy(obj)
    assert structural.unknown_fields(given) == unknown
    assert given == obj
    structural.prune(given)
    assert given == left


def test_an_embedded_resource_keeps_what_every_object_has():
    embedded = schema(a=TEXT) | {"x-kubernetes-embedded-resource": True}
    structural = compile_schema(schema(o=embedded))
    obj = {"o": {"kind": "K", "apiVersion": "v1", "metadata": {"name": "n", "nick": "x"}, "a": "x", "b": 1}}
    assert structural.unknown_fields(obj) == ["o.b", "o.metadata.nick"]
    structural.prune(obj)
    assert obj == {"o": {"kind": "K", "apiVersion": "v1", "metadata": {"name": "n"}, "a": "x"}}


def test_metadata_of_a_wrong_type_is_left_for_validation():
    structural = compile_schema(schema(o={"type": "object", "x-kubernetes-embedded-resource": True} | KEEP))
    obj = {"o": {"kind": "K", "apiVersion": "v1", "metadata": {"labels": 1}}}
    structural.prune(obj)
    assert obj["o"]["metadata"] == {"labels": 1}
    assert [cause.field for cause in structural.validate(obj)] == ["o.metadata"]
