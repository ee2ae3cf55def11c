"""`down --purge` leaves the machine as it was."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.e2e.conftest import running_cluster, until

SHELL = "localhost/sparsam/busybox:1"
RUN_DIR = f"/run/spt{os.getpid()}-"


def traces(cluster_dirs: tuple[Path, ...]) -> dict[str, list[str]]:
    """What a cluster of this process could leave behind on this machine; others may run beside it."""

    def lines(*command: str) -> list[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()

    return {
        "links": sorted(line.split()[0] for line in lines("ip", "-br", "link")),
        "netns": sorted(line.split()[0] for line in lines("ip", "netns", "list")),
        "nftables": lines("nft", "list", "ruleset"),
        "routes": sorted(lines("ip", "route")),
        "mounts": sorted(line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()),
        "cgroups": sorted(str(path) for path in Path("/sys/fs/cgroup").glob("*/sparsam/brief*")),
        "shims": [line for line in lines("ps", "-eo", "args") if "containerd-shim" in line and RUN_DIR in line],
        "directories": [str(path) for path in cluster_dirs if path.exists()],
    }


@pytest.mark.parametrize("nodes", ["1", "2"])
def test_purge_leaves_the_machine_as_it_was(tmp_path: Path, nodes: str):
    before = traces(())
    with running_cluster(tmp_path, "--nodes", nodes, "--node-name", "brief") as cluster:
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p"},
            "spec": {
                "volumes": [{"name": "m", "emptyDir": {"medium": "Memory"}}],
                "containers": [
                    {
                        "name": "c",
                        "image": SHELL,
                        "command": ["sleep", "600"],
                        "volumeMounts": [{"name": "m", "mountPath": "/m"}],
                    }
                ],
            },
        }
        until(lambda: cluster.get("serviceaccounts")["items"], what="default service account")
        cluster.apply(pod)
        cluster.kubectl("wait", "--for=condition=Ready", "pod/p", "--timeout=60s")
    assert traces((cluster.data_dir, cluster.run_dir)) == before
