"""What holds for every schema and object, tried on random ones and held against another validator."""

import copy

from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from sparsam.objects.structural import compile_schema

NAMES = st.sampled_from("abcd")
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.sampled_from([0.5, 2.0]), st.sampled_from(["", "a", "abc"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)


def scalar_schemas():
    numbers = {"minimum": st.integers(-3, 3), "maximum": st.integers(-3, 3), "multipleOf": st.integers(1, 3)}
    texts = {"minLength": st.integers(0, 2), "maxLength": st.integers(0, 2), "enum": st.just(["a", "b"])}
    return st.one_of(
        st.fixed_dictionaries({"type": st.sampled_from(["integer", "number"])}, optional=numbers),
        st.fixed_dictionaries({"type": st.just("string")}, optional=texts),
        st.just({"type": "boolean"}),
        st.just({"x-kubernetes-int-or-string": True}),
        st.just({"x-kubernetes-preserve-unknown-fields": True}),
    )


def containers(inner):
    keep = {"x-kubernetes-preserve-unknown-fields": st.just(True), "nullable": st.booleans()}
    sizes = {"minItems": st.integers(0, 2), "maxItems": st.integers(0, 2)}
    required = {"required": st.lists(NAMES, max_size=2, unique=True)}
    properties = st.dictionaries(NAMES, inner, min_size=1, max_size=3)
    return st.one_of(
        st.fixed_dictionaries({"type": st.just("array"), "items": inner}, optional=sizes),
        st.fixed_dictionaries({"type": st.just("object"), "properties": properties}, optional=keep | required),
        st.fixed_dictionaries({"type": st.just("object"), "additionalProperties": inner}),
    )


def conditions():
    """Schemas as they stand below `anyOf` and its like."""
    values = st.sampled_from([{"minimum": 1}, {"enum": [1, "a"]}, {"maxLength": 1}])
    return st.fixed_dictionaries(
        {},
        optional={"required": st.lists(NAMES, max_size=2, unique=True), "properties": st.dictionaries(NAMES, values)},
    )


NODES = st.recursive(scalar_schemas(), containers, max_leaves=6)
JUNCTORS = {name: st.lists(conditions(), min_size=1, max_size=2) for name in ("anyOf", "allOf", "oneOf")}
SCHEMAS = st.fixed_dictionaries(
    {"type": st.just("object"), "properties": st.dictionaries(NAMES, NODES, max_size=4)},
    optional=JUNCTORS | {"not": conditions()},
)
OBJECTS = st.dictionaries(NAMES, VALUES, max_size=4)


def in_json_schema(schema):
    """The same schema in the words of JSON Schema, which knows no `nullable`."""
    out = {name: value for name, value in schema.items() if not name.startswith("x-") and name != "nullable"}
    if schema.get("x-kubernetes-int-or-string"):
        out["type"] = ["integer", "string"]
    if schema.get("nullable"):
        out["type"] = [out["type"], "null"]
    if "properties" in out:
        out["properties"] = {name: in_json_schema(each) for name, each in out["properties"].items()}
    for name in ("items", "additionalProperties"):
        if name in out:
            out[name] = in_json_schema(out[name])
    return out


@settings(max_examples=300, deadline=None)
@given(SCHEMAS, OBJECTS)
def test_another_validator_agrees(schema, obj):
    reference = Draft202012Validator(in_json_schema(schema))
    assert (compile_schema(schema).validate(obj) == []) == reference.is_valid(obj)


@settings(max_examples=200, deadline=None)
@given(SCHEMAS, OBJECTS)
def test_pruning_once_is_enough(schema, obj):
    structural = compile_schema(schema)
    unknown = structural.unknown_fields(obj)
    pruned = copy.deepcopy(obj)
    structural.prune(pruned)
    assert (pruned == obj) == (unknown == [])
    assert structural.unknown_fields(pruned) == []


@settings(max_examples=200, deadline=None)
@given(SCHEMAS, OBJECTS)
def test_what_is_valid_stays_so_when_it_is_pruned(schema, obj):
    # A condition may ask for a field that only pruning takes away: of a structural schema none does.
    structural = compile_schema({"type": "object", "properties": schema["properties"]})
    pruned = copy.deepcopy(obj)
    structural.prune(pruned)
    assert structural.validate(obj) != [] or structural.validate(pruned) == []


@settings(max_examples=200, deadline=None)
@given(SCHEMAS, OBJECTS)
def test_defaulting_once_is_enough(schema, obj):
    structural = compile_schema(schema)
    structural.default(obj)
    once = copy.deepcopy(obj)
    structural.default(obj)
    assert obj == once


@settings(max_examples=200, deadline=None)
@given(SCHEMAS, OBJECTS)
def test_what_stays_is_never_held_against_an_update(schema, obj):
    assert compile_schema(schema).validate(obj, copy.deepcopy(obj)) == []


@settings(max_examples=200, deadline=None)
@given(SCHEMAS, OBJECTS, OBJECTS)
def test_an_update_is_held_to_less_than_a_creation(schema, new, old):
    structural = compile_schema(schema)
    strict = structural.validate(new)
    assert all(cause in strict for cause in structural.validate(new, old))


@settings(max_examples=200, deadline=None)
@given(SCHEMAS, OBJECTS, OBJECTS)
def test_applying_to_nothing_gives_what_was_applied(schema, live, config):
    structural = compile_schema(schema)
    structural.prune(live)
    structural.prune(config)
    shape = structural.shape()
    if structural.validate(config) == [] and structural.validate(live) == []:
        assert shape.merge({}, config) == config
        merged = shape.merge(live, config)
        assert shape.merge(merged, config) == merged
