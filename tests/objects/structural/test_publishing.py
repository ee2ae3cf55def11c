"""Schemas as OpenAPI documents show them."""

import pytest

from sparsam.objects.structural.publishing import publish_list, publish_v2, publish_v3

KIND = ("g.x", "v1", "Thing")
KINDS = [{"group": "g.x", "kind": "Thing", "version": "v1"}]
KEEP = {"x-kubernetes-preserve-unknown-fields": True}
TEXT = {"type": "string"}
META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def schema(**fields):
    return {"type": "object", "description": "A thing", "properties": fields}


def v2(**fields):
    return publish_v2(schema(**fields), KIND)["properties"]


def v3(**fields):
    return publish_v3(schema(**fields), KIND)["properties"]


def test_each_kind_has_what_every_object_has():
    for published, reference in (
        (publish_v2(schema(a=TEXT), KIND), {"$ref": f"#/definitions/{META}"}),
        (publish_v3(schema(a=TEXT), KIND), {"allOf": [{"$ref": f"#/components/schemas/{META}"}]}),
    ):
        assert published["x-kubernetes-group-version-kind"] == KINDS
        assert published["description"] == "A thing"
        assert published["properties"].keys() == {"a", "apiVersion", "kind", "metadata"}
        assert reference.items() <= published["properties"]["metadata"].items()


@pytest.mark.parametrize(
    ("field", "published"),
    [
        (TEXT | {"pattern": "a", "default": "a"}, TEXT | {"pattern": "a", "default": "a"}),
        (TEXT | {"nullable": True}, {}),
        ({"type": "array", "items": TEXT, "nullable": True}, {}),
        (TEXT | {"anyOf": [{"minLength": 1}], "not": {"maxLength": 2}}, TEXT),
        ({"type": "object", "properties": {"b": TEXT}} | KEEP, KEEP),
        ({"type": "array", "items": TEXT} | KEEP, KEEP),
        ({"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
         {"x-kubernetes-int-or-string": True}),
        ({"type": "object", "properties": {"b": TEXT | {"nullable": True}, "c": TEXT}, "required": ["b", "c"]},
         {"type": "object", "properties": {"b": {}, "c": TEXT}, "required": ["c"]}),
        ({"type": "object", "additionalProperties": {"type": "array", "items": TEXT | {"nullable": True}}},
         {"type": "object", "additionalProperties": {"type": "array", "items": {}}}),
        (TEXT | {"example": "x", "externalDocs": {"url": "u"}}, TEXT),
    ],
)  # fmt: skip
def test_version_2_drops_what_it_cannot_say(field, published):
    assert v2(a=field)["a"] == published


def test_version_2_shows_a_kind_that_keeps_unknown_fields_as_any_object():
    published = publish_v2(schema(a=TEXT) | KEEP, KIND)
    assert published == {"type": "object", "x-kubernetes-group-version-kind": KINDS}


def test_version_3_says_all():
    field = TEXT | {"nullable": True, "anyOf": [{"minLength": 1}]}
    assert v3(a=field)["a"] == field
    types = [{"type": "integer"}, {"type": "string"}]
    assert v3(a={"x-kubernetes-int-or-string": True})["a"] == {"x-kubernetes-int-or-string": True, "anyOf": types}
    published = v3(a={"x-kubernetes-int-or-string": True, "anyOf": [{"maximum": 1}]})["a"]
    assert published["allOf"] == [{"anyOf": types}]


def test_an_embedded_resource_has_what_every_object_has():
    embedded = {"type": "object", "x-kubernetes-embedded-resource": True, "properties": {"spec": {"type": "object"}}}
    for published in (v2(a=embedded)["a"], v3(a=embedded)["a"]):
        assert published["properties"].keys() == {"apiVersion", "kind", "metadata", "spec"}
        assert published["required"] == ["kind", "apiVersion"]
    assert v2(a=embedded | KEEP)["a"].keys() == {"x-kubernetes-embedded-resource", *KEEP}


def test_publishing_leaves_the_schema_alone():
    given = schema(a={"type": "object", "x-kubernetes-embedded-resource": True, "required": ["spec"]} | KEEP)
    before = repr(given)
    publish_v2(given, KIND)
    publish_v3(given, KIND)
    assert repr(given) == before


def test_lists_refer_to_their_items():
    published = publish_list("x.g.v1.Thing", "things", KIND, "ThingList", openapi=2)
    assert published["properties"]["items"]["items"] == {"$ref": "#/definitions/x.g.v1.Thing"}
    assert published["x-kubernetes-group-version-kind"][0]["kind"] == "ThingList"
