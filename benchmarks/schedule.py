"""Decisions of the scheduling core: time for each, by fleet size, mix of pods and policy; no API server.

    OMP_NUM_THREADS=1 python benchmarks/schedule.py [--nodes 215,5000] [--mixes replicas,specs] [-o json]

The case study's scheduler took 10 ms for each workload on 215 nodes, whatever its mix. What machines differ in is told
by the ratio: the same pods placed in the same run by a plain loop over nodes that does less, two resources and nothing
else.
"""

import argparse
import gc
import json
import resource
import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from sparsam.scheduling.demand import compile_pod
from sparsam.scheduling.placement import PendingPod, Placer
from sparsam.scheduling.policy import KubeDefault, Policy
from sparsam.scheduling.snapshot import Resident, Snapshot
from sparsam.scheduling.watts import SparsamPolicy

Obj = dict[str, Any]

NODES = (215, 1000, 5000, 15000, 50000)
PODS, WARM_PODS, DISTINCT_SPECS = 2000, 200, 1000
LOOPED_PODS, LOOPED_NODES = 20, 5000
MEASURED_NODES = 2000
POLICIES: tuple[Callable[[], Policy], ...] = (KubeDefault, SparsamPolicy)


def node(number: int) -> Obj:
    """A server of one of a few models, in one of three zones."""
    cores = (16, 32, 64, 96)[number % 4]
    return {
        "metadata": {
            "name": f"node-{number:05d}",
            "labels": {
                "kubernetes.io/hostname": f"node-{number:05d}",
                "topology.kubernetes.io/zone": f"zone-{number % 3}",
                "disk": ("ssd", "hdd")[number % 2],
            },
            "annotations": {
                "power.sparsam.dev/idle-watts": str(40 + cores),
                "power.sparsam.dev/max-watts": str(90 + 4 * cores + number % 7),
            },
        },
        "spec": {},
        "status": {"allocatable": {"cpu": str(cores), "memory": f"{4 * cores}Gi", "pods": "110"}},
    }


def pod(number: int, mix: str) -> Obj:
    """A pod of a mix: `replicas`, `specs`, `spread`, `affinity` or `preemption`."""
    variant = number % DISTINCT_SPECS if mix == "specs" else 0
    labels = {"app": f"app-{number % 20}" if mix == "affinity" else "web"}
    cpu = "20" if mix == "preemption" else f"{100 + variant}m"
    requests = {"cpu": cpu, "memory": f"{64 + variant % 64}Mi"}
    spec: Obj = {"containers": [{"name": "main", "image": "registry.local/web:1", "resources": {"requests": requests}}]}
    if mix == "spread":
        selector = {"matchLabels": labels}
        spec["topologySpreadConstraints"] = [
            {"maxSkew": 2, "topologyKey": key, "whenUnsatisfiable": when, "labelSelector": selector}
            for key, when in (
                ("topology.kubernetes.io/zone", "DoNotSchedule"),
                ("kubernetes.io/hostname", "ScheduleAnyway"),
            )
        ]
    if mix == "affinity":
        term = {"labelSelector": {"matchLabels": labels}, "topologyKey": "kubernetes.io/hostname"}
        spec["affinity"] = {
            "podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]},
            "podAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 50, "podAffinityTerm": {**term, "topologyKey": "topology.kubernetes.io/zone"}}
                ]
            },
        }
    return {"metadata": {"name": f"pod-{number}", "namespace": "default", "labels": labels}, "spec": spec}


def pending(number: int, mix: str) -> PendingPod:
    """The same as the core takes it."""
    return PendingPod(f"default/pod-{number}", compile_pod(pod(number, mix)), 1000 if mix == "preemption" else 0)


def fleet(nodes: int) -> Snapshot:
    """Nodes, and nothing on them."""
    snapshot = Snapshot()
    for number in range(nodes):
        snapshot.set_node(node(number))
    return snapshot


