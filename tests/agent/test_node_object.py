"""The Node object."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sparsam.agent.config import AgentConfig, NodeTaint
from sparsam.agent.machine import Machine, read_machine, read_room
from sparsam.agent.node_object import (
    EngineHealth,
    allocatable,
    capacity,
    lease_object,
    node_conditions,
    node_object,
    node_status,
    with_extended,
)
from sparsam.agent.runtime import Image

CONFIG = AgentConfig(
    node_name="n1", node_ips=("192.0.2.7",), data_dir=Path("/d"), run_dir=Path("/r"), pod_cidrs=("10.244.1.0/24",),
    cluster_dns="10.96.0.10", client=None, labels={"zone": "a"}, annotations={"power.sparsam.dev/idle-watts": "60"},
    taints=(NodeTaint(key="k", effect="NoSchedule"),),
)  # fmt: skip
MACHINE = Machine(4, 8 << 30, 100 << 30, "m", "s", "b", "6.1", "Debian")
ENGINE = EngineHealth("containerd", "1.6.20")
NOW = "2027-01-15T08:00:00Z"


def test_a_node_registers_with_labels_annotations_taints_and_its_network():
    node = node_object(CONFIG)
    assert node["metadata"]["labels"]["kubernetes.io/hostname"] == "n1"
    assert node["metadata"]["labels"]["zone"] == "a"
    assert node["metadata"]["annotations"]["power.sparsam.dev/idle-watts"] == "60"
    assert node["spec"] == {
        "podCIDR": "10.244.1.0/24",
        "podCIDRs": ["10.244.1.0/24"],
        "taints": [{"key": "k", "effect": "NoSchedule"}],
    }


def test_a_reservation_stays_with_the_node():
    assert capacity(CONFIG, MACHINE)["cpu"] == "4"
    assert allocatable(CONFIG, MACHINE)["cpu"] == "3900m"
    assert allocatable(CONFIG, MACHINE)["memory"] == f"{((8 << 30) - (256 << 20)) // 1024}Ki"
    assert allocatable(replace(CONFIG, reserved_cpu_millicores=0), MACHINE)["cpu"] == "4"


def test_status_says_who_and_what_runs():
    images = [Image("sha256:1", ("a:1",), ("a@sha256:2",), 5), Image("sha256:3", (), (), 9)]
    status = node_status(CONFIG, MACHINE, ENGINE, images)
    assert status["nodeInfo"]["containerRuntimeVersion"] == "containerd://1.6.20"
    assert status["images"] == [{"names": ["a@sha256:2", "a:1"], "sizeBytes": 5}]
    assert status["daemonEndpoints"] == {"kubeletEndpoint": {"Port": 10250}}


def test_what_others_announce_in_a_nodes_capacity_may_be_asked_for():
    old = {"capacity": {"cpu": "1", "example.com/gpu": "3", "stale": "1"}, "allocatable": {"example.com/gone": "1"}}
    status = with_extended(node_status(CONFIG, MACHINE, ENGINE, ()), old)
    assert status["capacity"] == capacity(CONFIG, MACHINE) | {"example.com/gpu": "3"}
    assert status["allocatable"] == allocatable(CONFIG, MACHINE) | {"example.com/gpu": "3"}


def test_conditions_tell_pressure_and_a_broken_engine():
    good = {c["type"]: c for c in node_conditions((), (), ENGINE, NOW)}
    assert {kind: c["status"] for kind, c in good.items()} == {
        "MemoryPressure": "False", "DiskPressure": "False", "PIDPressure": "False", "Ready": "True",
    }  # fmt: skip
    assert good["DiskPressure"]["reason"] == "KubeletHasNoDiskPressure"
    later = "2027-01-15T09:00:00Z"
    bad = node_conditions(good.values(), {"MemoryPressure", "DiskPressure"}, replace(ENGINE, fault="down"), later)
    assert {c["type"]: (c["status"], c["lastTransitionTime"]) for c in bad} == {
        "MemoryPressure": ("True", later), "DiskPressure": ("True", later),
        "PIDPressure": ("False", NOW), "Ready": ("False", later),
    }  # fmt: skip


def test_the_lease_belongs_to_the_node():
    lease = lease_object(CONFIG, {"metadata": {"name": "n1", "uid": "u"}}, NOW)
    assert lease["metadata"]["ownerReferences"][0]["uid"] == "u"
    assert lease["spec"] == {"holderIdentity": "n1", "leaseDurationSeconds": 40, "renewTime": NOW}


def test_this_machine_can_be_read(tmp_path: Path):
    machine, room = read_machine(tmp_path), read_room(tmp_path)
    assert machine.cpus > 0
    assert machine.memory_bytes > room.memory_available_bytes > 0
    assert 0 <= room.disk_available_ratio <= 1
    assert 0 < room.pids_available_ratio <= 1
