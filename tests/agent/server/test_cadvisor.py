"""cAdvisor's series from snapshots, read back by Prometheus' own rules of the format."""

from __future__ import annotations

import re
from typing import Any

from sparsam.agent.machine import Machine
from sparsam.agent.server.cadvisor import cadvisor_metrics
from sparsam.agent.server.groups import Interface, Usage
from sparsam.agent.server.usage import FileSystem, Snapshot
from tests.support.agent import container, pod

SECOND = 10**9
MACHINE = Machine(2, 4096, 100, "machine", "system", "boot", "6.1", "Debian")
LINE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)(?: (\d+))?$")


def parsed(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        name, labels, value, _ = LINE.match(line).groups()
        found.setdefault(name, []).append((dict(re.findall(r'(\w+)="([^"]*)"', labels or "")), float(value)))
    return found


def web() -> dict[str, Any]:
    resources = {"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "250m"}}
    one = pod(container(resources=resources), name="web", uid="u1")
    running = {"running": {"startedAt": "1970-01-01T00:00:05Z"}}
    one["status"] |= {"containerStatuses": [{"name": "main", "state": running, "image": "busybox:1"}]}
    return one


def snapshot(complete: bool = True) -> Snapshot:
    return Snapshot(
        time_nanoseconds=20 * SECOND,
        node=Usage(20 * SECOND, 9 * SECOND, memory_working_set_bytes=600),
        memory_bytes=4096,
        file_system=FileSystem(100, 40, 10, 4),
        pods={"u1": Usage(20 * SECOND, 3 * SECOND, memory_usage_bytes=70)},
        containers={
            ("u1", "main"): Usage(
                20 * SECOND,
                2 * SECOND,
                memory_usage_bytes=50,
                periods=4,
                throttled_periods=1,
                layer_bytes=7,
                run_id="r1",
            )
        },
        interfaces=(Interface("eth9", 1),),
        pod_interfaces={"u1": (Interface("eth0", 11, 2, 0, 0, 22, 3, 0, 0),)},
        pod_paths={"u1": "/base/burstable/podu1"},
        sandboxes={"u1": "s1"},
        complete=complete,
    )


def test_containers_pods_and_the_node_have_cadvisors_labels():
    found = parsed(cadvisor_metrics([web()], snapshot(), MACHINE))
    assert found["container_cpu_usage_seconds_total"] == [
        ({"container": "", "id": "/", "image": "", "name": "", "namespace": "", "pod": "", "cpu": "total"}, 9.0),
        (
            {
                "container": "",
                "id": "/base/burstable/podu1",
                "image": "",
                "name": "",
                "namespace": "default",
                "pod": "web",
                "cpu": "total",
            },
            3.0,
        ),
        (
            {
                "container": "main",
                "id": "/base/burstable/podu1/r1",
                "image": "busybox:1",
                "name": "r1",
                "namespace": "default",
                "pod": "web",
                "cpu": "total",
            },
            2.0,
        ),
    ]


def main_value(found: dict[str, list[tuple[dict[str, str], float]]], name: str) -> float:
    (value,) = [value for labels, value in found[name] if labels["container"] == "main"]
    return value


def test_a_container_has_its_use_its_limits_and_its_start():
    found = parsed(cadvisor_metrics([web()], snapshot(), MACHINE))
    for name, value in {
        "container_memory_usage_bytes": 50,
        "container_fs_usage_bytes": 7,
        "container_cpu_cfs_throttled_periods_total": 1,
        "container_spec_cpu_quota": 50_000,
        "container_spec_cpu_period": 100_000,
        "container_spec_cpu_shares": 256,
        "container_spec_memory_limit_bytes": 64 << 20,
        "container_start_time_seconds": 5,
        "container_last_seen": 20,
    }.items():
        assert main_value(found, name) == value, name


def test_the_network_is_the_pods_and_the_machine_is_described():
    found = parsed(cadvisor_metrics([web()], snapshot(), MACHINE))
    (node, one) = found["container_network_transmit_bytes_total"]
    assert node[0]["id"] == "/"
    assert (one[0]["pod"], one[0]["interface"], one[0]["container"], one[1]) == ("web", "eth0", "", 22.0)
    assert found["machine_cpu_cores"] == [({"boot_id": "boot", "machine_id": "machine", "system_uuid": "system"}, 2.0)]
    assert found["machine_memory_bytes"][0][1] == 4096


def test_an_engine_that_does_not_answer_is_told():
    assert parsed(cadvisor_metrics([], snapshot(), MACHINE))["container_scrape_error"][0][1] == 0
    assert parsed(cadvisor_metrics([], snapshot(complete=False), MACHINE))["container_scrape_error"][0][1] == 1


def test_every_series_has_a_type_and_none_stands_twice():
    text = cadvisor_metrics([web()], snapshot(), MACHINE)
    lines = [line.partition("} ")[0] for line in text.splitlines() if "{" in line and line[0] != "#"]
    assert len(lines) == len(set(lines))
    typed = set(re.findall(r"^# TYPE (\S+)", text, re.M))
    assert set(parsed(text)) == typed
