import pytest

from sparsam.apiserver.pods import container_for_logs, set_condition
from sparsam.errors import BadRequest

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def pod(*containers, annotations=None, init=()):
    metadata = {"name": "p", "annotations": annotations or {}}
    spec = {"containers": [{"name": name} for name in containers], "initContainers": [{"name": name} for name in init]}
    return {"metadata": metadata, "spec": spec, "status": {"phase": "Running"}}


def test_the_only_container_or_the_annotated_one_is_meant():
    assert container_for_logs(pod("a"), "") == "a"
    default = {"kubectl.kubernetes.io/default-container": "b"}
    assert container_for_logs(pod("a", "b", annotations=default), "") == "b"
    assert container_for_logs(pod("a", init=("i",)), "i") == "i"


def test_several_containers_must_be_told_apart():
    with pytest.raises(BadRequest, match=r"choose one of: \[a b\] or one of the init containers: \[i\]"):
        container_for_logs(pod("a", "b", init=("i",)), "")


def test_a_condition_keeps_the_time_of_its_last_change():
    status = {}
    set_condition(status, {"type": "T", "status": "True"}, NOW)
    set_condition(status, {"type": "T", "status": "True", "reason": "R"}, LATER)
    assert status["conditions"][0]["lastTransitionTime"] == NOW
    set_condition(status, {"type": "T", "status": "False"}, LATER)
    assert status["conditions"][0]["lastTransitionTime"] == LATER
    assert len(status["conditions"]) == 1
