"""What does the whole control plane weigh? API server, store, controllers and scheduler, with modelled nodes.

    python benchmarks/control_plane.py [--nodes 200] [--pods 10000] [--rest-seconds 20] [-o table|json]

Prints resident megabytes at rest and with all pods bound, CPU at rest as a share of one core, and how fast pods are
bound; the last as a ratio to the rate at which the API server alone takes the same pods in the same run.
For orientation, kube-apiserver 1.36 with etcd 3.6 alone: 316 MB at rest, 544 MB after 10,000 pods.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from sparsam.client.api import ApiClient
from sparsam.client.config import load_kubeconfig
from sparsam.objects.kinds import NODES, PODS

AT_ONCE = 32
DEADLINE_SECONDS = 600


def node(number: int) -> tuple[dict, dict]:
    name = f"node-{number:04}"
    annotations = {
        "power.sparsam.dev/idle-watts": str(60 + number % 40),
        "power.sparsam.dev/max-watts": str(300 + (number * 7) % 200),
    }
    capacity = {"cpu": "64", "memory": "256Gi", "pods": "250", "ephemeral-storage": "100Gi"}
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "modelled"}
    status = {"capacity": capacity, "allocatable": capacity, "conditions": [ready]}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "annotations": annotations}}, status


def pod(number: int) -> dict:
    requests = {"cpu": f"{100 + number % 5 * 50}m", "memory": "128Mi"}
    container = {"name": "c", "image": "registry.example/app:1", "resources": {"requests": requests}}
    metadata = {"name": f"pod-{number:05}", "namespace": "default", "labels": {"app": f"app-{number % 50}"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


class Processes:
    """The cluster's processes, seen through /proc."""

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir

    def pids(self) -> dict[str, int]:
        return json.loads((self._run_dir / "supervisor.json").read_text())["children"]

    def resident_mb(self) -> dict[str, float]:
        page = os.sysconf("SC_PAGE_SIZE")
        sizes = {n: int(Path(f"/proc/{p}/statm").read_text().split()[1]) * page / 1e6 for n, p in self.pids().items()}
        return {**sizes, "total": sum(sizes.values())}

    def cpu_seconds(self) -> float:
        ticks = 0
        for pid in self.pids().values():
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")


async def measure(processes: Processes, client: ApiClient, options: argparse.Namespace) -> dict[str, object]:
    await asyncio.sleep(3)
    results: dict[str, object] = {"resident_mb_at_rest": processes.resident_mb()}
    before = processes.cpu_seconds()
    await asyncio.sleep(options.rest_seconds)
    results["cpu_share_at_rest"] = (processes.cpu_seconds() - before) / options.rest_seconds
    slots = asyncio.Semaphore(AT_ONCE)

    async def create_node(number: int) -> None:
        async with slots:
            body, status = node(number)
            await client.create(NODES, body)
            await client.patch(NODES, body["metadata"]["name"], {"status": status}, subresource="status")

    async def create_pod(number: int) -> None:
        async with slots:
            await client.create(PODS, pod(number))

    await asyncio.gather(*(create_node(number) for number in range(options.nodes)))
    started = time.monotonic()
    await asyncio.gather(*(create_pod(number) for number in range(options.pods)))
    created = time.monotonic() - started
    async with asyncio.timeout(DEADLINE_SECONDS):
        while (await client.list(PODS, "default", field_selector="spec.nodeName=", limit=1))["items"]:
            await asyncio.sleep(0.2)
    bound = time.monotonic() - started
    results["pods_created_per_second"] = options.pods / created
    results["pods_bound_per_second"] = options.pods / bound
    results["bound_ratio_to_created"] = created / bound
    results["resident_mb_with_pods"] = processes.resident_mb()
    return results


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=200)
    parser.add_argument("--pods", type=int, default=10_000)
    parser.add_argument("--rest-seconds", type=float, default=20.0)
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    sparsam = [sys.executable, "-m", "sparsam.cli"]
    with tempfile.TemporaryDirectory() as home:
        data, run = Path(home) / "data", Path(home) / "run"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        where = ["--data-dir", str(data), "--run-dir", str(run), "--port", str(port)]
        subprocess.run([*sparsam, "up", "--only", "api,control", "--detach", *where], check=True, capture_output=True)
        try:
            async with ApiClient(load_kubeconfig(data / "kubeconfig")) as client:
                results = await measure(Processes(run), client, options)
        finally:
            subprocess.run([*sparsam, "down", "--purge", "--data-dir", str(data)], check=False, capture_output=True)
    if options.output == "json":
        print(json.dumps(results, indent=2))
        return
    for name, value in results.items():
        figures = value if isinstance(value, dict) else {"": value}
        print(f"{name:24}" + "  ".join(f"{key} {figure:9.3f}" for key, figure in figures.items()))


if __name__ == "__main__":
    asyncio.run(main())
