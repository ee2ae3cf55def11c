"""A hundred pods on one node: how long until all run, in which order, and what their agent weighs once they rest.

    python benchmarks/hundred_pods.py [--pods 100] [--rest-seconds 60] [--no-bare] [-o table|json]

Starts a cluster of its own in a network namespace of its own (needs root), and removes it. Every pod has an init
container, a sidecar and a main container if `--whole` is given, one container otherwise; the order of their starts is
checked in each. The time is given as a ratio to the bare engine: the same sandboxes and containers made over CRI, with
the API server at rest, on the same containerd afterwards. Watts at rest are estimated: the agent's share of a core
times `--watts-per-core`, what a core of a server takes more when it works than when it idles.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cri_api.v1 import api_pb2 as pb

from sparsam.agent.cri import Cri
from sparsam.cli.images import DEMO_SHELL
from sparsam.cli.network import agent_paths
from sparsam.cli.nodes import local_nodes
from sparsam.client.api import ApiClient
from sparsam.client.config import load_kubeconfig
from sparsam.objects.kinds import PODS, SERVICEACCOUNTS
from sparsam.settings import read_settings

NAMESPACE = "default"
AT_ONCE = 10
"""Bare sandboxes under way at a time."""
DEADLINE_SECONDS = 600
SETTLE_SECONDS = 10
CLONE_NEWNET = 0x40000000


def pod(number: int, *, whole: bool) -> dict[str, Any]:
    def container(name: str, *command: str, **fields: Any) -> dict[str, Any]:
        return {"name": name, "image": DEMO_SHELL, "command": list(command), **fields}

    spec: dict[str, Any] = {"terminationGracePeriodSeconds": 0, "containers": [container("main", "sleep", "86400")]}
    if whole:
        side = container("side", "sleep", "86400", restartPolicy="Always")
        spec["initContainers"] = [container("init", "true"), side]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"pod-{number:03}", "namespace": NAMESPACE},
        "spec": spec,
    }


def in_order(seen: dict[str, Any]) -> bool:
    """Whether init container, sidecar and main container of a pod started in this order (in whole seconds)."""
    status = seen["status"]
    entries = {
        each["name"]: each["state"]
        for key in ("initContainerStatuses", "containerStatuses")
        for each in status.get(key, ())
    }
    if "init" not in entries:
        return True
    ended = entries["init"].get("terminated", {}).get("finishedAt", "9")
    started = [entries[name].get("running", {}).get("startedAt", "9") for name in ("side", "main")]
    return [ended, *started] == sorted([ended, *started]) and entries["init"]["terminated"]["exitCode"] == 0


async def start_all(client: ApiClient, pods: list[dict[str, Any]]) -> tuple[float, list[dict[str, Any]]]:
    """Seconds from the first creation until every pod is Ready, and the pods as they are then."""
    began = time.monotonic()
    await asyncio.gather(*(client.create(PODS, each) for each in pods))
    while time.monotonic() - began < DEADLINE_SECONDS:
        found = (await client.list(PODS, NAMESPACE))["items"]
        if len(found) == len(pods) and all(is_ready(each) for each in found):
            return time.monotonic() - began, found
        await asyncio.sleep(0.25)
    raise SystemExit(f"not all of {len(pods)} pods are ready after {DEADLINE_SECONDS} s")


def is_ready(seen: dict[str, Any]) -> bool:
    conditions = seen.get("status", {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


async def start_bare(socket: Path, count: int, *, containers: int) -> float:
    """Seconds until the engine alone has made so many sandboxes with their containers."""
    slots = asyncio.Semaphore(AT_ONCE)
    async with Cri(str(socket)) as cri:

        async def one(number: int) -> None:
            metadata = pb.PodSandboxMetadata(name=f"bare-{number}", namespace="bench", uid=str(uuid.uuid4()))
            sandbox = pb.PodSandboxConfig(metadata=metadata)
            async with slots:
                sandbox_id = await cri.run_sandbox(sandbox)
                for index in range(containers):
                    config = pb.ContainerConfig(
                        metadata=pb.ContainerMetadata(name=f"c{index}"),
                        image=pb.ImageSpec(image=DEMO_SHELL),
                        command=["sleep", "86400"],
                    )
                    await cri.start_container(await cri.create_container(sandbox_id, config, sandbox))

        began = time.monotonic()
        await asyncio.gather(*(one(number) for number in range(count)))
        return time.monotonic() - began


class Process:
    """One process, seen through /proc."""

    def __init__(self, pid: int) -> None:
        self._proc = Path(f"/proc/{pid}")

    @property
    def resident_mb(self) -> float:
        return int((self._proc / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    @property
    def cpu_seconds(self) -> float:
        fields = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(data_dir: Path, options: argparse.Namespace) -> dict[str, object]:
    settings = read_settings(data_dir / "cluster.json")
    node = local_nodes(settings)[0]
    socket = agent_paths(settings, node).run_dir / "containerd.sock"
    children = json.loads((settings.run_path / "supervisor.json").read_text())["children"]
    agent = Process(children[f"node-{node.name}"])
    results: dict[str, object] = {"pods": options.pods}
    async with ApiClient(load_kubeconfig(settings.kubeconfig)) as client:
        while not (await client.list(SERVICEACCOUNTS, NAMESPACE))["items"]:
            await asyncio.sleep(0.1)
        results["agent_mb_without_pods"] = agent.resident_mb
        before = agent.cpu_seconds
        seconds, found = await start_all(client, [pod(number, whole=options.whole) for number in range(options.pods)])
        results["start_seconds"] = seconds
        results["agent_cpu_seconds_to_start"] = agent.cpu_seconds - before
        results["pods_in_order"] = sum(in_order(each) for each in found)
        await asyncio.sleep(SETTLE_SECONDS)
        before, began = agent.cpu_seconds, time.monotonic()
        await asyncio.sleep(options.rest_seconds)
        share = (agent.cpu_seconds - before) / (time.monotonic() - began)
        results["agent_mb_at_rest"] = agent.resident_mb
        results["agent_cpu_share_at_rest"] = share
        results["estimated_watts_at_rest"] = share * options.watts_per_core
        for each in found:
            await client.delete(PODS, each["metadata"]["name"], NAMESPACE, grace_seconds=0)
        while (await client.list(PODS, NAMESPACE))["items"]:
            await asyncio.sleep(0.25)
    if options.bare:
        bare = await start_bare(socket, options.pods, containers=3 if options.whole else 1)
        results["bare_engine_seconds"] = bare
        results["ratio_to_bare_engine"] = seconds / bare
    return results


@contextmanager
def cluster(base: Path) -> Iterator[Path]:
    """A cluster of one node in a network namespace of its own; its data directory."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise SystemExit("needs root, for a network namespace")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    data, run = base / "data", Path(f"/run/sph{os.getpid()}")
    where = ["--data-dir", str(data)]
    command = [sys.executable, "-m", "sparsam.cli"]
    try:
        subprocess.run(
            [*command, "up", "--detach", *where, "--run-dir", str(run), "--node-name", "hundred"], check=True
        )
        subprocess.run([*command, "images", "demo", *where], check=True, stdout=subprocess.DEVNULL)
        yield data
    finally:
        subprocess.run([*command, "down", "--purge", *where], check=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int, default=100)
    parser.add_argument("--rest-seconds", type=float, default=60)
    parser.add_argument("--watts-per-core", type=float, default=10.0)
    parser.add_argument("--whole", action="store_true", help="init container, sidecar and main container in each pod")
    parser.add_argument("--no-bare", dest="bare", action="store_false", help="leave the bare engine out")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    base = Path(tempfile.mkdtemp(prefix="hundred-"))
    try:
        with cluster(base) as data:
            results = asyncio.run(measure(data, options))
    finally:
        shutil.rmtree(base, ignore_errors=True)
    if options.output == "json":
        print(json.dumps(results, indent=2))
    else:
        for name, value in results.items():
            print(f"{name:30}{value:10.3f}")


if __name__ == "__main__":
    main()
