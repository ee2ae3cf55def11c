"""Volumes and logs, measured."""

from __future__ import annotations

from pathlib import Path

from sparsam.agent.config import AgentConfig
from sparsam.agent.diskuse import VolumeUse
from sparsam.agent.server.disks import Disks, volume_use
from tests.support.agent import container, pod


async def test_volumes_and_logs_of_a_pod_are_measured_and_kept_for_a_while(tmp_path: Path):
    config = AgentConfig(
        node_name="n1",
        node_ips=("127.0.0.1",),
        data_dir=tmp_path,
        run_dir=tmp_path,
        pod_cidrs=("10.0.0.0/24",),
        cluster_dns="10.96.0.10",
        client=None,
    )
    volumes = [
        {"name": "scratch", "emptyDir": {}},
        {"name": "host", "hostPath": {"path": "/"}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "c"}},
        {"name": "array", "persistentVolumeClaim": {"claimName": "d"}},
    ]
    one = pod(container(), name="web", uid="u1", volumes=volumes)
    for name in ("scratch", "data"):
        (config.pods_dir / "u1" / "volumes" / name).mkdir(parents=True)
    mounted = config.pods_dir / "u1" / "volumes" / "kubernetes.io~csi" / "pv-1" / "mount"
    (config.pods_dir / "u1" / "volumes" / "array").symlink_to(mounted)
    (config.pods_dir / "u1" / "volumes" / "scratch" / "file").write_bytes(b"x" * 100_000)
    logs = config.logs_dir / "default_web_u1" / "main"
    logs.mkdir(parents=True)
    (logs / "0.log").write_bytes(b"y" * 5000)

    async def told(uid: str) -> dict[str, VolumeUse]:
        return {"pv-1": VolumeUse(10, 4, 6, 3, 2, 1)} if uid == "u1" else {}

    disks = Disks(config, told)
    disk = (await disks.now([one]))["u1"]
    assert set(disk.volumes) == {"scratch", "data", "array"}
    assert disk.volumes["array"] == VolumeUse(10, 4, 6, 3, 2, 1, "d")
    assert 100_000 <= disk.volumes["scratch"].used_bytes < 200_000
    assert disk.volumes["scratch"].inodes_used == 2
    assert disk.files == disk.volumes["scratch"].used_bytes
    assert disk.volumes["data"].claim == "c"
    assert disk.volumes["data"].used_bytes > disk.volumes["scratch"].used_bytes
    assert disk.logs["main"].bytes >= 5000
    (config.pods_dir / "u1" / "volumes" / "scratch" / "more").write_bytes(b"x" * 100_000)
    assert (await disks.now([one]))["u1"] is disk
    assert await disks.now([]) == {}


def test_a_volume_that_is_gone_has_no_use(tmp_path: Path):
    assert volume_use(tmp_path / "nowhere") is None
