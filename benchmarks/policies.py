"""Watts of a fleet of unlike servers after each policy has placed the same pods, beside the least possible.

    python benchmarks/policies.py [--nodes 215] [--models 6] [--seeds 1] [--loads 0.15,0.3,0.5,0.7] [-o json]

Servers are drawn from the catalogue; pods use what they request and stay; no node is put to sleep. Watts come from the
servers' models, so the savings are estimated, with the models' errors. The least possible is the fractional knapsack
over the steps of all convex envelopes (see `sparsam.scheduling.curvetables.envelope`): no distribution of the same CPU
load over these servers draws less, memory and whole pods apart.
"""

import argparse
import json
from typing import Any

import numpy as np

from sparsam.power.catalogue import profiles
from sparsam.power.model import encode
from sparsam.power.server import MODEL_ANNOTATION
from sparsam.scheduling.curvetables import STEPS
from sparsam.scheduling.demand import compile_pod
from sparsam.scheduling.placement import PendingPod, Placer
from sparsam.scheduling.policy import KubeDefault, MostAllocated, Random
from sparsam.scheduling.snapshot import Snapshot
from sparsam.scheduling.watts import LeastIncrease, Peaks, SparsamPolicy

Obj = dict[str, Any]

POLICIES = (KubeDefault, SparsamPolicy, Peaks, LeastIncrease, MostAllocated, Random)
MILLICORES, MEBIBYTES = (100, 250, 500, 1000, 2000, 4000), (128, 256, 1024, 4096)


def fleet(nodes: int, models: int, seed: int) -> Snapshot:
    """Servers of a few models, as many of each."""
    usual = [each for each in profiles() if 16 <= each.threads <= 256 and each.hw_year >= 2012]
    chosen = [usual[place] for place in np.random.default_rng(seed).choice(len(usual), models, replace=False)]
    snapshot = Snapshot()
    for number in range(nodes):
        one = chosen[number % models]
        snapshot.set_node(
            {
                "metadata": {
                    "name": f"node-{number}",
                    "labels": {"kubernetes.io/hostname": f"node-{number}"},
                    "annotations": {MODEL_ANNOTATION: encode(one.model).decode()},
                },
                "status": {"allocatable": {"cpu": str(one.threads), "memory": f"{4 * one.threads}Gi", "pods": "1000"}},
            }
        )
    return snapshot


def pods(millicores: float, seed: int) -> list[PendingPod]:
    """Pods of a few sizes that together ask for so much."""
    chance, found = np.random.default_rng(seed), []
    while millicores > 0.0:
        cpu, memory = int(chance.choice(MILLICORES)), int(chance.choice(MEBIBYTES))
        millicores -= cpu
        requests = {"cpu": f"{cpu}m", "memory": f"{memory}Mi"}
        name = f"pod-{len(found)}"
        spec = {"containers": [{"name": "main", "image": "i", "resources": {"requests": requests}}]}
        demand = compile_pod({"metadata": {"name": name, "namespace": "default"}, "spec": spec})
        found.append(PendingPod(f"default/{name}", demand))
    return found


def rows(snapshot: Snapshot) -> Any:
    """Of the nodes that count."""
    return np.array(sorted(snapshot.rows.values()))


def drawn_watts(snapshot: Snapshot) -> float:
    """What the fleet draws by its models."""
    at = rows(snapshot)
    return float(
        snapshot.power.watts_at(at, snapshot.power.expected_millicores[at] / snapshot.allocatable[0, at]).sum()
    )


def least_watts(snapshot: Snapshot, millicores: float) -> float:
    """The least that any distribution of so much load draws."""
    at = rows(snapshot)
    envelopes = snapshot.power.tables.envelope[snapshot.power.curve[at]]
    steps = np.diff(envelopes, axis=1).ravel()
    sizes = np.repeat(snapshot.allocatable[0, at] / STEPS, STEPS)
    order = np.argsort(steps / sizes, kind="stable")
    before = np.cumsum(sizes[order]) - sizes[order]
    share = np.clip((millicores - before) / sizes[order], 0.0, 1.0)
    return float(envelopes[:, 0].sum() + (share * steps[order]).sum())


def compare(nodes: int, models: int, seed: int, load: float) -> list[Obj]:
    """A row for each policy; unequal work would show as pods left over."""
    found: list[Obj] = []
    for make in POLICIES:
        snapshot = fleet(nodes, models, seed)
        queue = pods(load * float(snapshot.allocatable[0, rows(snapshot)].sum()), seed)
        left_over = len(Placer(snapshot, make()).schedule(queue).rejections)
        watts = drawn_watts(snapshot)
        base = found[0]["watts"] if found else watts
        bound = least_watts(snapshot, float(snapshot.power.expected_millicores.sum()))
        found.append(
            {
                "seed": seed,
                "load": load,
                "policy": make.name,
                "watts": round(watts, 1),
                "saved_pct": round(100.0 * (1.0 - watts / base), 2),
                "most_saved_pct": round(100.0 * (1.0 - bound / base), 2),
                "pods": len(queue),
                "left_over": left_over,
            }
        )
    return found


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=215)
    parser.add_argument("--models", type=int, default=6)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--loads", default="0.15,0.3,0.5,0.7")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    found = []
    for seed in range(options.seeds):
        for load in (float(each) for each in options.loads.split(",")):
            found += compare(options.nodes, options.models, seed, load)
            if options.output == "table":
                show(found[-len(POLICIES) :], head=len(found) == len(POLICIES))
    if options.output == "json":
        print(json.dumps(found, indent=2))


def show(lines: list[Obj], *, head: bool) -> None:
    """Lines of the table."""
    if head:
        print(" ".join(f"{name.upper():>14}" for name in lines[0]))
    for line in lines:
        print(" ".join(f"{value!s:>14}" for value in line.values()), flush=True)


if __name__ == "__main__":
    main()
