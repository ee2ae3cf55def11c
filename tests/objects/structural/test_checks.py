"""What values must fulfil, in the words of a Kubernetes API server."""

import pytest

from sparsam.objects.structural import Uncompilable, compile_schema


def schema(**fields):
    return {"type": "object", "properties": fields}


def causes(properties, obj, old=None, **root):
    found = compile_schema(schema(**properties) | root).validate(obj, old)
    return [f"{cause.reason.removeprefix('FieldValue')} {cause.field}: {cause.message}" for cause in found]


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        ({"type": "integer"}, "x", 'TypeInvalid a: Invalid value: "string": a in body must be of type integer: "string"'),
        ({"type": "string"}, 1, 'TypeInvalid a: Invalid value: "integer": a in body must be of type string: "integer"'),
        ({"type": "string"}, True, 'TypeInvalid a: Invalid value: "boolean": a in body must be of type string: "boolean"'),
        ({"type": "string"}, None, 'TypeInvalid a: Invalid value: "null": a in body must be of type string: "null"'),
        ({"type": "array", "items": {}}, {}, 'TypeInvalid a: Invalid value: "object": a in body must be of type array: "object"'),
        ({"x-kubernetes-int-or-string": True}, 1.5,
         'TypeInvalid a: Invalid value: "number": a in body must be of type integer,string: "number"'),
        ({"type": "string", "maxLength": 2}, "abc", "TooLong a: Too long: may not be more than 2 bytes"),
        ({"type": "string", "minLength": 2}, "a", 'Invalid a: Invalid value: "a": a in body should be at least 2 chars long'),
        ({"type": "string", "pattern": "^b+$"}, "a", "Invalid a: Invalid value: \"a\": a in body should match '^b+$'"),
        ({"type": "string", "pattern": "^b+$"}, "b\n", "Invalid a: Invalid value: \"b\\n\": a in body should match '^b+$'"),
        ({"type": "string", "format": "date"}, "x", 'TypeInvalid a: Invalid value: "x": a in body must be of type date: "x"'),
        ({"type": "integer", "maximum": 5}, 6, "Invalid a: Invalid value: 6: a in body should be less than or equal to 5"),
        ({"type": "integer", "minimum": 5}, 4, "Invalid a: Invalid value: 4: a in body should be greater than or equal to 5"),
        ({"type": "integer", "format": "int32"}, 2**31,
         'Invalid <nil>: Invalid value: "": Checked value must be of type integer with format int32 in a'),
        ({"type": "number", "format": "float"}, 1e39,
         'Invalid <nil>: Invalid value: "": Checked value must be of type number with format float in a'),
        ({"x-kubernetes-int-or-string": True, "format": "date"}, "x",
         'TypeInvalid a: Invalid value: "x": a in body must be of type date: "x"'),
        ({"type": "number", "maximum": 1.5, "exclusiveMaximum": True}, 1.5,
         "Invalid a: Invalid value: 1.5: a in body should be less than 1.5"),
        ({"type": "number", "minimum": 0, "exclusiveMinimum": True}, 0,
         "Invalid a: Invalid value: 0: a in body should be greater than 0"),
        ({"type": "integer", "multipleOf": 2}, 3, "Invalid a: Invalid value: 3: a in body should be a multiple of 2"),
        ({"type": "number", "multipleOf": 0.1}, 0.25, "Invalid a: Invalid value: 0.25: a in body should be a multiple of 0.1"),
        ({"type": "string", "enum": ["b", "c"]}, "a", 'NotSupported a: Unsupported value: "a": supported values: "b", "c"'),
        ({"type": "integer", "enum": [1, 2]}, 3, 'NotSupported a: Unsupported value: 3: supported values: "1", "2"'),
        ({"type": "array", "items": {}, "minItems": 2}, [1], "Invalid a: Invalid value: 1: a in body should have at least 2 items"),
        ({"type": "array", "items": {}, "maxItems": 1}, [1, 2], "TooMany a: Too many: 2: must have at most 1 item"),
        ({"type": "object", "minProperties": 1}, {}, "Invalid a: Invalid value: 0: a in body should have at least 1 properties"),
        ({"type": "object", "maxProperties": 1}, {"b": 1, "c": 2}, "TooMany a: Too many: 2: must have at most 1 item"),
        ({"type": "object", "required": ["b"]}, {}, "Required a.b: Required value"),
        ({"type": "array", "x-kubernetes-list-type": "set", "items": {}}, [1, 2, 1, 1], "Duplicate a[2]: Duplicate value: 1"),
        ({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {}},
         [{"k": "x"}, {"k": "x", "v": 1}], 'Duplicate a[1]: Duplicate value: {"k":"x"}'),
        ({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {}},
         [{}, None], "Duplicate a[1]: Duplicate value: {}"),
        ({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {}},
         [1], "Invalid a[0]: Invalid value: 1: must be an object for an array of list-type map"),
    ],
)  # fmt: skip
def test_a_broken_rule_is_told_as_upstream_tells_it(rule, value, expected):
    assert causes({"a": rule}, {"a": value}) == [expected]


