"""Definitions of custom resources: names, conversion, approval, and what may not change."""

import pytest

from tests.support.definitions import STRATEGY, created, definition, refusal, update_refusal, version

CLIENT = {"service": {"name": "s", "namespace": "n"}}
NOT_WEBHOOK = "should not be set when strategy is not set to Webhook"


def converted(**webhook):
    return {"strategy": "Webhook", "webhook": webhook}


def test_names_follow_from_the_kind():
    spec = created(definition())["spec"]
    assert spec["names"] == {"plural": "things", "kind": "Thing", "singular": "thing", "listKind": "ThingList"}
    assert spec["conversion"] == {"strategy": "None"}
    assert refusal(definition()) == []


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (definition(group="nodots"),
         'Invalid spec.group: Invalid value: "nodots": should be a domain with at least one dot'),
        (definition(scope="World"),
         'NotSupported spec.scope: Unsupported value: "World": supported values: "Cluster", "Namespaced"'),
        (definition(names={"listKind": "Thing"}),
         'Invalid spec.names.listKind: Invalid value: "Thing": kind and listKind may not be the same'),
        (definition(preserveUnknownFields=True),
         "Invalid spec.preserveUnknownFields: Invalid value: true: cannot set to true, set "
         "x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"),
        (definition(conversion=converted(conversionReviewVersions=["v1"])),
         "Required spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook"),
        (definition(conversion=converted(clientConfig=CLIENT)),
         "Required spec.conversion.conversionReviewVersions: Required value"),
        (definition(conversion=converted(clientConfig=CLIENT, conversionReviewVersions=["v9"])),
         'Invalid spec.conversion.conversionReviewVersions: Invalid value: ["v9"]: must include at least one of v1, v1beta1'),
        (definition(conversion=converted(clientConfig=CLIENT, conversionReviewVersions=["v1", "v1"])),
         'Invalid spec.conversion.conversionReviewVersions[1]: Invalid value: "v1": duplicate version'),
        (definition(conversion={"strategy": "None", "webhook": {"clientConfig": CLIENT}}),
         f"Forbidden spec.conversion.webhookClientConfig: Forbidden: {NOT_WEBHOOK}"),
        (definition(conversion={"strategy": "None", "webhook": {"conversionReviewVersions": ["v1"]}}),
         f"Forbidden spec.conversion.conversionReviewVersions: Forbidden: {NOT_WEBHOOK}"),
        (definition(group="a.k8s.io"),
         "Required metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval "
         'annotation "api-approved.kubernetes.io", see https://github.com/kubernetes/enhancements/pull/1111'),
        (definition(group="a.k8s.io", annotations={"api-approved.kubernetes.io": "yes"}),
         'Invalid metadata.annotations[api-approved.kubernetes.io]: Invalid value: "yes": protected groups must have approval '
         'annotation "api-approved.kubernetes.io" with either a URL or a reason starting with "unapproved", see '
         "https://github.com/kubernetes/enhancements/pull/1111"),
    ],
)  # fmt: skip
def test_a_definition_that_will_not_do_is_told_why(obj, expected):
    assert refusal(obj) == [expected]


@pytest.mark.parametrize("text", ["https://github.com/x/y/pull/1", "unapproved, an experiment"])
def test_a_protected_group_needs_approval_or_an_excuse(text):
    assert refusal(definition(group="a.k8s.io", annotations={"api-approved.kubernetes.io": text})) == []


def test_short_names_and_categories_are_labels():
    found = refusal(definition(names={"shortNames": ["ok", "Bad"], "categories": ["a.b"], "kind": "My_Thing"}))
    assert [each.split(":")[0] for each in found] == [
        "Invalid spec.names.singular",
        "Invalid spec.names.kind",
        "Invalid spec.names.listKind",
        "Invalid spec.names.shortNames[1]",
        "Invalid spec.names.categories[0]",
    ]


@pytest.mark.parametrize(
    ("new", "established", "expected"),
    [
        (definition(scope="Cluster"), True, ["Invalid spec.scope"]),
        (definition(scope="Cluster"), False, []),
        (definition(names={"kind": "Other"}), True, ["Invalid spec.names.kind"]),
        (definition(names={"kind": "Other"}), False, []),
        (definition(group="z.y"), False, ["Invalid spec.group"]),
        (definition(names={"plural": "others"}), False, ["Invalid spec.names.plural"]),
        (definition(version(name="v2")), True, ["Invalid status.storedVersions[0]"]),
        (definition(version(name="v2"), version(storage=False)), True, []),
    ],
)
def test_what_objects_are_stored_under_stays(new, established, expected):
    found = update_refusal(new, definition(), established=established)
    assert [each.split(":")[0] for each in found] == expected


def test_a_version_that_objects_are_stored_in_may_not_go():
    assert update_refusal(definition(version(name="v2")), definition()) == [
        'Invalid status.storedVersions[0]: Invalid value: "v1": missing from spec.versions; v1 was previously a storage '
        "version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and "
        "removes v1 from status.storedVersions"
    ]


def test_formats_that_say_nothing_are_warned_of_once():
    properties = {"a": {"type": "string", "format": "odd"}, "b": {"type": "integer", "format": "int32"}}
    properties["c"] = {"type": "array", "items": {"type": "string", "format": "odd"}}
    old, new = definition(), definition(version({"type": "object", "properties": properties}))
    assert STRATEGY.warnings(new, None) == ['unrecognized format "odd"']
    assert STRATEGY.warnings(new, old) == ['unrecognized format "odd"']
    assert STRATEGY.warnings(new, new) == []
