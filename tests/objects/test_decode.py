from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.errors import BadRequest, Invalid, StatusError
from sparsam.objects import decode as decoding
from sparsam.objects import pipeline
from sparsam.objects.kinds import CONFIGMAPS, DEPLOYMENTS, PODS, SECRETS, SERVICES, find
from tests.support.objects import body, context, decode, json_objects, json_values

DEPLOYMENT = 'Deployment in version "v1" cannot be handled as a Deployment: '


def refusal(resource, obj, validation="Strict"):
    with pytest.raises(BadRequest) as caught:
        decode(resource, obj, validation)
    return caught.value.message


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"replicas": "x"}, "string into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ({"replicas": 1.5}, "number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ({"replicas": 2**40}, "number 1099511627776 into Go struct field DeploymentSpec.spec.replicas of type int32"),
        ({"selector": "x"}, "string into Go struct field DeploymentSpec.spec.selector of type v1.LabelSelector"),
        (
            {"template": {"spec": {"containers": [["x"]]}}},
            "array into Go struct field PodSpec.spec.template.spec.containers of type v1.Container",
        ),
        (
            {"template": {"spec": {"containers": {"a": 1}}}},
            "object into Go struct field PodSpec.spec.template.spec.containers of type []v1.Container",
        ),
        (
            {"template": {"metadata": {"labels": {"a": 1}}}},
            "number into Go struct field ObjectMeta.spec.template.metadata.labels of type string",
        ),
        (
            {"template": {"spec": {"containers": [{"livenessProbe": {"httpGet": {"port": 1.5}}}]}}},
            "number 1.5 into Go struct field HTTPGetAction.spec.template.spec.containers.livenessProbe."
            "ProbeHandler.httpGet.port of type int32",
        ),
    ],
)
def test_a_wrong_type_is_refused_in_gos_words(spec, message):
    assert refusal(DEPLOYMENTS, {"spec": spec}) == f"{DEPLOYMENT}json: cannot unmarshal {message}"


def test_named_types_are_named():
    message = refusal(SERVICES, {"spec": {"type": 7}})
    assert message.endswith("number into Go struct field ServiceSpec.spec.type of type v1.ServiceType")


