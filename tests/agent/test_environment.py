"""Environment variables and `$(VAR)` references."""

from __future__ import annotations

import pytest

from sparsam.agent.downward import PodFacts, field_value
from sparsam.agent.environment import container_environment, expand, service_environment
from sparsam.agent.references import ConfigFault, Sources, references
from tests.support.agent import container, pod


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "1"), ("$$(A)", "$(A)"), ("$$$(A)", "$1"), ("$(NONE)", "$(NONE)"), ("$(A)$(B)-$", "12-$"),
        ("$A", "$A"), ("$(A", "$(A"), ("$()", "$()"),
    ],
)  # fmt: skip
def test_references_expand_as_upstream(text: str, expanded: str):
    assert expand(text, {"A": "1", "B": "2"}) == expanded


def no_file(_volume: str, _path: str) -> None:
    """A pod without files."""


def service(called: str, namespace: str = "default", ip: str = "10.96.0.9", **port: object) -> dict[str, object]:
    ports = [{"port": 6379, "protocol": "TCP", **port}]
    return {"metadata": {"name": called, "namespace": namespace}, "spec": {"clusterIP": ip, "ports": ports}}


def test_services_appear_in_both_styles():
    variables = service_environment([service("redis-primary", name="data")], "default", True)
    assert variables == {
        "REDIS_PRIMARY_SERVICE_HOST": "10.96.0.9",
        "REDIS_PRIMARY_SERVICE_PORT": "6379",
        "REDIS_PRIMARY_SERVICE_PORT_DATA": "6379",
        "REDIS_PRIMARY_PORT": "tcp://10.96.0.9:6379",
        "REDIS_PRIMARY_PORT_6379_TCP": "tcp://10.96.0.9:6379",
        "REDIS_PRIMARY_PORT_6379_TCP_PROTO": "tcp",
        "REDIS_PRIMARY_PORT_6379_TCP_PORT": "6379",
        "REDIS_PRIMARY_PORT_6379_TCP_ADDR": "10.96.0.9",
    }


def test_headless_and_foreign_services_do_not_but_the_api_server_always_does():
    services = [service("headless", ip="None"), service("theirs", "other"), service("kubernetes", ip="10.96.0.1")]
    assert service_environment(services, "mine", True)["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"
    assert not any("THEIRS" in name or "HEADLESS" in name for name in service_environment(services, "mine", True))
    both = [service("kubernetes"), service("redis")]
    assert not any(name.startswith("REDIS") for name in service_environment(both, "default", False))


def test_later_sources_override_earlier_ones_and_see_them():
    spec = container(
        envFrom=[{"configMapRef": {"name": "all"}, "prefix": "P_"}],
        env=[
            {"name": "KUBERNETES_SERVICE_HOST", "value": "mine"},
            {"name": "JOINED", "value": "$(P_a)/$(KUBERNETES_SERVICE_HOST)/$(LATER)"},
            {"name": "LATER", "value": "x"},
        ],
    )
    sources = Sources({("ConfigMap", "all"): {"data": {"a": "1"}}})
    found = container_environment(spec, PodFacts(pod(spec)), sources, {"KUBERNETES_SERVICE_HOST": "10.96.0.1"}, no_file)
    assert found["JOINED"] == "1/mine/$(LATER)"
    assert found["KUBERNETES_SERVICE_HOST"] == "mine"


def test_missing_keys_and_objects_are_named_unless_optional():
    def variable(optional: bool) -> dict[str, object]:
        reference = {"name": "all", "key": "none", "optional": optional}
        return container(env=[{"name": "X", "valueFrom": {"configMapKeyRef": reference}}])

    facts, present = PodFacts(pod()), Sources({("ConfigMap", "all"): {"data": {}}})
    with pytest.raises(ConfigFault, match="couldn't find key none in ConfigMap default/all"):
        container_environment(variable(False), facts, present, {}, no_file)
    with pytest.raises(ConfigFault, match='configmap "all" not found'):
        container_environment(variable(False), facts, Sources(), {}, no_file)
    assert container_environment(variable(True), facts, present, {}, no_file) == {}
    assert container_environment(variable(True), facts, Sources(), {}, no_file) == {}


def test_fields_of_the_pod_are_offered_and_others_refused():
    described = pod()
    described["metadata"]["labels"] = {"b": 'say "x"', "a": "1"}
    facts = PodFacts(described, ("10.0.0.2",), ("192.0.2.7",), "n1")
    assert field_value(facts, "metadata.labels['a']") == "1"
    assert field_value(facts, "metadata.labels") == 'a="1"\nb="say \\"x\\""'
    assert field_value(facts, "status.podIP") == "10.0.0.2"
    assert field_value(facts, "spec.nodeName") == "n1"
    with pytest.raises(ConfigFault):
        field_value(facts, "spec.containers")


def test_every_reference_of_a_pod_is_found():
    spec = container(
        envFrom=[{"secretRef": {"name": "s1"}}],
        env=[{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "c1", "key": "k"}}}],
    )
    volumes = [
        {"name": "v", "secret": {"secretName": "s2"}},
        {"name": "w", "projected": {"sources": [{"configMap": {"name": "c2"}}, {"secret": {"name": "s3"}}]}},
    ]
    assert references(pod(spec, volumes=volumes)) == {
        ("Secret", "s1"), ("Secret", "s2"), ("Secret", "s3"), ("ConfigMap", "c1"), ("ConfigMap", "c2"),
    }  # fmt: skip


def test_variables_come_from_files_that_containers_wrote():
    reference = {"volumeName": "v", "path": "env", "key": "NAME"}
    spec = container(env=[{"name": "A", "valueFrom": {"fileKeyRef": reference}}])
    facts = PodFacts(pod(spec))

    def found(text: str | None) -> dict[str, str]:
        return container_environment(spec, facts, Sources(), {}, lambda _volume, _path: text)

    assert found("NAME='x y'\n") == {"A": "x y"}
    with pytest.raises(ConfigFault, match='environment variable key "NAME" not found in file "env"'):
        found("OTHER='1'\n")
    with pytest.raises(ConfigFault, match='couldn\'t parse env file "env": line 1'):
        found("NAME=bare\n")
    with pytest.raises(ConfigFault, match='file "env" not found in volume "v"'):
        found(None)
    reference["optional"] = True
    assert found(None) == found("") == {}
