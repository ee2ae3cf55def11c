import base64
import json

import pytest

from sparsam.apiserver.admission import Attributes
from sparsam.apiserver.admission.admissionreview import (
    BadAnswer,
    Unreadable,
    build,
    denial,
    read,
    review_version,
)
from sparsam.apiserver.authentication import User
from sparsam.objects.kinds import DEPLOYMENTS, NAMESPACES, PODS

USER = User("jane", ("a", "b"), "7", {"scopes": ("x",)})


def answer(version="v1", **response):
    review = {"kind": "AdmissionReview", "apiVersion": f"admission.k8s.io/{version}", "response": response}
    return json.dumps(review).encode()


def test_the_first_version_that_both_speak():
    assert review_version(["v2", "v1beta1", "v1"]) == "v1beta1"
    assert review_version(["v2"]) is None


def test_a_request_names_the_object_its_user_and_its_options():
    attributes = Attributes("CREATE", PODS, "default", "", USER, options={"kind": "CreateOptions"})
    review = build(attributes, PODS, "v1", "u", ({"metadata": {"name": "p"}}, None))
    assert review["apiVersion"] == "admission.k8s.io/v1"
    request = review["request"]
    assert (request["uid"], request["name"], request["namespace"]) == ("u", "p", "default")
    assert request["userInfo"] == {"username": "jane", "uid": "7", "groups": ["a", "b"], "extra": {"scopes": ["x"]}}
    assert request["options"] == {"kind": "CreateOptions"}
    assert "subResource" not in request
    assert request["oldObject"] is None


def test_a_part_is_of_its_own_kind_and_a_namespace_is_its_own():
    scale = build(Attributes("UPDATE", DEPLOYMENTS, "n", "d", USER, "scale"), DEPLOYMENTS, "v1", "u", ({}, {}))[
        "request"
    ]
    assert scale["kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert (scale["subResource"], scale["resource"]["resource"]) == ("scale", "deployments")
    request = build(Attributes("DELETE", NAMESPACES, "", "n", USER), NAMESPACES, "v1", "u", (None, {}))["request"]
    assert (request["namespace"], request["name"]) == ("n", "n")


def test_an_allowed_patch_is_read():
    patch = base64.b64encode(b'[{"op":"add","path":"/a","value":1}]').decode()
    verdict = read(
        answer(uid="u", allowed=True, patchType="JSONPatch", patch=patch, warnings=["w"]), "v1", "u", mutating=True
    )
    assert (verdict.allowed, verdict.patch, verdict.warnings) == (
        True,
        [{"op": "add", "path": "/a", "value": 1}],
        ("w",),
    )


def test_the_older_version_is_not_checked_as_closely():
    patch = base64.b64encode(b"[]").decode()
    assert read(answer("v1beta1", uid="x", allowed=True, patch=patch), "v1beta1", "u", mutating=True).allowed
    assert read(b'{"response": {"allowed": true}}', "v1beta1", "u", mutating=True).allowed


@pytest.mark.parametrize(
    ("raw", "mutating", "words"),
    [
        (b"{}", True, "webhook response was absent"),
        (answer(uid="x"), True, 'expected response.uid="u", got "x"'),
        (
            b'{"response": {"uid": "u"}}',
            True,
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind=",
        ),
        (answer(uid="u", patch="W10="), True, "webhook returned response.patch but not response.patchType"),
        (answer(uid="u", patchType="JSONPatch"), True, "webhook returned response.patchType but not response.patch"),
        (answer(uid="u", patch="W10=", patchType=""), True, 'webhook returned invalid response.patchType of ""'),
        (answer(uid="u", patch="W10=", patchType="Merge"), True, 'unsupported patch type "Merge"'),
        (answer(uid="u", patch="W10="), False, "validating webhook may not return response.patch"),
        (answer(uid="u", patchType="x"), False, "validating webhook may not return response.patchType"),
    ],
)
def test_answers_that_are_none(raw, mutating, words):
    with pytest.raises(BadAnswer) as error:
        read(raw, "v1", "u", mutating=mutating)
    assert str(error.value) == words


@pytest.mark.parametrize("raw", [b"", b"hello", b"[]", b"\xff", b'{"response": {"allowed": "yes"}}', b"[" * 100_000])
def test_what_cannot_be_read(raw):
    with pytest.raises(Unreadable):
        read(raw, "v1", "u", mutating=True)


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        ({}, 400, "denied the request without explanation"),
        ({"code": 200, "status": "Success"}, 400, "denied the request without explanation"),
        ({"code": 403, "message": "no"}, 403, "denied the request: no"),
        ({"reason": "Because"}, 400, "denied the request: Because"),
        ({"code": 99_999, "message": "no"}, 400, "denied the request: no"),
    ],
)
def test_a_refusal_is_a_failure_that_says_who_refused(status, code, message):
    error = denial("h.example.com", status)
    assert (error.code, error.message) == (code, f'admission webhook "h.example.com" {message}')
    assert error.as_json()["status"] == "Failure"
