"""Messages are built by hand here: field numbers are those of Kubernetes' generated.proto files."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.apiserver.protobuf import to_json
from sparsam.errors import BadRequest, StatusError, UnsupportedMediaType


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def envelope(api_version, kind, message):
    return b"k8s\x00" + field(1, field(1, api_version) + field(2, kind)) + field(2, message)


def entry(key, value):
    return field(1, key) + field(2, value)


def read(api_version, kind, message):
    return json.loads(to_json(envelope(api_version, kind, message)))


def test_a_config_map():
    metadata = field(1, "c") + field(3, "d") + field(11, entry("app", "x")) + field(8, b"")
    message = field(1, metadata) + field(2, entry("k", "v")) + field(3, entry("b", b"\x00\xff"))
    assert read("v1", "ConfigMap", message) == {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": "c", "namespace": "d", "labels": {"app": "x"}},
        "data": {"k": "v"},
        "binaryData": {"b": "AP8="},
    }


def test_numbers_quantities_and_inline_sources_of_a_pod():
    port = field(3, 8080) + field(4, "TCP")
    resources = field(2, entry("cpu", field(1, "100m")))
    probe = field(1, field(2, field(1, "/ok") + field(2, field(1, 0) + field(2, 8080))))
    container = field(1, "c") + field(2, "i") + field(6, port) + field(8, resources) + field(10, probe)
    volume = field(1, "v") + field(2, field(2, b""))
    spec = field(1, volume) + field(2, container) + field(4, 30)
    pod = read("v1", "Pod", field(1, field(1, "p")) + field(2, spec))
    assert pod["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]
    (read_container,) = pod["spec"]["containers"]
    assert read_container["ports"] == [{"containerPort": 8080, "protocol": "TCP"}]
    assert read_container["resources"] == {"requests": {"cpu": "100m"}}
    assert read_container["livenessProbe"]["httpGet"] == {"path": "/ok", "port": 8080}
    assert pod["spec"]["terminationGracePeriodSeconds"] == 30


def test_a_deployment_with_a_named_port_a_time_and_a_negative_number():
    strategy = field(1, "RollingUpdate") + field(2, field(1, field(1, 1) + field(3, "25%")))
    spec = field(1, -1) + field(4, strategy)
    metadata = field(1, "w") + field(8, field(1, 1767225600))
    deployment = read("apps/v1", "Deployment", field(1, metadata) + field(2, spec))
    assert deployment["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00Z"
    assert deployment["spec"]["replicas"] == -1
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": "25%"}


def test_a_time_in_the_first_year_has_four_digits_for_it():
    first = field(1, -62135596800 + 2) + field(2, 5000)
    lease = read("coordination.k8s.io/v1", "Lease", field(2, field(3, first)))
    assert lease["spec"]["acquireTime"] == "0001-01-01T00:00:02.000005Z"


def test_a_pointer_keeps_its_zero_and_an_optional_value_does_not():
    assert read("apps/v1", "Deployment", field(2, field(1, 0) + field(5, 0)))["spec"] == {"replicas": 0}


@pytest.mark.parametrize("raw", [b"", b"{}", b"k8s\x00\x0a", envelope("v1", "ConfigMap", b"\x0a\xff")])
def test_what_is_no_message_is_a_bad_request(raw):
    with pytest.raises((BadRequest, UnsupportedMediaType)):
        to_json(raw)


def test_kinds_that_are_not_known_are_refused_by_name():
    with pytest.raises(UnsupportedMediaType, match="Zap"):
        to_json(envelope("v1", "Zap", b""))


@given(st.binary(max_size=200))
def test_no_bytes_can_do_worse_than_a_refusal(raw):
    try:
        to_json(envelope("v1", "Pod", raw))
    except StatusError as error:
        assert error.code in (400, 415)
