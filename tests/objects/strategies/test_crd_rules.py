"""Rules in definitions: their words, and that they compile."""

import pytest

from tests.support.definitions import definition, schema_refusal, update_refusal, version

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


BUDGET = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
RULES = "x-kubernetes-validations"


def holding(**properties):
    return {"type": "object", "properties": properties}


def items(kind, rule=None, **limits):
    return {"type": "array", "items": kind} | limits | ({RULES: [{"rule": rule}]} if rule else {})


def test_a_rule_that_may_cost_too_much_is_refused():
    # The case of upstream's e2e suite.
    deep = items(items(TEXT, "self.all(s, s == 'string constant')"))
    assert schema_refusal(holding(x=deep)) == [
        f"Forbidden s.properties[x].items.{RULES}[0].rule: Forbidden: estimated rule cost exceeds budget by factor of "
        f"more than 100x {BUDGET}",
        f"Forbidden s.properties[x].items.{RULES}[0].rule: Forbidden: contributed to estimated rule cost total exceeding cost "
        "limit for entire OpenAPIv3 schema",
        f"Forbidden s: Forbidden: {RULES} estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of "
        f"more than 100x {BUDGET}",
    ]  # fmt: skip


def test_limits_of_all_lists_above_make_a_rule_affordable():
    inner = {"rule": "self.all(s, s == 'string constant')", "maxItems": 10}
    within = items(TEXT | {"maxLength": 10}, **inner)
    assert schema_refusal(holding(x=items(within, maxItems=10))) == []
    assert schema_refusal(holding(x=items(within))) != []
    assert schema_refusal(holding(x={"type": "object", "additionalProperties": within, "maxProperties": 10})) == []


def test_a_rule_that_is_dear_only_for_large_objects_is_refused_when_they_come():
    large = items({"type": "integer"}, "self.all(x, self.all(y, x == y))", maxItems=725)
    assert schema_refusal(holding(x=large)) == []


def test_a_message_that_may_cost_too_much_is_refused():
    rule = {"rule": "true", "messageExpression": "self.map(x, self.map(y, x + y)).size() > 1 ? 'a' : 'b'"}
    assert schema_refusal(holding(x=items(TEXT) | {RULES: [rule]}))[0] == (
        f"Forbidden s.properties[x].{RULES}[0].messageExpression: Forbidden: estimated messageExpression cost exceeds budget "
        f"by factor of more than 100x {BUDGET}"
    )  # fmt: skip


def test_what_all_rules_cost_together_is_limited_and_the_dearest_are_named():
    dear = items({"type": "integer"}, "self.all(x, self.all(y, x == y))", maxItems=1000)
    found = schema_refusal(holding(**{f"p{number:02}": dear for number in range(20)}))
    *named, total = found
    assert len(named) == 4
    assert all("contributed to estimated rule cost total" in each for each in named)
    assert total.startswith(
        f"Forbidden s: Forbidden: {RULES} estimated rule cost total for entire OpenAPIv3 schema exceeds"
    )


def test_a_version_keeps_the_costly_rules_that_it_has():
    dear = items({"type": "integer"}, "self.all(x, self.all(y, x == y))", maxItems=2000)
    assert schema_refusal(holding(x=dear)) != []
    assert update_refusal(definition(version(holding(x=dear))), definition(version(holding(x=dear)))) == []
    wider = holding(x=dear, y=TEXT)
    (found,) = update_refusal(definition(version(wider)), definition(version(holding(x=dear))))
    assert "estimated rule cost exceeds budget by factor of" in found
    # Each version has its own history.
    second = version(wider, "v2", storage=False)
    (found,) = update_refusal(definition(version(holding(x=dear)), second), definition(version(holding(x=dear))))
    assert found.startswith(f"Forbidden spec.versions[1].schema.openAPIV3Schema.properties[x].{RULES}[0].rule:")
