"""Access reviews ask about one thing, for somebody, and carry no metadata."""

import pytest

from sparsam.objects.kinds import by_kind
from sparsam.objects.strategies import strategy_for

GROUP = "authorization.k8s.io"
PODS = {"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "t"}}
PATH = {"nonResourceAttributes": {"verb": "get", "path": "/healthz"}}
USER = {"user": "u"}
LOCAL = {"metadata": {"namespace": "t"}}


def causes(kind, obj):
    found = strategy_for(by_kind(f"{GROUP}/v1", kind)).validate(obj)
    return [(cause.field, cause.message) for cause in found]


def fields(kind, obj):
    return [field for field, _ in causes(kind, obj)]


@pytest.mark.parametrize(
    ("kind", "obj"),
    [
        ("SubjectAccessReview", {"spec": PODS | USER}),
        ("SubjectAccessReview", {"metadata": {}, "spec": PATH | {"groups": ["g"]}}),
        ("SelfSubjectAccessReview", {"spec": PATH}),
        ("LocalSubjectAccessReview", LOCAL | {"spec": PODS | USER}),
    ],
)
def test_a_complete_question_is_taken(kind, obj):
    assert causes(kind, obj) == []


@pytest.mark.parametrize(
    ("kind", "obj", "wrong"),
    [
        ("SubjectAccessReview", {"spec": PODS | PATH | USER}, ["spec.nonResourceAttributes"]),
        ("SubjectAccessReview", {}, ["spec.resourceAttributes", "spec.user"]),
        ("SubjectAccessReview", LOCAL | {"spec": PODS | USER}, ["metadata"]),
        ("SelfSubjectAccessReview", {"metadata": {"name": "n"}, "spec": PODS}, ["metadata"]),
        ("LocalSubjectAccessReview", LOCAL | {"spec": PATH | USER}, ["spec.nonResourceAttributes"]),
        ("LocalSubjectAccessReview", {"spec": PODS | USER}, ["spec.resourceAttributes.namespace"]),
        ("LocalSubjectAccessReview", {"metadata": {"namespace": "t", "name": "n"}, "spec": PODS | USER}, ["metadata"]),
    ],
)
def test_a_bad_question_names_the_field(kind, obj, wrong):
    assert fields(kind, obj) == wrong


def test_a_question_about_nothing_shows_null():
    (_, message), *_ = causes("SelfSubjectAccessReview", {"spec": {}})
    assert message == (
        "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified"
    )
