"""Quality of service, and limits as the kernel is told them."""

from __future__ import annotations

from typing import Any

import pytest

from sparsam.agent.cgroups import CgroupLimits, Cgroups, cpu_weight
from sparsam.agent.resources import container_resources, is_node_critical, pod_limits, qos_class, quota, shares
from tests.support.agent import container, pod

FULL = {"cpu": "500m", "memory": "64Mi"}


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ([{}], "BestEffort"),
        ([{"limits": FULL}], "Guaranteed"),
        ([{"limits": FULL, "requests": FULL}], "Guaranteed"),
        ([{"limits": FULL, "requests": {"cpu": "100m", "memory": "64Mi"}}], "Burstable"),
        ([{"limits": {"cpu": "1"}}], "Burstable"),
        ([{"requests": {"memory": "1Mi"}}], "Burstable"),
        ([{"limits": FULL}, {}], "Burstable"),
        ([{"requests": {"cpu": "0"}}], "BestEffort"),
        ([{"requests": {"example.com/gpu": "1"}}], "BestEffort"),
    ],
)
def test_quality_of_service_by_upstreams_rules(resources: list[dict[str, Any]], expected: str):
    containers = [container(f"c{number}", resources=each) for number, each in enumerate(resources)]
    assert qos_class(pod(*containers)) == expected


def test_requests_and_limits_become_shares_quota_and_bytes():
    spec = container(
        resources={"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"cpu": "1500m", "memory": "2Gi"}}
    )
    found = container_resources(spec, "Burstable", 8 << 30)
    assert (found.cpu_shares, found.cpu_quota_microseconds, found.memory_bytes) == (256, 150_000, 2 << 30)
    assert found.oom_score_adj == 1000 - 125
    assert container_resources(container(), "BestEffort", 8 << 30).oom_score_adj == 1000
    assert container_resources(spec, "Guaranteed", 8 << 30).oom_score_adj == -997
    assert container_resources(container(), "BestEffort", 8 << 30, is_node_critical(pod())).oom_score_adj == 1000
    critical = is_node_critical(pod(priority=2_000_001_000))
    assert container_resources(container(), "BestEffort", 8 << 30, critical).oom_score_adj == -997


def test_what_a_runtime_class_adds_is_added_to_the_pod():
    spec = container(resources={"requests": {"cpu": "500m"}, "limits": {"cpu": "1", "memory": "64Mi"}})
    found = pod_limits(pod(spec, overhead={"cpu": "250m", "memory": "16Mi"}))
    assert found == CgroupLimits(768, 125_000, 80 << 20)
    assert pod_limits(pod(overhead={"cpu": "250m", "memory": "16Mi"})) == CgroupLimits(256)


def test_small_amounts_are_raised_to_what_the_kernel_takes():
    assert shares(0) == 2
    assert quota(0) == 0
    assert quota(1) == 1000
    assert [cpu_weight(value) for value in (2, 1024, 262_144)] == [1, 39, 10_000]


def test_a_pods_limits_are_sums_or_its_largest_init_container():
    big = container("init", resources={"limits": {"cpu": "2", "memory": "1Gi"}})
    each = {"limits": {"cpu": "500m", "memory": "64Mi"}, "requests": {"cpu": "100m"}}
    wanted = pod(container("a", resources=each), container("b", resources=each), initContainers=[big])
    assert pod_limits(wanted) == CgroupLimits(2048, 200_000, 1 << 30)
    assert pod_limits(pod(container("a", resources=each), container("b"))).memory_bytes == 0


def test_groups_are_made_and_removed_on_version_1(tmp_path):
    for controller in ("cpu", "memory", "pids"):
        (tmp_path / controller).mkdir()
    groups = Cgroups("/sparsam/n1", tmp_path)
    assert groups.create_pod("Burstable", "u1", CgroupLimits(256, 50_000, 1 << 20)) == "/sparsam/n1/burstable/podu1"
    cpu = tmp_path / "cpu/sparsam/n1/burstable/podu1"
    assert (cpu / "cpu.shares").read_text() == "256"
    assert (cpu / "cpu.cfs_quota_us").read_text() == "50000"
    assert (tmp_path / "memory/sparsam/n1/burstable/podu1/memory.limit_in_bytes").read_text() == str(1 << 20)
    assert groups.pod_uids() == {"u1"}


def test_groups_are_made_on_version_2(tmp_path):
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids")
    groups = Cgroups("/sparsam/n1", tmp_path)
    groups.create_pod("Guaranteed", "u1", CgroupLimits(1024, 50_000, 1 << 20))
    group = tmp_path / "sparsam/n1/guaranteed/podu1"
    assert (group / "cpu.max").read_text() == "50000 100000"
    assert (group / "cpu.weight").read_text() == "39"
    assert (group / "memory.max").read_text() == str(1 << 20)
    assert (tmp_path / "sparsam/cgroup.subtree_control").read_text() == "+cpu +memory +pids"
