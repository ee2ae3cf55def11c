"""How long from a pod's creation until it is Running? Against the cluster that runs on this machine.

    sparsam up --detach && sparsam images demo
    python benchmarks/pod_start.py [--pods 20] [--data-dir /var/lib/sparsam] [-o table|json]

Pods are created one after the other through the API and watched until their status says Running. The figure is given
as a ratio to the bare engine: a sandbox and a container made over CRI on the same containerd, in turn with the pods.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
import uuid
from pathlib import Path

from cri_api.v1 import api_pb2 as pb

from sparsam.agent.cri import Cri
from sparsam.cli.images import DEMO_SHELL
from sparsam.cli.network import agent_paths
from sparsam.cli.nodes import local_nodes
from sparsam.client.api import ApiClient
from sparsam.client.config import load_kubeconfig
from sparsam.objects.kinds import PODS
from sparsam.settings import read_settings

DEADLINE_SECONDS = 60


def pod(name: str) -> dict:
    container = {"name": "c", "image": DEMO_SHELL, "command": ["sleep", "600"], "imagePullPolicy": "Never"}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


async def through_the_api(client: ApiClient, name: str) -> float:
    started = time.monotonic()
    created = await client.create(PODS, pod(name))
    version = created["metadata"]["resourceVersion"]
    async with asyncio.timeout(DEADLINE_SECONDS):
        async for _, seen in client.watch(
            PODS, "default", resource_version=version, field_selector=f"metadata.name={name}"
        ):
            if seen.get("status", {}).get("phase") == "Running":
                return time.monotonic() - started
    raise SystemExit(f"the watch of {name} ended early")


async def through_cri(cri: Cri, name: str) -> float:
    sandbox = pb.PodSandboxConfig(metadata=pb.PodSandboxMetadata(name=name, namespace="bench", uid=str(uuid.uuid4())))
    container = pb.ContainerConfig(
        metadata=pb.ContainerMetadata(name="c"), image=pb.ImageSpec(image=DEMO_SHELL), command=["sleep", "600"]
    )
    started = time.monotonic()
    sandbox_id = await cri.run_sandbox(sandbox)
    await cri.start_container(await cri.create_container(sandbox_id, container, sandbox))
    seconds = time.monotonic() - started
    await cri.stop_sandbox(sandbox_id)
    await cri.remove_sandbox(sandbox_id)
    return seconds


async def measure(data_dir: Path, pods: int) -> dict[str, float]:
    settings = read_settings(data_dir / "cluster.json")
    node = local_nodes(settings)[0]
    socket = agent_paths(settings, node).run_dir / "containerd.sock"
    ours: list[float] = []
    bare: list[float] = []
    async with ApiClient(load_kubeconfig(settings.kubeconfig)) as client, Cri(str(socket)) as cri:
        for number in range(pods):
            name = f"bench-{uuid.uuid4().hex[:8]}"
            ours.append(await through_the_api(client, name))
            await client.delete(PODS, name, "default", grace_seconds=0)
            bare.append(await through_cri(cri, name))
            if sys.stderr.isatty():
                print(f"\r{number + 1}/{pods}", end="", file=sys.stderr)
    return {
        "pods": float(pods),
        "running_p50_seconds": statistics.median(ours),
        "running_max_seconds": max(ours),
        "engine_p50_seconds": statistics.median(bare),
        "ratio_to_engine": statistics.median(ours) / statistics.median(bare),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int, default=20)
    parser.add_argument("--data-dir", type=Path, default=Path("/var/lib/sparsam"))
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    results = asyncio.run(measure(options.data_dir, options.pods))
    if options.output == "json":
        print(json.dumps(results, indent=2))
    else:
        for name, value in results.items():
            print(f"{name:24}{value:8.3f}")


if __name__ == "__main__":
    main()
