"""How many pods does a whole cluster place in a second? API server, store, controllers, scheduler, hollow nodes.

    python benchmarks/schedule_cluster.py [--nodes 5000] [--pods 10000] [--silent] [-o table|json]

Every process is real and every write durable; the nodes are hollow: they keep their Leases, set their pods running and
publish modelled watts. Bound pods per second count from the first request to create a pod until the last is bound; the
ratio is to the rate at which the same client creates the same pods in the same cluster when nobody places them.
With --silent the nodes stand still until the last pod is bound, as they do in kube-scheduler's own benchmark. That,
with real API server and etcd, gives on a machine of this kind: 252 pods/s at 5,000 nodes and 415 pods/s at 500.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from sparsam.client.api import ApiClient
from sparsam.client.config import load_kubeconfig
from sparsam.client.informer import Informer
from sparsam.hollow.main import HollowConfig, run
from sparsam.hollow.objects import slim_pod
from sparsam.objects.kinds import PODS
from sparsam.power.catalogue import profiles
from sparsam.power.model import encode
from sparsam.power.server import MODEL_ANNOTATION

Obj = dict[str, Any]

AT_ONCE = 32
DEADLINE_SECONDS = 900
NOBODY = "nobody"


def fleet(nodes: int) -> list[Obj]:
    """Servers of six models from the catalogue."""
    usual = [each for each in profiles() if 32 <= each.threads <= 256 and each.hw_year >= 2012]
    models = usual[:: max(len(usual) // 6, 1)][:6]
    texts = [encode(each.model).decode() for each in models]
    found = []
    for number in range(nodes):
        one = models[number % len(models)]
        capacity = {"cpu": str(one.threads), "memory": f"{4 * one.threads}Gi", "pods": "110"}
        metadata = {"name": f"hollow-{number:05}", "annotations": {MODEL_ANNOTATION: texts[number % len(models)]}}
        found.append({"metadata": metadata, "status": {"capacity": capacity}})
    return found


def pod(number: int, scheduler: str) -> Obj:
    requests = {"cpu": f"{100 + number % 5 * 50}m", "memory": "128Mi"}
    container = {"name": "c", "image": "registry.example/app:1", "resources": {"requests": requests}}
    labels = {"app": f"app-{number % 50}"}
    metadata = {"name": f"{scheduler}-{number:05}", "namespace": "default", "labels": labels}
    spec = {"containers": [container], "schedulerName": scheduler}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def hollow(kubeconfig: str, nodes: int, registered: Any) -> None:
    """The process of the hollow nodes."""

    def registering(count: int) -> None:
        if count == nodes:
            registered.set()

    import gc

    import uvloop

    gc.set_threshold(20_000, 20, 100)

    uvloop.run(run(HollowConfig(load_kubeconfig(Path(kubeconfig)), "bench", fleet(nodes)), registering=registering))


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


async def create(client: ApiClient, pods: int, scheduler: str) -> float:
    """Seconds that creating so many pods took."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        async with slots:
            await client.create(PODS, pod(number, scheduler))

    started = time.monotonic()
    await asyncio.gather(*(one(number) for number in range(pods)))
    return time.monotonic() - started


class Progress:
    """Counts what becomes of the pods, by a watch of its own: asking again and again would slow the server down."""

    def __init__(self, client: ApiClient) -> None:
        self.bound: set[str] = set()
        self.running: set[str] = set()
        self.informer = Informer(
            client, PODS, "default", field_selector="spec.schedulerName=default-scheduler", transform=slim_pod
        )
        self.informer.add_handler(self._on_pod)

    def _on_pod(self, _kind: str, _old: Obj | None, pod: Obj | None) -> None:
        if pod is not None and "nodeName" in pod["spec"]:
            self.bound.add(pod["metadata"]["name"])
            if pod["status"].get("phase") == "Running":
                self.running.add(pod["metadata"]["name"])

    async def reach(self, names: set[str], pods: int) -> float:
        """When so many were reached."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(names) < pods:
                await asyncio.sleep(0.02)
        return time.monotonic()


async def measure(client: ApiClient, options: argparse.Namespace, nodes: int) -> Obj:
    """`nodes` is the process of the hollow nodes."""
    alone = await create(client, options.pods, NOBODY)
    progress = Progress(client)
    follows = asyncio.create_task(progress.informer.run())
    await progress.informer.synced.wait()
    if options.silent:
        os.kill(nodes, signal.SIGSTOP)
    try:
        started = time.monotonic()
        created = await create(client, options.pods, "default-scheduler")
        bound = await progress.reach(progress.bound, options.pods) - started
    finally:
        if options.silent:
            os.kill(nodes, signal.SIGCONT)
    running = await progress.reach(progress.running, options.pods) - started
    follows.cancel()
    return {
        "nodes": options.nodes,
        "pods": options.pods,
        "created_per_second_alone": options.pods / alone,
        "created_per_second": options.pods / created,
        "bound_per_second": options.pods / bound,
        "running_per_second": options.pods / running,
        "bound_ratio_to_created_alone": alone / bound,
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=5000)
    parser.add_argument("--pods", type=int, default=10_000)
    parser.add_argument("--silent", action="store_true", help="the nodes do nothing until all pods are bound")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    sparsam = [sys.executable, "-m", "sparsam.cli"]
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as home:
        data, run_dir = Path(home) / "data", Path(home) / "run"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        where = ["--data-dir", str(data), "--run-dir", str(run_dir), "--port", str(port)]
        subprocess.run([*sparsam, "up", "--only", "api,control", "--detach", *where], check=True, capture_output=True)
        registered = context.Event()
        nodes = context.Process(target=hollow, args=(str(data / "kubeconfig"), options.nodes, registered), daemon=True)
        try:
            started = time.monotonic()
            nodes.start()
            if not await asyncio.to_thread(registered.wait, DEADLINE_SECONDS):
                raise TimeoutError("the hollow nodes did not register")
            registering = time.monotonic() - started
            async with ApiClient(load_kubeconfig(data / "kubeconfig")) as client:
                results = await measure(client, options, nodes.pid or os.getpid())
            results["registering_seconds"] = registering
            results["hollow_resident_mb"] = resident_mb(nodes.pid or os.getpid())
            children = json.loads((run_dir / "supervisor.json").read_text())["children"]
            results |= {f"{name}_resident_mb": resident_mb(pid) for name, pid in children.items()}
        finally:
            nodes.terminate()
            subprocess.run([*sparsam, "down", "--purge", "--data-dir", str(data)], check=False, capture_output=True)
    if options.output == "json":
        print(json.dumps(results, indent=2))
        return
    for name, value in results.items():
        print(f"{name:32}{value:12.2f}")


if __name__ == "__main__":
    asyncio.run(main())
