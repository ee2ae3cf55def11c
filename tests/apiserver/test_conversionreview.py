import json

import pytest

from sparsam.apiserver.conversionreview import BadAnswer, BadConversion, build, read, review_version

V1, V2 = "example.com/v1", "example.com/v2"
ORIGINAL = {"kind": "Widget", "apiVersion": V1, "metadata": {"name": "a", "uid": "1", "labels": {"x": "y"}}}


def answer(*objects, uid="u", status="Success", version="v1", message=""):
    response = {"uid": uid, "convertedObjects": list(objects), "result": {"status": status, "message": message}}
    review = {"kind": "ConversionReview", "apiVersion": f"apiextensions.k8s.io/{version}", "response": response}
    return json.dumps(review).encode()


def converted(**changes):
    return {**ORIGINAL, "apiVersion": V2, **changes}


def test_a_review_asks_for_all_objects_at_once():
    assert review_version(["v3", "v1"]) == "v1"
    assert build("v1", "u", V2, [ORIGINAL])["request"] == {"uid": "u", "desiredAPIVersion": V2, "objects": [ORIGINAL]}


def test_of_the_metadata_labels_and_annotations_alone_may_change():
    metadata = {"name": "a", "uid": "1", "annotations": {"n": "m"}, "finalizers": ["f"], "generation": 9}
    (found,) = read(answer(converted(metadata=metadata, spec={"b": 1})), "v1", "u", V2, [ORIGINAL])
    assert found["metadata"] == {"name": "a", "uid": "1", "annotations": {"n": "m"}}
    assert found["spec"] == {"b": 1}


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (answer(uid="x"), 'expected response.uid="u", got "x"'),
        (answer(status="Failure", message="why"), "why"),
        (answer(status="Failure"), "response.result.status was 'Failure', not 'Success'"),
        (b'{"kind":"ConversionReview","apiVersion":"apiextensions.k8s.io/v1"}', "no response provided"),
        (
            answer(version="v2"),
            "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, "
            "got apiextensions.k8s.io/v2, Kind=ConversionReview",
        ),
    ],
)
def test_answers_that_are_none(raw, words):
    with pytest.raises(BadAnswer) as error:
        read(raw, "v1", "u", V2, [ORIGINAL])
    assert str(error.value) == words


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        ([], "returned 0 objects, expected 1"),
        ([ORIGINAL], f"invalid converted object at index 0: invalid groupVersion (expected {V2}, received {V1})"),
        ([converted(kind="Other")], "index 0: must have the same kind: Widget != Other"),
        ([converted(metadata={"name": "a"})], "index 0: must have the same UID: 1 != "),
        ([converted(metadata=None)], "index 0: missing metadata"),
        (
            [converted(metadata={"name": "a", "uid": "1", "labels": {"x": 1}})],
            "returned invalid metadata in object at index 0: metadata.labels must be an object of strings",
        ),
    ],
)
def test_objects_that_are_not_what_they_may_be(objects, words):
    with pytest.raises(BadConversion) as error:
        read(answer(*objects), "v1", "u", V2, [ORIGINAL])
    assert words in str(error.value)
