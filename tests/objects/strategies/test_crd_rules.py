"""Rules in definitions: their words, and that they compile."""

import pytest

from tests.support.definitions import schema_refusal

TEXT = {"type": "string"}


def refusal(kind=TEXT, **rule):
    schema = {"type": "object", "properties": {"f": kind | {"x-kubernetes-validations": [{"rule": "true"} | rule]}}}
    return [each.replace("s.properties[f].x-kubernetes-validations[0]", "r") for each in schema_refusal(schema)]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({"rule": " "}, "Required r.rule: Required value: rule is not specified"),
        ({"message": " "}, 'Invalid r.message: Invalid value: " ": message must be non-empty if specified'),
        ({"message": "a\nb"}, 'Invalid r.message: Invalid value: "a\\nb": message must not contain line breaks'),
        ({"rule": "true &&\ntrue"}, "Required r.message: Required value: message must be specified if rule contains line breaks"),
        ({"messageExpression": " "},
         "Required r.messageExpression: Required value: messageExpression must be non-empty if specified"),
        ({"reason": "Because"}, 'NotSupported r.reason: Unsupported value: "Because": supported values: "FieldValueDuplicate", '
         '"FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"'),
        ({"fieldPath": ".x"}, 'Invalid r.fieldPath: Invalid value: ".x": fieldPath must be a valid path'),
        ({"optionalOldSelf": True},
         "Invalid r.optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule"),
    ],
)  # fmt: skip
def test_words_that_will_not_do_are_named(rule, expected):
    assert refusal(**rule) == [expected]


def test_a_rule_that_names_what_is_not_there_is_refused():
    kind = {"type": "object", "properties": {"x": {"type": "integer"}}}
    (found,) = refusal(kind, rule="self.z == 100")
    assert found.startswith(
        'Invalid r.rule: Invalid value: {"Rule":"self.z == 100","Message":"","MessageExpression":"",'
    )
    assert "compilation failed: ERROR: <input>:1:5: undefined field 'z'" in found


def test_a_rule_answers_yes_or_no_and_a_message_is_text():
    assert "must evaluate to bool" in refusal(rule="self")[0]
    assert "must evaluate to string" in refusal(messageExpression="1")[0]


def test_old_values_of_items_are_asked_for_in_keyed_lists_only():
    item = {"type": "object", "properties": {"k": TEXT}, "required": ["k"]}
    ruled = item | {"x-kubernetes-validations": [{"rule": "self == oldSelf"}]}
    plain = {"type": "object", "properties": {"l": {"type": "array", "items": ruled}}}
    assert schema_refusal(plain) == [
        'Invalid s.properties[l].items.x-kubernetes-validations[0].rule: Invalid value: "self == oldSelf": oldSelf cannot be '
        "used on the uncorrelatable portion of the schema within spec.validation.openAPIV3Schema.properties[l]"
    ]
    keyed = {"type": "array", "items": ruled, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]}
    assert schema_refusal({"type": "object", "properties": {"l": keyed}}) == []


def test_rules_stand_in_the_structure_only():
    kind = TEXT | {"allOf": [{"x-kubernetes-validations": [{"rule": "true"}]}]}
    assert schema_refusal({"type": "object", "properties": {"f": kind}}) == [
        "Forbidden s.properties[f].allOf[0].x-kubernetes-validations: Forbidden: must be empty to be structural"
    ]


def test_a_schema_that_is_wrong_elsewhere_is_not_compiled():
    assert len(refusal({"type": "text"}, rule="self.z == 1")) == 1
