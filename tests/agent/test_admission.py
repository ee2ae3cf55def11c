"""Whether the node takes a pod that was bound to it."""

from __future__ import annotations

from typing import Any

import pytest

from sparsam.agent.admission import rejection, was_taken
from tests.support.agent import container, pod

NODE: dict[str, Any] = {
    "metadata": {"name": "n", "labels": {"disk": "fast"}},
    "spec": {"taints": [{"key": "gone", "effect": "NoExecute"}, {"key": "full", "effect": "NoSchedule"}]},
    "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": "3", "example.org/card": "1"}},
}
TOLERANT = {"tolerations": [{"key": "gone", "operator": "Exists"}]}


def asking(**requests: str) -> dict[str, Any]:
    return pod(container(resources={"requests": requests}), **TOLERANT)


def listening(**port: Any) -> dict[str, Any]:
    return pod(container(ports=[{"containerPort": 80, **port}]), **TOLERANT)


def ended(one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "status": {"phase": "Succeeded"}}


@pytest.mark.parametrize(
    ("new", "others", "reason", "words"),
    [
        (asking(cpu="1"), [asking(cpu="1500m")], "OutOfcpu", "cpu, requested: 1000, used: 1500, capacity: 2000"),
        (asking(cpu="1"), [ended(asking(cpu="1500m"))], None, ""),
        (asking(), [asking(), asking(), asking()], "OutOfpods", "pods, requested: 1, used: 3, capacity: 3"),
        (asking(**{"example.org/card": "2"}), [], "OutOfexample.org/card", "requested: 2, used: 0, capacity: 1"),
        (asking(**{"example.org/unknown": "2"}), [], None, ""),
        (listening(hostPort=80), [listening(hostPort=80)], "NodePorts", "Predicate NodePorts failed: node(s) didn't"),
        (listening(hostPort=80), [listening(hostPort=80, protocol="UDP"), listening()], None, ""),
        (pod(nodeSelector={"disk": "slow"}, **TOLERANT), [], "NodeAffinity", "didn't match Pod's node affinity"),
        (pod(nodeSelector={"disk": "fast"}, **TOLERANT), [], None, ""),
        (pod(), [], "TaintToleration", "taints that the pod didn't tolerate"),
    ],
)
def test_what_upstreams_node_would_turn_away(new: Any, others: Any, reason: str | None, words: str):
    why = rejection(new, others, NODE)
    assert (why.reason if why else None) == reason
    assert words in (why.message if why else "")


def test_who_was_taken_stays():
    assert not was_taken(pod())
    assert was_taken({**pod(), "status": {"phase": "Pending", "startTime": "2026-01-01T00:00:00Z"}})
    assert was_taken({**pod(), "status": {"phase": "Running"}})


@pytest.mark.parametrize(
    ("name", "spec", "words"),
    [
        ("net.ipv4.tcp_rmem", {}, ""),
        ("kernel/shm_rmid_forced", {}, ""),
        ("kernel.msgmax", {}, 'forbidden sysctl: "kernel.msgmax" not allowlisted'),
        ("net.ipv4.tcp_rmem", {"hostNetwork": True}, "not allowed with host net enabled"),
        ("kernel.shm_rmid_forced", {"hostIPC": True}, "not allowed with host ipc enabled"),
    ],
)
def test_kernel_settings_that_reach_beyond_the_pod_are_turned_away(name: str, spec: dict[str, Any], words: str):
    wanted = pod(securityContext={"sysctls": [{"name": name, "value": "1"}]}, **TOLERANT, **spec)
    why = rejection(wanted, [], NODE)
    assert (why is None) == (words == "")
    if why is not None:
        assert why.reason == "SysctlForbidden"
        assert why.message.endswith(words)
