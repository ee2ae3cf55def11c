import pytest

from sparsam.objects.crdnames import decide, essence, with_condition
from tests.support.customresources import definition

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


def settled(obj, *others):
    """The definition after everything was written that follows from it."""
    while (status := decide(obj, others, NOW)) != obj.get("status"):
        obj = obj | {"status": status}
    return obj


def told(obj):
    return [(each["type"], each["status"], each["reason"]) for each in obj["status"]["conditions"]]


def test_names_are_accepted_before_the_definition_is_established():
    first = decide(definition(), [], NOW)
    assert told({"status": first}) == [("NamesAccepted", "True", "NoConflicts"), ("Established", "False", "Installing")]
    second = decide(definition() | {"status": first}, [], NOW)
    assert told({"status": second})[1] == ("Established", "True", "InitialNamesAccepted")
    assert decide(definition() | {"status": second}, [], LATER) == second


def test_a_name_of_another_definition_is_a_conflict_and_the_others_are_taken_over():
    owner = settled(definition(singular="widget", listKind="WidgetList", shortNames=["w"]))
    wanted = definition(kind="Web", plural="webs", singular="widget", listKind="WebList", shortNames=["w", "x"])
    status = decide(wanted, [owner], NOW)
    assert status["acceptedNames"] == {"plural": "webs", "kind": "Web", "listKind": "WebList"}
    assert told({"status": status}) == [
        ("NamesAccepted", "False", "ShortNamesConflict"),
        ("Established", "False", "NotAccepted"),
    ]
    kinds = definition(kind="Widget", plural="gadgets")
    assert told({"status": decide(kinds, [owner], NOW)})[0][2] == "KindConflict"


def test_who_has_a_name_keeps_it_and_stays_established():
    first = settled(definition(shortNames=["w"]))
    second = settled(definition(kind="Web", plural="webs", shortNames=["x"]))
    second["spec"]["names"]["shortNames"] = ["w"]
    status = decide(second, [first], LATER)
    assert status["acceptedNames"]["shortNames"] == ["x"]
    assert told({"status": status}) == [
        ("NamesAccepted", "False", "ShortNamesConflict"),
        ("Established", "True", "InitialNamesAccepted"),
    ]
    assert decide(first, [second], NOW) == first["status"]


def test_the_time_of_a_transition_changes_with_the_status_only():
    before = with_condition([], {"type": "A", "status": "True", "reason": "x", "message": ""}, NOW)
    same = with_condition(before, {"type": "A", "status": "True", "reason": "y", "message": ""}, LATER)
    other = with_condition(before, {"type": "A", "status": "False", "reason": "y", "message": ""}, LATER)
    assert [each[0]["lastTransitionTime"] for each in (before, same, other)] == [NOW, NOW, LATER]
    assert len(with_condition(before, {"type": "B", "status": "True"}, LATER)) == 2


@pytest.mark.parametrize(
    ("annotation", "status", "reason", "message"),
    [
        (None, "False", "MissingAnnotation", "protected groups must have approval annotation"),
        ("unapproved, a trial", "False", "UnapprovedAnnotation", 'not approved: "unapproved, a trial"'),
        ("https://example.com/pull/1", "True", "ApprovedAnnotation", "approved in https://example.com/pull/1"),
    ],
)
def test_groups_of_the_community_say_whether_it_approved(annotation, status, reason, message):
    obj = definition(group="example.k8s.io")
    if annotation:
        obj["metadata"]["annotations"] = {"api-approved.kubernetes.io": annotation}
    condition = decide(obj, [], NOW)["conditions"][-1]
    assert (condition["type"], condition["status"]) == ("KubernetesAPIApprovalPolicyConformant", status)
    assert condition["reason"] == reason
    assert condition["message"].startswith(message)


def test_what_is_kept_of_a_definition_is_enough_to_decide():
    obj = definition(group="example.k8s.io", shortNames=["w"])
    obj["metadata"]["annotations"] = {"api-approved.kubernetes.io": "unapproved", "other": "x" * 1000}
    obj["metadata"]["managedFields"] = [{}]
    slim = essence(obj)
    assert decide(slim, [], NOW) == decide(obj, [], NOW)
    assert "versions" not in slim["spec"]
    assert slim["metadata"].keys() == {"name", "annotations"}
