import pytest

from sparsam.apiserver.fields import read_custom_field, read_field, selectable
from sparsam.objects.kinds import CONFIGMAPS, NODES, PODS

POD = {
    "metadata": {"name": "p"},
    "spec": {"nodeName": "n", "hostNetwork": True},
    "status": {"phase": "Running", "podIPs": [{"ip": "1.2.3.4"}, {"ip": "::1"}]},
}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "p"),
        ("spec.nodeName", "n"),
        ("status.phase", "Running"),
        ("spec.hostNetwork", "true"),
        ("status.podIPs", "1.2.3.4,::1"),
        ("spec.restartPolicy", ""),
    ],
)
def test_fields_are_read_as_text(path, value):
    assert read_field(POD, path) == value


def test_absent_fields_have_the_zero_value_of_their_type():
    assert read_field({}, "spec.unschedulable") == "false"
    assert read_field({}, "status.replicas") == "0"
    assert read_field({}, "spec.hostNetwork") == "false"


def test_a_source_may_be_the_reporting_component():
    assert read_field({"source": {"component": "kubelet"}}, "source") == "kubelet"
    assert read_field({"reportingComponent": "scheduler"}, "source") == "scheduler"


def test_every_kind_has_name_and_namespace_and_some_have_more():
    assert selectable(CONFIGMAPS) == ("metadata.name", "metadata.namespace")
    assert "spec.nodeName" in selectable(PODS)
    assert "spec.unschedulable" in selectable(NODES)


def test_fields_of_custom_resources_are_where_their_definition_says():
    obj = {"source": "here", "spec": {"on": False, "n": 3, "deep": {}}}
    assert read_custom_field(obj, "source") == "here"
    assert [read_custom_field(obj, f"spec.{name}") for name in ("on", "n", "missing", "n.m")] == ["false", "3", "", ""]
    assert read_custom_field({}, "status.replicas") == ""
