"""Types from schemas, and property names as expressions spell them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.objects import schema
from sparsam.objects.cel import DOUBLE, DYN, INT, STRING, TIMESTAMP, CelError, compile_expression
from sparsam.objects.cel.conversion import escape, unescape
from sparsam.objects.cel.schemas import of_definition, of_kind, of_schema


def test_structural_schemas_become_types():
    found = of_schema(
        {
            "type": "object",
            "properties": {
                "n": {"type": "integer"},
                "d": {"type": "number"},
                "at": {"type": "string", "format": "date-time"},
                "either": {"x-kubernetes-int-or-string": True},
                "list": {"type": "array", "items": {"type": "string"}},
                "map": {"type": "object", "additionalProperties": {"type": "integer"}},
                "x-y": {"type": "string"},
                "namespace": {"type": "string"},
                "any": {"x-kubernetes-preserve-unknown-fields": True},
                "1a": {"type": "string"},
            },
        },
        is_root=True,
    )
    fields = found.fields
    assert (fields["n"], fields["d"], fields["at"], fields["either"]) == (INT, DOUBLE, TIMESTAMP, DYN)
    assert (str(fields["list"]), str(fields["map"])) == ("list(string)", "map(string, int)")
    assert fields["x__dash__y"] == fields["__namespace__"] == STRING
    assert {"any", "1a", "x-y"}.isdisjoint(fields)
    assert sorted(fields["metadata"].fields) == ["generateName", "name"]


def test_own_kinds_have_types_that_may_contain_themselves():
    pod = of_kind("", "v1", "Pod")
    assert compile_expression("object.spec.containers.all(c, c.ports.exists(p, p.containerPort > 80))", {"object": pod})
    with pytest.raises(CelError, match="undefined field 'nothing'"):
        compile_expression("object.spec.nothing == 1", {"object": pod})
    crd = of_kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
    path = "object.spec.versions[0].schema.openAPIV3Schema.properties['a'].properties['b'].type"
    assert compile_expression(f"{path} == 'x'", {"object": crd})
    assert of_kind("example.com", "v1", "Thing") is None


def test_every_definition_becomes_a_type():
    for name in schema.definition_names():
        for kind in of_definition(name, "X").fields.values():
            assert str(kind)


@pytest.mark.parametrize(
    ("name", "escaped"),
    [
        ("a", "a"),
        ("a-b", "a__dash__b"),
        ("a.b/c", "a__dot__b__slash__c"),
        ("a__b", "a__underscores__b"),
        ("namespace", "__namespace__"),
        ("int", "int"),
        ("1a", None),
        ("ä", None),
        ("", None),
    ],
)
def test_names_are_escaped_as_documented(name, escaped):
    assert escape(name) == escaped


@given(st.from_regex(r"[a-z_./-][a-z0-9_./-]{0,8}", fullmatch=True))
def test_escaped_names_can_be_read_back(name):
    assert unescape(escape(name)) == name
