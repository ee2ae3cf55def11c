"""Versions of definitions: what each must have, and where what is wrong is found."""

import pytest

from tests.support.definitions import definition, refusal, version

TEXT = {"type": "string"}
SPEC = {
    "type": "object",
    "properties": {"spec": {"type": "object", "properties": {"a": TEXT, "o": {"type": "object"}}}},
}
COLUMN = {"name": "N", "type": "string", "jsonPath": ".spec.n"}


def one(**more):
    """What is wrong with the only version."""
    return refusal(definition(version(SPEC, **more)))


def column(**more):
    return one(additionalPrinterColumns=[COLUMN | more])


def scale(**more):
    paths = {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"}
    return one(subresources={"scale": paths | more})


def selectable(*paths):
    return one(selectableFields=[{"jsonPath": path} for path in paths])


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (column(name=""), "Required spec.additionalPrinterColumns[0].name: Required value"),
        (column(type="text"), "Invalid spec.additionalPrinterColumns[0].type: Invalid value: \"text\": must be one of "
         "boolean,date,integer,number,string"),
        (column(format="bin"), "Invalid spec.additionalPrinterColumns[0].format: Invalid value: \"bin\": must be one of "
         "byte,date,date-time,double,float,int32,int64,password"),
        (column(jsonPath=""), "Required spec.additionalPrinterColumns[0].JSONPath: Required value"),
        (column(jsonPath="spec"), 'Invalid spec.additionalPrinterColumns[0].JSONPath: Invalid value: "spec": must be a simple '
         "json path starting with ."),
        (scale(specReplicasPath=""), "Required spec.subresources.scale.specReplicasPath: Required value"),
        (scale(specReplicasPath=".status.n"), 'Invalid spec.subresources.scale.specReplicasPath: Invalid value: ".status.n": '
         "should be a json path under .spec"),
        (scale(labelSelectorPath=".x"), 'Invalid spec.subresources.scale.labelSelectorPath: Invalid value: ".x": should be a '
         "json path under either .spec or .status"),
        (selectable(""), "Required spec.selectableFields[0].jsonPath: Required value"),
        (selectable(".spec.x"), 'Invalid spec.selectableFields[0].jsonPath: Invalid value: ".spec.x": is an invalid path: does '
         "not refer to a valid field"),
        (selectable(".spec['a']"), "Invalid spec.selectableFields[0].jsonPath: Invalid value: \".spec['a']\": is an invalid "
         "path: array notation is not allowed"),
        (selectable(".spec.o"), 'Invalid spec.selectableFields[0].jsonPath: Invalid value: ".spec.o": must point to a field of '
         "type string, boolean or integer. Enum string fields and strings with formats are allowed."),
        (selectable(".spec.a", ".spec.a"), 'Duplicate spec.selectableFields[1].jsonPath: Duplicate value: ".spec.a"'),
        (one(deprecationWarning="x"), 'Invalid spec.versions[0].deprecationWarning: Invalid value: "x": can only be set for '
         "deprecated versions"),
        (one(deprecated=True, deprecationWarning="a\x07"), 'Invalid spec.versions[0].deprecationWarning: Invalid value: "a\\a": '
         "must only contain printable UTF-8 characters; non-printable character found at index 1"),
    ],
)  # fmt: skip
def test_a_version_that_will_not_do_is_told_why(found, expected):
    assert found == [expected]


def test_what_versions_do_not_share_is_found_in_each():
    first = version(SPEC, additionalPrinterColumns=[COLUMN | {"name": ""}])
    second = version({"type": "array"}, name="v2", storage=False)
    assert [each.split(":")[0] for each in refusal(definition(first, second))] == [
        "Required spec.versions[0].additionalPrinterColumns[0].name",
        "Required spec.versions[1].schema.openAPIV3Schema.items",
        "Invalid spec.versions[1].schema.openAPIV3Schema.type",
    ]


def test_what_versions_share_is_found_once():
    versions = version({}), version({}, name="v2", storage=False)
    for each in versions:
        each["schema"] = {"openAPIV3Schema": {"type": "string"}}
    found = refusal(definition(*versions))
    assert [each.split(":")[0] for each in found] == ["Invalid spec.validation.openAPIV3Schema.type"]


def test_each_version_has_a_schema_and_one_is_stored():
    found = refusal(definition(version(schema=None) | {"schema": None}, version(name="v1", storage=True)))
    assert [each.split(":")[0] for each in found] == [
        "Required spec.versions[0].schema.openAPIV3Schema",
        "Invalid spec.versions",
        "Invalid spec.versions",
    ]


def test_eight_fields_may_be_selected():
    properties = {f"f{number}": TEXT for number in range(9)}
    fields = [{"jsonPath": f".f{number}"} for number in range(9)]
    found = refusal(definition(version({"type": "object", "properties": properties}, selectableFields=fields)))
    assert found == ["TooMany spec.selectableFields: Too many: 9: must have at most 8 items"]
