import pytest

from sparsam.objects import typed
from sparsam.objects.scalars import Mismatch

CONFIG_MAP = "io.k8s.api.core.v1.ConfigMap"
POD = "io.k8s.api.core.v1.Pod"
SERVICE = "io.k8s.api.core.v1.ServiceSpec"


def test_null_means_the_zero_value_in_lists_and_maps():
    value, unknown = typed.read(CONFIG_MAP, {"data": {"a": None}, "binaryData": {"b": None}})
    assert (value["data"], value["binaryData"], unknown) == ({"a": ""}, {"b": ""}, False)
    value, _ = typed.read(POD, {"spec": {"containers": [None]}})
    assert value["spec"]["containers"] == [{"name": "", "resources": {}}]


def test_maps_are_in_order_of_their_keys():
    value, _ = typed.read(CONFIG_MAP, {"data": {"b": "1", "a": "2"}})
    assert list(value["data"]) == ["a", "b"]


def test_unknown_fields_are_dropped_and_reported():
    value, unknown = typed.read(CONFIG_MAP, {"data": {"a": "1"}, "more": 1})
    assert ("more" in value, unknown) == (False, True)


@pytest.mark.parametrize("port", ["http", 80])
def test_a_port_is_a_name_or_a_number(port):
    value, _ = typed.read(SERVICE, {"ports": [{"port": 80, "targetPort": port}]})
    assert value["ports"][0]["targetPort"] == port


@pytest.mark.parametrize("port", [1.5, True, {}, [], 2**40])
def test_a_port_is_nothing_else(port):
    with pytest.raises(Mismatch):
        typed.read(SERVICE, {"ports": [{"port": 80, "targetPort": port}]})


def test_completing_writes_the_nulls_of_required_lists_and_times():
    role = {"metadata": {"name": "r"}}
    typed.complete("io.k8s.api.rbac.v1.Role", role)
    assert role["rules"] is None
    pod = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    typed.complete(POD, pod)
    assert pod["status"]["conditions"][0]["lastProbeTime"] is None
