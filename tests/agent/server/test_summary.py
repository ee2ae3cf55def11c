"""The Summary API and resource metrics from snapshots."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sparsam.agent.diskuse import TreeUse, VolumeUse
from sparsam.agent.server.disks import PodDisk
from sparsam.agent.server.groups import Interface, Usage
from sparsam.agent.server.summary import nano_cores, resource_metrics, summary
from sparsam.agent.server.usage import FileSystem, Processes, Snapshot
from tests.support.agent import container, pod

SECOND = 10**9


def usage(second: int, cpu_seconds: float, **fields: int) -> Usage:
    return Usage(second * SECOND, int(cpu_seconds * SECOND), **fields)


def snapshot(second: int, cpu_seconds: float, uid: str, complete: bool = True) -> Snapshot:
    return Snapshot(
        time_nanoseconds=second * SECOND,
        node=usage(second, 10 * cpu_seconds, memory_working_set_bytes=600),
        memory_bytes=1000,
        file_system=FileSystem(100, 40, 10, 4),
        pods={uid: usage(second, cpu_seconds, memory_working_set_bytes=7)},
        containers={(uid, "main"): usage(second, cpu_seconds, memory_working_set_bytes=5, layer_bytes=9)},
        complete=complete,
    )


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (usage(1, 1.0), usage(3, 2.0), SECOND // 2),
        (None, usage(3, 2.0), None),
        (usage(3, 2.0), usage(3, 2.0), None),
        (usage(1, 5.0), usage(3, 2.0), None),
    ],
    ids=["half a core", "nothing to compare with", "no time passed", "started anew"],
)
def test_a_rate_needs_two_looks_at_the_same_run(before: Usage | None, now: Usage, expected: int | None):
    assert nano_cores(now, before) == expected


def test_the_summary_has_node_pods_and_containers():
    web = pod(container(), name="web")
    web["status"] |= {
        "startTime": "2026-01-01T00:00:00Z",
        "containerStatuses": [{"name": "main", "state": {"running": {"startedAt": "2026-01-01T00:00:01Z"}}}],
    }
    uid = web["metadata"]["uid"]
    found = summary("n1", [web], snapshot(10, 1.0, uid), snapshot(12, 2.0, uid), started="2026-01-01T00:00:00Z")
    node, (one,) = found["node"], found["pods"]
    assert node["nodeName"] == "n1"
    assert node["cpu"] == {
        "time": "1970-01-01T00:00:12Z",
        "usageCoreNanoSeconds": 20 * SECOND,
        "usageNanoCores": 5 * SECOND,
    }
    assert node["memory"]["availableBytes"] == 400
    assert node["fs"]["usedBytes"] == 60
    assert one["podRef"] == {"name": "web", "namespace": "default", "uid": uid}
    assert one["cpu"]["usageNanoCores"] == SECOND // 2
    (main,) = one["containers"]
    assert (main["name"], main["startTime"]) == ("main", "2026-01-01T00:00:01Z")
    assert main["rootfs"]["usedBytes"] == 9


def test_metrics_are_in_prometheus_text_format():
    web = pod(container(), name="web")
    lines = resource_metrics([web], snapshot(12, 2.5, web["metadata"]["uid"])).splitlines()
    labels = 'namespace="default",pod="web"'
    assert "node_cpu_usage_seconds_total 25.0 12000" in lines
    assert f"pod_memory_working_set_bytes{{{labels}}} 7 12000" in lines
    assert f'container_cpu_usage_seconds_total{{container="main",{labels}}} 2.5 12000' in lines
    assert "# TYPE container_cpu_usage_seconds_total counter" in lines
    assert "scrape_error 0" in lines


def test_an_engine_that_does_not_answer_is_told_in_the_metrics():
    assert "scrape_error 1" in resource_metrics([], snapshot(1, 1.0, "uid", complete=False)).splitlines()


def test_the_summary_is_complete():
    web = pod(container(), name="web", uid="u1")
    through = pod(container(), name="through")
    through["status"]["phase"] = "Succeeded"
    newer = replace(
        snapshot(12, 2.0, "u1"),
        interfaces=(Interface("ens3", 1), Interface("eth0", 2, 0, 3, 0, 4, 0, 5)),
        pod_interfaces={"u1": (Interface("eth0", 9),)},
        processes=Processes(1000, 77),
        images_bytes=33,
        swap_bytes=10,
        swap_free_bytes=4,
        agent=usage(12, 1.0, memory_working_set_bytes=8),
    )
    volumes = {"data": VolumeUse(100, 40, 60, 10, 4, 6, claim="c"), "tmp": VolumeUse(100, 40, 5, 10, 4, 1)}
    disks = {"u1": PodDisk(volumes, {"main": TreeUse(11, 1)}, files=5)}
    found = summary("n1", [web, through], snapshot(10, 1.0, "u1"), newer, started="x", disks=disks)
    node, (one,) = found["node"], found["pods"]
    assert node["rlimit"] == {"time": "1970-01-01T00:00:12Z", "maxpid": 1000, "curproc": 77}
    assert node["runtime"]["imageFs"]["usedBytes"] == 33
    assert node["runtime"]["containerFs"]["usedBytes"] == 9
    assert node["swap"]["swapUsageBytes"] == 6
    assert {**node["network"], "interfaces": None, "time": None} == {
        "name": "eth0",
        "rxBytes": 2,
        "rxErrors": 3,
        "txBytes": 4,
        "txErrors": 5,
        "interfaces": None,
        "time": None,
    }
    assert [each["name"] for each in node["network"]["interfaces"]] == ["ens3", "eth0"]
    assert [each["name"] for each in node["systemContainers"]] == ["kubelet", "pods"]
    assert one["network"]["rxBytes"] == 9
    claim, scratch = one["volume"]
    assert claim["pvcRef"] == {"name": "c", "namespace": "default"}
    assert "pvcRef" not in scratch
    assert one["ephemeral-storage"]["usedBytes"] == 5 + 11 + 9
    (main,) = one["containers"]
    assert main["logs"]["usedBytes"] == 11
    assert "swap" not in summary("n1", [], newer, snapshot(13, 3.0, "u1"), started="x")["node"]
