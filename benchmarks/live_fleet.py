"""What does a live cluster draw under each policy? 215 modelled servers, the same pods, every process real.

    python benchmarks/live_fleet.py [--fleet rise-215] [--load 0.3] [--seconds 90] [--policies kube-default,sparsam]
                                    [-o table|json]

For each policy a fresh cluster (API server, store, controllers, scheduler) with hollow nodes; a PowerPolicy object
names the policy. Services that together ask for half of the load stay; batch for the other half arrives evenly and ends
by itself, sooner on faster cores. Watts are those of the servers' models, integrated by the hollow nodes, so the saving
is estimated, with the models' errors; what a node told is at most five seconds old. Work and waiting are counted from
the pods' own status.
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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from sparsam.cli.fleetfiles import open_fleet
from sparsam.client.api import ApiClient
from sparsam.client.config import load_kubeconfig
from sparsam.clock import parse_time
from sparsam.objects.kinds import NODEPOWERS, PODS, POWERPOLICIES

Obj = dict[str, Any]

CORES = (1, 2, 4, 8)
BATCH_SECONDS = 20.0
AT_ONCE = 32
SETTLE_SECONDS, TOLD_SECONDS = 3.0, 6.0


def pod(name: str, cores: int, work_seconds: float | None) -> Obj:
    requests = {"cpu": str(cores), "memory": f"{2 * cores}Gi"}
    annotations = {} if work_seconds is None else {"sparsam.dev/work-seconds": f"{work_seconds:.1f}"}
    metadata = {"name": name, "namespace": "default", "labels": {"app": f"size-{cores}"}, "annotations": annotations}
    container = {"name": "c", "image": "registry.example/app:1", "resources": {"requests": requests}}
    spec = {"containers": [container], "restartPolicy": "Always" if work_seconds is None else "Never"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def workload(cores: float, seconds: float, seed: int) -> tuple[list[Obj], list[tuple[float, Obj]]]:
    """Services that are there from the start, and batch with the moment of its arrival."""
    chance = np.random.default_rng(seed)
    services, batch, asked = [], [], 0.0
    while asked < cores / 2:
        size = int(chance.choice(CORES))
        services.append(pod(f"service-{len(services):05}", size, None))
        asked += size
    work = cores / 2 * seconds
    while work > 0.0:
        size, long = int(chance.choice(CORES)), float(chance.exponential(BATCH_SECONDS))
        batch.append((float(chance.uniform(0.0, seconds)), pod(f"batch-{len(batch):05}", size, long)))
        work -= size * long
    return services, sorted(batch, key=lambda each: each[0])


async def fleet_joules(client: ApiClient) -> float:
    """All joules up to now: what each node last told, and what it has drawn since."""
    now, total = datetime.now(UTC), 0.0
    for each in (await client.list(NODEPOWERS))["items"]:
        status = each.get("status") or {}
        total += status["joules"] + status["watts"] * (now - parse_time(status["time"])).total_seconds()
    return total


async def play(client: ApiClient, policy: str, options: argparse.Namespace) -> Obj:
    kind = {"apiVersion": POWERPOLICIES.api_version, "kind": POWERPOLICIES.kind}
    await client.create(POWERPOLICIES, {**kind, "metadata": {"name": "all"}, "spec": {"policy": policy}})
    nodes = open_fleet(options.fleet).node_objects()
    cores = options.load * sum(float(node["status"]["capacity"]["cpu"]) for node in nodes)
    services, batch = workload(cores, options.seconds, options.seed)
    await asyncio.sleep(SETTLE_SECONDS)
    slots = asyncio.Semaphore(AT_ONCE)

    async def create(obj: Obj) -> None:
        async with slots:
            await client.create(PODS, obj)

    await asyncio.gather(*(create(each) for each in services))
    while (await client.list(PODS, "default", field_selector="status.phase=Pending", limit=1))["items"]:
        await asyncio.sleep(0.5)
    await asyncio.sleep(TOLD_SECONDS)
    loop = asyncio.get_running_loop()
    joules, began = await fleet_joules(client), loop.time()
    async with asyncio.TaskGroup() as group:
        for arrival, obj in batch:
            await asyncio.sleep(max(began + arrival - loop.time(), 0.0))
            group.create_task(create(obj))
        await asyncio.sleep(max(began + options.seconds - loop.time(), 0.0))
    seconds = loop.time() - began
    drawn = await fleet_joules(client) - joules
    return {"policy": policy, "watts": drawn / seconds, **await outcome(client)}


async def outcome(client: ApiClient) -> Obj:
    pods = (await client.list(PODS, "default"))["items"]
    waits = [
        (parse_time(each["status"]["startTime"]) - parse_time(each["metadata"]["creationTimestamp"])).total_seconds()
        for each in pods
        if "startTime" in each["status"]
    ]
    done = [each for each in pods if each["status"]["phase"] == "Succeeded"]
    return {
        "pods": len(pods),
        "started": len(waits),
        "batch_done": len(done),
        "core_seconds_done": sum(
            float(each["metadata"]["annotations"]["sparsam.dev/work-seconds"])
            * float(each["spec"]["containers"][0]["resources"]["requests"]["cpu"])
            for each in done
        ),
        "pending_p50_s": float(np.percentile(waits, 50)),
        "pending_p99_s": float(np.percentile(waits, 99)),
        "nodes_used": len({each["spec"]["nodeName"] for each in pods if "nodeName" in each["spec"]}),
    }


def run(policy: str, options: argparse.Namespace) -> Obj:
    sparsam = [sys.executable, "-m", "sparsam.cli"]
    with tempfile.TemporaryDirectory() as home:
        data = Path(home) / "data"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        where = ["--data-dir", str(data), "--run-dir", str(Path(home) / "run"), "--port", str(port)]
        up = [*sparsam, "up", "--only", "api,control", "--hollow", options.fleet, "--detach", *where]
        subprocess.run(up, check=True, capture_output=True, env={**os.environ, "SPARSAM_SCHEDULER_PORT": "0"})
        try:
            return asyncio.run(_with_client(data, policy, options))
        finally:
            subprocess.run([*sparsam, "down", "--purge", "--data-dir", str(data)], check=False, capture_output=True)


async def _with_client(data: Path, policy: str, options: argparse.Namespace) -> Obj:
    async with ApiClient(load_kubeconfig(data / "kubeconfig")) as client:
        return await play(client, policy, options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fleet", default="rise-215")
    parser.add_argument("--load", type=float, default=0.3)
    parser.add_argument("--seconds", type=float, default=90.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--policies", default="kube-default,sparsam")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    rows = [run(policy, options) for policy in options.policies.split(",")]
    for row in rows:
        row["saved_pct"] = 100.0 * (1.0 - row["watts"] / rows[0]["watts"])
    if options.output == "json":
        print(json.dumps(rows, indent=2))
        return
    for name in rows[0]:
        print(f"{name:20}" + "".join(f"{row[name]:>16.1f}" if name != "policy" else f"{row[name]:>16}" for row in rows))


if __name__ == "__main__":
    main()