def test_quantities_times_and_base64_have_their_own_words():
    limits = {"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "Bad Value!"}}}]}}
    assert "quantities must match the regular expression" in refusal(PODS, limits)
    assert refusal(SECRETS, {"data": {"a": "Bad Value!"}}).endswith("illegal base64 data at input byte 3")
    created = {"metadata": {"creationTimestamp": "yesterday"}}
    assert 'parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse' in refusal(CONFIGMAPS, created)


def test_unknown_and_duplicate_fields_are_an_error_a_warning_or_nothing():
    raw = b'{"metadata":{"name":"k"},"data":{"a":"1","a":"2"},"bogus":1}'

    def read(validation):
        return pipeline.decode(CONFIGMAPS, raw, "application/json", context(field_validation=validation))

    with pytest.raises(BadRequest) as caught:
        read("Strict")
    assert caught.value.message.endswith('strict decoding error: duplicate field "data.a", unknown field "bogus"')
    obj, warnings = read("Warn")
    assert warnings == ['duplicate field "data.a"', 'unknown field "bogus"']
    assert obj["data"] == {"a": "2"}
    assert "bogus" not in obj
    assert read("Ignore")[1] == []
    raw = b'{"bogus":1,"metadata":{"name":"k"},"data":{"a":"1","a":"2","a":"3"},"more":{"bogus":1,"bogus":2}}'
    assert read("Warn")[1] == [
        'unknown field "bogus"',
        'duplicate field "data.a"',
        'unknown field "more"',
        'duplicate field "more.bogus"',
    ]


def test_unknown_fields_are_found_in_lists():
    message = refusal(PODS, {"spec": {"containers": [{"name": "c", "env": [{"name": "A", "bogus": 1}]}]}})
    assert message.endswith('unknown field "spec.containers[0].env[0].bogus"')


def test_fields_are_case_sensitive():
    assert refusal(PODS, {"Spec": {}}).endswith('unknown field "Spec"')


def test_nulls_and_empty_optional_values_vanish_and_required_ones_stay():
    obj, _ = decode(
        PODS,
        {
            "metadata": {"name": "p", "labels": {}, "annotations": None},
            "spec": {"hostNetwork": False, "nodeName": "", "priority": 0, "containers": [{"image": "i", "args": []}]},
        },
    )
    assert obj["metadata"] == {"name": "p"}
    assert obj["spec"] == {"priority": 0, "containers": [{"image": "i", "name": "", "resources": {}}]}
    assert obj["status"] == {}


def test_values_are_brought_to_their_canonical_form():
    obj, _ = decode(
        PODS,
        {
            "metadata": {"creationTimestamp": "2026-01-01T02:00:00.5+02:00"},
            "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "1000m", "memory": 1024}}}]},
        },
    )
    assert obj["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00Z"
    assert obj["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "1", "memory": "1024"}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'{"a":', 'json parse error: unexpected end of JSON input ({"a":)'),
        (b"", "json parse error: unexpected end of JSON input (<empty>)"),
        (
            b"[]",
            r'struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" } (5b5d)',
        ),
        (b"{x}", "invalid character 'x' looking for beginning of object key string ({x})"),
        (b"nope", "invalid character 'o' in literal null (expecting 'u') (6e6f7065)"),
    ],
)
def test_a_body_that_is_no_object_is_unrecognized(raw, message):
    with pytest.raises(BadRequest) as caught:
        pipeline.decode(CONFIGMAPS, raw, "application/json", context())
    assert caught.value.message.startswith("the object provided is unrecognized (must be of type ConfigMap): ")
    assert caught.value.message.endswith(message)


def test_another_kind_or_version_is_refused():
    assert "unknown conversion" in refusal(CONFIGMAPS, {"apiVersion": "v1", "kind": "Secret"})
    assert 'no kind "ConfigMap" is registered for version "v2"' in refusal(
        CONFIGMAPS, {"apiVersion": "v2", "kind": "ConfigMap"}
    )
    autoscalers = find("autoscaling", "v1", "horizontalpodautoscalers")
    message = refusal(autoscalers, {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"})
    assert message.startswith("the API version in the data (autoscaling/v2) does not match")


def test_yaml_is_read_without_dates():
    raw = b"metadata:\n  name: y\ndata:\n  a: \"1\"\n  d: '2026-01-01'\n"
    obj, _ = pipeline.decode(CONFIGMAPS, raw, "application/yaml", context())
    assert obj["data"] == {"a": "1", "d": "2026-01-01"}
    with pytest.raises(BadRequest) as caught:
        pipeline.decode(CONFIGMAPS, b"a: [", "application/yaml", context())
    assert caught.value.message.endswith("yaml: line 1: did not find expected node content (613a205b)")


def test_a_body_nested_too_deeply_is_refused():
    with pytest.raises(BadRequest):
        pipeline.decode(CONFIGMAPS, b'{"a":' * 5000 + b"1" + b"}" * 5000, "application/json", context())


def test_a_patch_whose_outcome_has_wrong_types_is_invalid_at_patch():
    with pytest.raises(Invalid) as caught:
        decoding.decode_patched(DEPLOYMENTS, {"spec": {"replicas": "x"}}, "Strict")
    assert caught.value.details["causes"][0]["field"] == "patch"


@given(
    st.sampled_from([PODS, DEPLOYMENTS, SECRETS, SERVICES]),
    json_values | json_objects,
    st.sampled_from(["Strict", "Warn"]),
)
def test_any_json_is_read_or_refused(resource, value, validation):
    try:
        pipeline.decode(resource, body(value), "application/json", context(field_validation=validation))
    except StatusError as error:
        assert error.code == 400


@given(st.binary(max_size=40), st.sampled_from(["application/json", "application/yaml"]))
def test_any_bytes_are_read_or_refused(raw, content_type):
    with suppress(BadRequest):
        pipeline.decode(PODS, raw, content_type, context())


@given(json_objects)
def test_reading_twice_changes_nothing_more(annotations):
    value = {"metadata": {"name": "c", "annotations": {key: str(item) for key, item in annotations.items()}}}
    once, _ = decode(CONFIGMAPS, value)
    twice, _ = decode(CONFIGMAPS, once)
    assert once == twice


def test_an_empty_list_of_entries_is_told_from_none():
    def entries(metadata):
        return decode(CONFIGMAPS, {"metadata": {"name": "c"} | metadata})[0]["metadata"].get("managedFields")

    assert entries({"managedFields": []}) == entries({"managedFields": [{}]}) == [{}]
    assert entries({"managedFields": None}) is None
    assert entries({}) is None
