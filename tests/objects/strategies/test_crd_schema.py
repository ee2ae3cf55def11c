"""Schemas of definitions: what OpenAPI and Kubernetes' extensions of it allow."""

import pytest

from tests.support.definitions import schema_refusal

TEXT = {"type": "string"}
ITEMS = {"type": "object", "properties": {"k": TEXT, "o": {"type": "object"}}, "required": ["k", "o"]}
KEYED = {"type": "array", "items": ITEMS, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}
STATUS = {"subresources": {"status": {}}}


def schema(**fields):
    return {"type": "object", "properties": fields}


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ({"type": "text"}, 'NotSupported {}.type: Unsupported value: "text": supported values: "array", "boolean", "integer", '
         '"number", "object", "string"'),
        (TEXT | {"$ref": "#/x"}, "Forbidden {}.$ref: Forbidden: $ref is not supported"),
        (TEXT | {"id": "x"}, "Forbidden {}.id: Forbidden: id is not supported"),
        ({"type": "array", "items": [TEXT]}, "Forbidden {}.items: Forbidden: items must be a schema object and not an array"),
        ({"type": "array", "items": TEXT, "uniqueItems": True},
         "Forbidden {}.uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"),
        ({"type": "object", "properties": {"a": TEXT}, "additionalProperties": TEXT},
         "Forbidden {}.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"),
        (TEXT | {"x-kubernetes-map-type": "atomic"},
         'Invalid {}.type: Invalid value: "string": must be object if x-kubernetes-map-type is specified'),
        ({"type": "object", "x-kubernetes-map-type": "x"},
         'NotSupported {}.x-kubernetes-map-type: Unsupported value: "x": supported values: "atomic", "granular"'),
        (TEXT | {"x-kubernetes-list-type": "atomic"},
         'Invalid {}.type: Invalid value: "string": must be array if x-kubernetes-list-type is specified'),
        ({"type": "array", "items": TEXT, "x-kubernetes-list-type": "x"},
         'NotSupported {}.x-kubernetes-list-type: Unsupported value: "x": supported values: "atomic", "set", "map"'),
        ({"type": "array", "items": ITEMS, "x-kubernetes-list-type": "set"},
         "Invalid {}.items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with "
         "x-kubernetes-list-type=set"),
        ({"type": "array", "items": TEXT | {"nullable": True}, "x-kubernetes-list-type": "set"},
         "Forbidden {}.items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is set"),
        ({"type": "array", "items": ITEMS, "x-kubernetes-list-map-keys": ["k"]},
         "Required {}.x-kubernetes-list-type: Required value: must be map if x-kubernetes-list-map-keys is non-empty"),
        ({"type": "array", "items": ITEMS, "x-kubernetes-list-type": "map"},
         "Required {}.x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map"),
        (KEYED | {"items": TEXT},
         'Invalid {}.items.type: Invalid value: "string": must be object if parent array\'s x-kubernetes-list-type is map'),
        (KEYED | {"x-kubernetes-list-map-keys": ["x"]},
         'Invalid {}.x-kubernetes-list-map-keys: Invalid value: ["x"]: entries must all be names of item properties'),
        (KEYED | {"x-kubernetes-list-map-keys": ["k", "k"]},
         'Invalid {}.x-kubernetes-list-map-keys: Invalid value: ["k","k"]: must not contain duplicate entries'),
        (KEYED | {"x-kubernetes-list-map-keys": ["o"]},
         'Invalid {}.items.properties[o].type: Invalid value: "object": must be a scalar type if parent array\'s '
         "x-kubernetes-list-type is map"),
        (KEYED | {"items": ITEMS | {"required": ["o"]}},
         "Required {}.items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must "
         "have a default or be a required property"),
        (KEYED | {"items": {"type": "object", "properties": {"k": TEXT | {"nullable": True}}, "required": ["k"]}},
         "Forbidden {}.items.properties[k].nullable: Forbidden: this property is in x-kubernetes-list-map-keys, so it cannot be "
         "nullable"),
        (TEXT | {"x-kubernetes-preserve-unknown-fields": False},
         "Invalid {}.x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined"),
        (TEXT | {"default": 1},
         'TypeInvalid {}.default: Invalid value: "integer":  in body must be of type string: "integer"'),
    ],
)  # fmt: skip
def test_a_word_that_may_not_stand_there_is_named(field, expected):
    assert schema_refusal(schema(f=field)) == [expected.replace("{}", "s.properties[f]")]


@pytest.mark.parametrize(
    "field",
    [
        KEYED,
        KEYED | {"items": {"type": "object", "properties": {"k": TEXT | {"default": "x"}}}},
        {
            "type": "array",
            "items": {"type": "object", "x-kubernetes-map-type": "atomic"},
            "x-kubernetes-list-type": "set",
        },
        {"type": "object", "additionalProperties": True, "properties": {"a": TEXT}},
        {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}], "default": "50%"},
        {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True},
    ],
)
def test_other_words_may(field):
    assert schema_refusal(schema(f=field)) == []


def test_metadata_at_the_top_has_no_defaults():
    metadata = {"type": "object", "properties": {"name": TEXT | {"default": "n"}}}
    assert schema_refusal(schema(metadata=metadata)) == [
        "Forbidden s.properties[metadata].properties[name].default: Forbidden: must not be set in top-level metadata"
    ]


def test_the_whole_is_never_null():
    assert schema_refusal(schema() | {"nullable": True}) == [
        "Forbidden s.nullable: Forbidden: nullable cannot be true at the root"
    ]


def test_beside_a_status_the_root_says_little():
    assert schema_refusal(schema(a=TEXT) | {"required": ["a"], "description": "x"}, **STATUS) == []
    found = schema_refusal(schema(a=TEXT) | {"oneOf": [{"required": ["a"]}]}, **STATUS)
    assert len(found) == 1
    assert "fields are allowed at the root of the schema if the status subresource is enabled" in found[0]
