import pytest

from sparsam.errors import BadRequest, InternalError
from sparsam.objects.customresources import resources_of
from sparsam.objects.objecttypes import PrinterColumn, ScalePaths, type_of
from sparsam.objects.scalars import Mismatch
from tests.support.customresources import OPEN, SCHEMA, accepted, definition, version, widget

SCALE = {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n", "labelSelectorPath": ".status.sel"}


def only(**fields):
    (resource,) = resources_of(accepted(definition(version(**fields))))
    return resource


def test_there_are_none_before_names_are_accepted():
    assert resources_of(definition()) == ()
    assert resources_of(definition() | {"status": {"conditions": None}}) == ()


def test_each_served_version_is_a_resource_and_the_preferred_comes_first():
    versions = [version("v1beta1", storage=False), version("v1"), version("v1alpha1", storage=False, served=False)]
    first, second = resources_of(accepted(definition(*versions, shortNames=["w"], listKind="Widgets")))
    assert (first.version, second.version) == ("v1", "v1beta1")
    assert (first.list_kind, first.short_names, first.singular_name) == ("Widgets", ("w",), "widget")
    assert first.storage_prefix == "/example.com/widgets/"
    assert set(first.type.views) == {"example.com/v1", "example.com/v1beta1", "example.com/v1alpha1"}
    assert first.type.views["example.com/v1beta1"] is second
    assert {first.type.stored_as, second.type.stored_as} == {"example.com/v1"}


def test_what_a_definition_says_of_a_version_is_read_off_it():
    column = {"name": "N", "type": "integer", "jsonPath": ".spec.n"}
    parts = {"status": {}, "scale": SCALE}
    resource = only(additionalPrinterColumns=[column], subresources=parts, selectableFields=[{"jsonPath": ".spec.a.b"}])
    assert resource.subresources == ("status", "scale")
    assert resource.type.printer_columns == (PrinterColumn("N", "integer", ".spec.n"),)
    assert resource.type.selectable_fields == ("spec.a.b",)
    assert resource.type.scale_paths == ScalePaths(("spec", "n"), ("status", "n"), ("status", "sel"))
    assert [each.name for each in only().type.printer_columns] == ["Age"]
    assert only(deprecated=True).deprecation_warning == "example.com/v1 Widget is deprecated"
    assert only(deprecated=True, deprecationWarning="gone soon").deprecation_warning == "gone soon"


def test_the_same_text_makes_equal_resources_and_another_schema_others():
    first = accepted(definition())
    again = accepted(definition())
    again["status"]["conditions"].append({"type": "Other", "status": "False"})
    assert resources_of(first)[0] == resources_of(again)[0]
    assert resources_of(accepted(definition(version(schema=OPEN))))[0] != resources_of(first)[0]


def test_a_definition_that_goes_creates_nothing_more():
    going = accepted(definition())
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    (resource,) = resources_of(going)
    assert resource.terminating
    assert "create" not in resource.verbs
    assert "delete" in resource.verbs


def test_reading_drops_what_the_schema_does_not_know_and_leaves_the_body_as_it_was():
    kind = type_of(only())
    body = widget("w", foo=1, size=2)
    body["metadata"]["bar"] = 1
    obj, has_unknown = kind.read(body)
    assert has_unknown
    assert obj["spec"] == {"size": 2}
    assert obj["metadata"] == {"name": "w", "namespace": "default"}
    assert kind.unknown_fields(body) == ["metadata.bar", "spec.foo"]
    with pytest.raises(Mismatch):
        kind.read(widget("w") | {"metadata": {"labels": 1}})
    assert "metadata: Invalid value" in kind.type_error(widget("w") | {"metadata": {"labels": 1}})


def test_the_number_of_replicas_is_held_to_its_bounds():
    kind = type_of(only(schema=OPEN, subresources={"scale": SCALE}))
    bad = widget("w", n=-1) | {"status": {"n": 1 << 31}}
    assert [(each.field, each.message.partition(": ")[2]) for each in kind.strategy.validate(bad)] == [
        (".spec.n", "-1: should be a non-negative integer"),
        (".status.n", "2147483648: should be less than or equal to 2147483647"),
    ]


def test_no_strategic_merge_patch():
    with pytest.raises(BadRequest):
        type_of(only(schema=SCHEMA)).merge(widget("w"), {})


def test_finalizers_that_might_be_anybodys_are_warned_of_when_they_are_new():
    warnings = type_of(only()).strategy.warnings
    old, new = widget("w"), widget("w")
    old["metadata"]["finalizers"] = ["old"]
    new["metadata"]["finalizers"] = ["old", "plain", "example.com/fine", "orphan"]
    assert warnings(new, old) == [
        'metadata.finalizers: "plain": prefer a domain-qualified finalizer name including a path (/) to avoid accidental '
        "conflicts with other finalizer writers"
    ]
    assert len(warnings(new, None)) == 2


def test_a_schema_that_an_older_server_let_pass_is_named():
    kind = type_of(only(schema={"type": "object", "$ref": "#/definitions/x"}))
    with pytest.raises(InternalError, match=r"the schema of example\.com/v1, Kind=Widget is not structural"):
        kind.read(widget("w"))
