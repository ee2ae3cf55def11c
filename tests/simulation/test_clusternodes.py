import numpy as np
import pytest

from sparsam.power.nodemodel import node_model
from sparsam.simulation.clusternodes import OwnLoad, prepared, with_own_load
from tests.support.scheduling import node, watts

MODEL = node_model(watts(100, 200), 8.0)


def test_the_load_of_its_own_pods_lifts_a_nodes_idle_watts():
    model = with_own_load(MODEL, own_cores=2.0, left_cores=4.0, threads=8.0)
    # A quarter is its own, half is for pods, a quarter is kept by the system.
    assert [model.watts(load) for load in (0.0, 0.5, 1.0)] == pytest.approx([125.0, 150.0, 175.0])


def test_watts_never_fall_and_never_pass_the_servers_own():
    model = with_own_load(MODEL, own_cores=6.0, left_cores=8.0, threads=8.0)
    levels = np.array([model.watts(load) for load in np.linspace(0.0, 1.0, 30)])
    assert (np.diff(levels) >= -1e-9).all()
    assert levels[-1] == pytest.approx(200.0)


def test_room_is_what_a_nodes_own_pods_leave():
    made = prepared(node("n", cpu="4"), MODEL, OwnLoad(0.0, {"cpu": 5000, "pods": 10}), sleep="off", labels={"a": "b"})
    assert made["status"]["allocatable"]["cpu"] == "1m"
    assert made["status"]["allocatable"]["pods"] == "100"
    assert made["metadata"]["labels"] == {"a": "b"}


def test_servers_sleep_as_they_state_and_the_control_plane_never():
    def state(**extra):
        made = prepared(node("n", **extra), MODEL, OwnLoad(), sleep="off", labels={})
        return made["metadata"]["annotations"].get("power.sparsam.dev/sleep-state")

    assert state() == "off"
    assert state(annotations={"power.sparsam.dev/sleep-state": "suspended"}) == "suspended"
    assert state(labels={"node-role.kubernetes.io/control-plane": ""}) is None


def test_taints_of_the_moment_go_and_others_stay():
    taints = [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}, {"key": "gpu", "effect": "NoSchedule"}]
    made = prepared(node("n", taints=taints), MODEL, OwnLoad(), sleep="off", labels={})
    assert [each["key"] for each in made["spec"]["taints"]] == ["gpu"]
