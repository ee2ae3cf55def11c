"""Which defaults a schema may have."""

import pytest

from sparsam.objects.structural.defaultrules import default_causes
from sparsam.objects.structural.nodes import parse

KEEP = {"x-kubernetes-preserve-unknown-fields": True}


def causes(**fields):
    found = default_causes(parse({"type": "object", "properties": fields}), "s")
    return [f"{cause.reason.removeprefix('FieldValue')} {cause.field}: {cause.message}" for cause in found]


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ({"type": "integer", "default": "x"},
         ['TypeInvalid s.properties[a].default: Invalid value: "string":  in body must be of type integer: "string"']),
        ({"type": "object", "properties": {"b": {"type": "integer", "minimum": 1}}, "default": {"b": 0}},
         ["Invalid s.properties[a].default.b: Invalid value: 0: b in body should be greater than or equal to 1"]),
        ({"type": "object", "default": {"b": 1}},
         ['Invalid s.properties[a].default: Invalid value: {"b":1}: must not have unknown fields']),
        ({"type": "string", "enum": ["x"], "default": "y"},
         ['NotSupported s.properties[a].default: Unsupported value: "y": supported values: "x"']),
        ({"type": "object", "x-kubernetes-embedded-resource": True, "default": {"kind": "K"}} | KEEP,
         ["Required s.properties[a].default.apiVersion: Required value"]),
        ({"type": "object", "x-kubernetes-embedded-resource": True, "properties": {
            "metadata": {"type": "object", "properties": {"name": {"type": "string", "default": "a/b"}}}}} | KEEP,
         ['Invalid s.properties[a].properties[metadata].properties[name].default: Invalid value: "a/b": must result in valid '
          "metadata: metadata.name: Invalid value: \"a/b\": may not contain '/'"]),
    ],
)  # fmt: skip
def test_a_default_that_does_not_fit_is_refused(field, expected):
    assert causes(a=field) == expected


@pytest.mark.parametrize(
    "field",
    [
        {"type": "integer", "default": 0},
        {"type": "string", "default": ""},
        {"x-kubernetes-int-or-string": True, "default": "50%"},
        {"type": "object", "default": {"b": 1}} | KEEP,
        {
            "type": "array",
            "items": {"type": "object", "properties": {"c": {"type": "string"}}},
            "default": [{"c": "x"}],
        },
        {"type": "object", "additionalProperties": {"type": "string"}, "default": {"b": "x"}},
    ],
)
def test_a_default_that_fits_is_taken(field):
    assert causes(a=field) == []
