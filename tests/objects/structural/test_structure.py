"""Which schemas are structural, and what is said of those that are not."""

import pytest

from sparsam.objects.structural.nodes import parse
from sparsam.objects.structural.structure import structure_causes

TEXT = {"type": "string"}
EMBEDDED = {"type": "object", "x-kubernetes-embedded-resource": True}
TYPES = [{"type": "integer"}, {"type": "string"}]


def causes(schema):
    found = structure_causes(parse(schema), "s")
    return [f"{cause.reason.removeprefix('FieldValue')} {cause.field}: {cause.message}" for cause in found]


def schema(**fields):
    return {"type": "object", "properties": fields}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "Required s.type: Required value: must not be empty at the root"),
        (TEXT, 'Invalid s.type: Invalid value: "string": must be object at the root'),
        ({"type": "object", "additionalProperties": TEXT},
         "Forbidden s.additionalProperties: Forbidden: must not be used at the root"),
        (schema(a={}), "Required s.properties[a].type: Required value: must not be empty for specified object fields"),
        (schema(a={"type": "array", "items": {}}),
         "Required s.properties[a].items.type: Required value: must not be empty for specified array items"),
        (schema(a={"type": "array"}), "Required s.properties[a].items: Required value: must be specified"),
        (schema(kind={"type": "integer"}), 'Invalid s.properties[kind].type: Invalid value: "integer": must be string'),
        (schema(metadata=schema(labels={"type": "object"})),
         "Forbidden s.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but "
         "metadata is implicitly specified"),
        (schema(a=EMBEDDED),
         "Required s.properties[a].properties: Required value: must not be empty if x-kubernetes-embedded-resource is true "
         "without x-kubernetes-preserve-unknown-fields"),
        (schema(a={"x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}),
         "Required s.properties[a].type: Required value: must be object if x-kubernetes-embedded-resource is true"),
        (schema(a={"x-kubernetes-int-or-string": True, "x-kubernetes-preserve-unknown-fields": True}),
         "Invalid s.properties[a].x-kubernetes-preserve-unknown-fields: Invalid value: true: must be false if "
         "x-kubernetes-int-or-string is true"),
        (schema(a=TEXT | {"anyOf": [TEXT]}),
         "Forbidden s.properties[a].anyOf[0].type: Forbidden: must be empty to be structural"),
        (schema(a=TEXT | {"not": {"default": "x"}}),
         "Forbidden s.properties[a].not.default: Forbidden: must be undefined to be structural"),
        (schema(a=TEXT | {"allOf": [{"nullable": True}]}),
         "Forbidden s.properties[a].allOf[0].nullable: Forbidden: must be false to be structural"),
        (schema() | {"oneOf": [{"properties": {"metadata": {}}}], "properties": {"metadata": {"type": "object"}}},
         "Forbidden s.oneOf[0].properties[metadata]: Forbidden: must not be specified in a nested context"),
        (schema() | {"anyOf": [{"properties": {"a": {"minimum": 1}}}]},
         "Required s.properties[a]: Required value: because it is defined in s.anyOf[0].properties[a]"),
        (schema(a=TEXT) | {"not": {"properties": {"a": {"items": {}}}}},
         "Required s.properties[a].items: Required value: because it is defined in s.not.properties[a].items"),
        (schema(a=TEXT | {"pattern": "("}),
         'Invalid s.properties[a].pattern: Invalid value: "(": must be a valid regular expression, but isn\'t: '
         "error parsing regexp: missing closing ): `(`"),
    ],
)  # fmt: skip
def test_a_schema_that_is_not_structural_is_told_why(given, expected):
    assert causes(given) == [expected]


@pytest.mark.parametrize(
    "given",
    [
        schema(),
        schema(metadata={"type": "object", "properties": {"name": {"type": "string", "maxLength": 5}}}),
        schema(a={"x-kubernetes-int-or-string": True, "anyOf": TYPES}),
        schema(a={"x-kubernetes-int-or-string": True, "allOf": [{"anyOf": TYPES}, {"maximum": 5}]}),
        schema(a={"x-kubernetes-preserve-unknown-fields": True}),
        schema(a=EMBEDDED | {"properties": {"spec": {"type": "object"}}}),
        schema(a=TEXT, b=TEXT)
        | {"oneOf": [{"required": ["a"]}, {"required": ["b"], "properties": {"b": {"minLength": 1}}}]},
        schema(metadata={"type": "object"}, spec=schema(metadata=schema(x=TEXT))),
    ],
)
def test_a_structural_schema_is_accepted(given):
    assert causes(given) == []


def test_causes_come_sorted():
    fields = [each.split(":")[0] for each in causes(schema(b={}, a={}, c={"type": "array"}))]
    assert fields == [
        "Required s.properties[a].type",
        "Required s.properties[b].type",
        "Required s.properties[c].items",
    ]
