import pytest

from sparsam.apiserver.connections import kind_of, options
from sparsam.apiserver.routes import Route
from sparsam.objects.kinds import DEPLOYMENTS, NODES, PODS, SERVICES


def route(subresource, rest=""):
    return Route("", "v1", "pods", "default", "p", subresource, rest, PODS)


@pytest.mark.parametrize(
    ("resource", "subresource", "kind"),
    [
        (PODS, "exec", "PodExecOptions"),
        (PODS, "proxy", "PodProxyOptions"),
        (SERVICES, "proxy", "ServiceProxyOptions"),
        (NODES, "proxy", "NodeProxyOptions"),
        (PODS, "status", "Pod"),
        (DEPLOYMENTS, "scale", "Scale"),
        (PODS, "eviction", "Eviction"),
    ],
)
def test_each_part_has_a_kind(resource, subresource, kind):
    assert kind_of(resource, subresource)[2] == kind


def test_a_command_and_its_streams():
    query = [("command", "sh"), ("command", "-c"), ("stdin", "true"), ("tty", "false"), ("container", "c")]
    assert options(route("exec"), PODS, query) == {
        "kind": "PodExecOptions",
        "apiVersion": "v1",
        "stdin": True,
        "container": "c",
        "command": ["sh", "-c"],
    }


def test_ports_and_paths():
    assert options(route("portforward"), PODS, [("ports", "80,81"), ("ports", "x")])["ports"] == [80, 81]
    assert options(route("proxy", "a/b"), PODS, [])["path"] == "/a/b"