def fill(snapshot: Snapshot) -> None:
    """Pods of low priority on every node, so that nothing more fits."""
    for name, row in snapshot.rows.items():
        quarter = int(snapshot.allocatable[0, row]) // 4
        spec = {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": f"{quarter}m"}}}]}
        demand = compile_pod({"metadata": {"name": "filler", "namespace": "low"}, "spec": spec})
        for place in range(4):
            snapshot.assume(Resident(f"low/{name}-{place}", name, demand, started="2026-01-01T00:00:00Z"))


def measure(nodes: int, mix: str, policy: Policy) -> Obj:
    """Milliseconds of each decision."""
    snapshot = fleet(nodes)
    pods = PODS if mix != "preemption" else 50
    if mix == "preemption":
        fill(snapshot)
    if mix == "affinity":
        pods = min(PODS, 20 * nodes // 2)
    placer = Placer(snapshot, policy)
    warm = DISTINCT_SPECS if mix == "specs" else min(WARM_PODS, pods // 10)
    queue = [pending(number, mix) for number in range(warm + pods)]
    placer.schedule(queue[:warm])
    times = np.empty(pods)
    gc.collect()
    for place, one in enumerate(queue[warm:]):
        before = time.perf_counter()
        plan = placer.schedule([one])
        times[place] = time.perf_counter() - before
        for rejection in plan.rejections:
            # What makes room goes at once, so that the next pod finds the cluster as it would be.
            assert rejection.preempt is not None, rejection.message
            for victim in rejection.preempt.victims:
                snapshot.remove_pod(victim)
            snapshot.assume(Resident(one.key, rejection.preempt.node, one.demand, one.priority))
    return {
        "nodes": nodes,
        "policy": policy.name,
        "mix": mix,
        "p50_ms": round(1e3 * float(np.median(times)), 4),
        "p99_ms": round(1e3 * float(np.percentile(times, 99)), 4),
        "per_second": round(pods / float(times.sum())),
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def sizes() -> tuple[float, float]:
    """Kilobytes that the snapshot keeps for each node and for each pod of a thousand specs on it."""
    tracemalloc.start()
    snapshot = fleet(MEASURED_NODES)
    gc.collect()
    before = tracemalloc.get_traced_memory()[0]
    for number in range(10 * MEASURED_NODES):
        one = pending(number, "specs")
        snapshot.assume(Resident(one.key, f"node-{number % MEASURED_NODES:05d}", one.demand))
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return before / 1e3 / MEASURED_NODES, (after - before) / 1e4 / MEASURED_NODES


def looped_ms(nodes: int) -> float:
    """Milliseconds of a decision by a plain loop over nodes: fit, LeastAllocated, the best."""
    states = [
        (cpu, memory, 0, 0)
        for number in range(nodes)
        for cpu, memory in [(1000 * int(node(number)["status"]["allocatable"]["cpu"]), 1 << 36)]
    ]
    before = time.perf_counter()
    for _ in range(LOOPED_PODS):
        best = max(_looped_scores(states, 100, 64 << 20))
        assert best[0] > 0
    return 1e3 * (time.perf_counter() - before) / LOOPED_PODS


def _looped_scores(states: list[tuple[int, int, int, int]], cpu: int, memory: int) -> Iterator[tuple[int, int]]:
    for number, (cpu_there, memory_there, cpu_used, memory_used) in enumerate(states):
        if cpu_used + cpu <= cpu_there and memory_used + memory <= memory_there:
            free_cpu = (cpu_there - cpu_used - cpu) * 100 // cpu_there
            yield (free_cpu + (memory_there - memory_used - memory) * 100 // memory_there) // 2, number


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", default="215,1000,5000")
    parser.add_argument("--mixes", default="replicas,specs,spread,affinity,preemption")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    rows = []
    node_kb, pod_kb = sizes()
    for nodes in (int(each) for each in options.nodes.split(",")):
        looped = looped_ms(nodes)
        for mix in options.mixes.split(","):
            for policy in POLICIES:
                row = measure(nodes, mix, policy())
                row |= {"node_kb": round(node_kb, 2), "pod_kb": round(pod_kb, 2)}
                rows.append({**row, "looped_ms": round(looped, 3), "ratio": round(looped / row["p50_ms"], 2)})
                if options.output == "table":
                    show(rows[-1], head=len(rows) == 1)
    if options.output == "json":
        print(json.dumps(rows, indent=2))


def show(row: Obj, *, head: bool) -> None:
    """A line of the table."""
    if head:
        print(" ".join(f"{name.upper():>12}" for name in row))
    print(" ".join(f"{value!s:>12}" for value in row.values()), flush=True)


if __name__ == "__main__":
    main()
