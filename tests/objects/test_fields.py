from sparsam.errors import Cause
from sparsam.objects import fields


def test_a_cause_prints_strings_quoted_and_numbers_bare():
    assert fields.invalid("a", 'x"y', "bad").message == 'Invalid value: "x\\"y": bad'
    assert fields.invalid("a", -4, "bad").message == "Invalid value: -4: bad"
    assert fields.invalid("a", True, "bad").message == "Invalid value: true: bad"
    assert fields.invalid("a", None, "bad").message == "Invalid value: null: bad"
    assert fields.invalid("a", {"k": "<v>"}, "bad").message == 'Invalid value: {"k":"\\u003cv\\u003e"}: bad'


def test_control_characters_are_escaped_as_go_does():
    assert fields.quote("a\tb\x01\u00e4\u200b") == '"a\\tb\\x01\u00e4\\u200b"'


def test_supported_values_are_listed_in_the_order_given():
    cause = fields.not_supported("spec.type", "X", ["B", "A"])
    assert cause == Cause("FieldValueNotSupported", 'Unsupported value: "X": supported values: "B", "A"', "spec.type")


def test_an_invalid_object_names_one_cause_bare_and_several_in_brackets():
    one = fields.invalid_object("apps", "Deployment", "v", [fields.required("spec.selector")])
    assert one.message == 'Deployment.apps "v" is invalid: spec.selector: Required value'
    assert one.details == {
        "name": "v",
        "group": "apps",
        "kind": "Deployment",
        "causes": [{"reason": "FieldValueRequired", "message": "Required value", "field": "spec.selector"}],
    }
    two = fields.invalid_object("", "Pod", "p", [fields.required("a"), fields.required("b")])
    assert two.message == 'Pod "p" is invalid: [a: Required value, b: Required value]'


def test_equal_causes_stand_once_in_the_message_and_all_in_the_details():
    error = fields.invalid_object("", "Pod", "p", [fields.required("a"), fields.required("a")])
    assert error.message == 'Pod "p" is invalid: a: Required value'
    assert error.details is not None
    assert len(error.details["causes"]) == 2
