"""What the agent tells of itself."""

from __future__ import annotations

from pathlib import Path

from sparsam.agent.config import AgentConfig
from sparsam.agent.diskuse import VolumeUse
from sparsam.agent.registry import ProbeCount
from sparsam.agent.runtime import ContainerState
from sparsam.agent.server.disks import PodDisk
from sparsam.agent.server.own import OwnFacts, kubelet_metrics, probe_metrics, running_pods, settings
from tests.support.agent import container, pod
from tests.support.nodeserver import run_of


def test_the_agents_metrics_count_pods_containers_and_claims():
    disk = PodDisk({"data": VolumeUse(100, 40, 60, 10, 4, 6, claim="c"), "x": VolumeUse(1, 1, 1, 1, 1, 1)})
    facts = OwnFacts(
        node_name="n1",
        running_pods=2,
        containers=[run_of(), run_of(state=ContainerState.EXITED), run_of("other")],
        cpu_seconds=1.5,
        resident_bytes=99,
        started_seconds=7.0,
        disks={"u": disk},
        namespaces={"u": "d"},
    )
    lines = kubelet_metrics(facts).splitlines()
    for line in (
        'kubelet_node_name{node="n1"} 1',
        "kubelet_running_pods 2",
        'kubelet_running_containers{container_state="exited"} 1',
        'kubelet_running_containers{container_state="running"} 2',
        'kubelet_volume_stats_used_bytes{namespace="d",persistentvolumeclaim="c"} 60',
        "process_cpu_seconds_total 1.5",
        "process_resident_memory_bytes 99",
    ):
        assert line in lines
    assert len([line for line in lines if line.startswith("kubelet_volume_stats_used_bytes{")]) == 1


def test_probes_are_counted_by_result():
    text = probe_metrics([ProbeCount("d", "web", "u", "main", "liveness", "failed", 3)])
    labels = 'container="main",namespace="d",pod="web",pod_uid="u",probe_type="Liveness",result="failed"'
    assert f"prober_probe_total{{{labels}}} 3" in text.splitlines()
    assert probe_metrics([]) == ""


def test_running_pods_are_those_with_a_container_that_runs():
    one, two = pod(container(), name="a"), pod(container(), name="b")
    found = running_pods([(one, [run_of(image="i")]), (two, [run_of(state=ContainerState.EXITED)])])
    (item,) = found["items"]
    assert item["metadata"]["name"] == "a"
    assert item["spec"]["containers"] == [{"name": "main", "image": "i", "resources": {}}]


def test_settings_carry_upstreams_names(tmp_path: Path):
    config = AgentConfig(
        node_name="n1",
        node_ips=("127.0.0.1",),
        data_dir=tmp_path,
        run_dir=tmp_path,
        pod_cidrs=("10.0.0.0/24",),
        cluster_dns="10.96.0.10",
        client=None,
        static_pods=tmp_path / "static",
    )
    found = settings(config)["kubeletconfig"]
    assert found["authentication"]["webhook"] == {"enabled": True, "cacheTTL": "2m0s"}
    assert found["authorization"]["webhook"] == {"cacheAuthorizedTTL": "5m0s", "cacheUnauthorizedTTL": "30s"}
    assert found["staticPodPath"] == str(tmp_path / "static")
    assert found["maxPods"] == 110