@pytest.mark.parametrize(
    ("rule", "value"),
    [
        ({"type": "integer"}, 2.0),
        ({"type": "number"}, 2),
        ({"type": "string", "nullable": True}, None),
        ({"x-kubernetes-int-or-string": True}, "50%"),
        ({"x-kubernetes-int-or-string": True}, 5),
        ({"x-kubernetes-preserve-unknown-fields": True}, [{"a": None}]),
        ({"type": "string", "maxLength": 2}, "äö"),
        ({"type": "string", "pattern": "b"}, "abc"),
        ({"type": "string", "format": "unheard-of"}, "x"),
        ({"type": "integer", "format": "int32"}, -(2**31)),
        ({"type": "integer", "format": "int64"}, 2**40),
        ({"type": "array", "items": {}, "format": "date"}, []),
        ({"type": "number", "multipleOf": 0.1}, 0.3),
        ({"type": "number", "enum": [1]}, 1.0),
        ({"type": "string", "nullable": True, "enum": ["a", None]}, None),
        ({"type": "object", "additionalProperties": {"type": "string"}}, {"b": "c"}),
        ({"type": "array", "x-kubernetes-list-type": "set", "items": {}}, [1, "1", True, [1]]),
    ],
)
def test_what_keeps_the_rules_is_accepted(rule, value):
    assert causes({"a": rule}, {"a": value}) == []


def test_a_fraction_where_a_whole_number_is_due_is_told_twice():
    assert causes({"a": {"type": "integer"}}, {"a": 1.5}) == [
        'TypeInvalid a: Invalid value: "number": a in body must be of type integer: "number"',
        'Invalid <nil>: Invalid value: "": Checked value must be of type integer (default format) in a',
    ]


@pytest.mark.parametrize(
    ("junctors", "obj", "expected"),
    [
        ({"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, {},
         ['Invalid <nil>: Invalid value: "": "" must validate at least one schema (anyOf)', "Required a: Required value"]),
        ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {},
         ['Invalid <nil>: Invalid value: "": "" must validate one and only one schema (oneOf). Found none valid',
          "Required a: Required value"]),
        ({"anyOf": [{"required": ["b"]}, {"properties": {"a": {"minimum": 2}}}]}, {"a": 1},
         ['Invalid <nil>: Invalid value: "": "" must validate at least one schema (anyOf)',
          "Invalid a: Invalid value: 1: a in body should be greater than or equal to 2"]),
        ({"oneOf": [{"required": ["b"]}, {"properties": {"a": {"minimum": 2}}}, {"required": ["c"]}]}, {"a": 1},
         ['Invalid <nil>: Invalid value: "": "" must validate one and only one schema (oneOf). Found none valid',
          "Invalid a: Invalid value: 1: a in body should be greater than or equal to 2"]),
        ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1, "b": 1},
         ['Invalid <nil>: Invalid value: "": "" must validate one and only one schema (oneOf). Found 2 valid alternatives']),
        ({"allOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1},
         ["Required b: Required value", 'Invalid <nil>: Invalid value: "": "" must validate all the schemas (allOf)']),
        ({"allOf": [{"required": ["a"]}]}, {},
         ["Required a: Required value",
          'Invalid <nil>: Invalid value: "": "" must validate all the schemas (allOf). None validated']),
        ({"not": {"required": ["a"]}}, {"a": 1}, ['Invalid <nil>: Invalid value: "": "" must not validate the schema (not)']),
    ],
)  # fmt: skip
def test_conditions_name_the_schemas_that_fail(junctors, obj, expected):
    assert causes({"a": {"type": "integer"}, "b": {"type": "integer"}}, obj, **junctors) == expected


def test_the_alternative_that_says_most_of_a_value_is_blamed():
    far = {"items": {"properties": {"n": {"minimum": 2}}}}
    several = {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}}
    found = causes({"l": several | {"anyOf": [{"minItems": 2}, far]}}, {"l": [{"n": 1}]})
    assert found[1:] == ["Invalid l[0].n: Invalid value: 1: l[0].n in body should be greater than or equal to 2"]


def test_paths_lead_through_lists_and_maps():
    inner = {"type": "object", "properties": {"n": {"type": "integer"}}}
    properties = {
        "l": {"type": "array", "items": inner},
        "m": {"type": "object", "additionalProperties": inner},
    }
    found = causes(properties, {"l": [{}, {"n": "x"}], "m": {"k": {"n": "x"}}})
    assert [each.split(":")[0] for each in found] == ["TypeInvalid l[1].n", "TypeInvalid m.k.n"]


def test_an_embedded_resource_has_a_kind_a_version_and_proper_metadata():
    embedded = {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}
    found = causes({"o": embedded}, {"o": {"kind": "A b", "metadata": {"name": "a/b", "labels": {"k": "-"}}}})
    assert [each.split(":")[0] for each in found] == [
        "Required o.apiVersion",
        "Invalid o.kind",
        "Invalid o.metadata.name",
        "Invalid o.metadata.labels",
    ]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"$ref": "#/x"}, "OpenAPIV3Schema '$ref' is not supported"),
        ({"items": [{}]}, "OpenAPIV3Schema 'items' must be a schema, but is an array"),
        ({"type": "string", "pattern": "a("}, "error parsing regexp: missing closing ): `a(`"),
        ({"type": "string", "pattern": "(?=a)"}, "error parsing regexp: invalid or unsupported Perl syntax: `(?=`"),
    ],
)
def test_what_cannot_be_compiled_is_refused(given, words):
    with pytest.raises(Uncompilable) as refusal:
        compile_schema(schema(a=given))
    assert str(refusal.value) == words


def test_a_pattern_takes_no_time_to_speak_of_whatever_the_text():
    assert causes({"a": {"type": "string", "pattern": "^(a+)+$"}}, {"a": "a" * 100_000 + "b"}) != []
