"""The recorded decisions of a real kube-scheduler, and our scheduling core before the same clusters."""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from sparsam.scheduling.demand import compile_pod
from sparsam.scheduling.placement import PendingPod, Placer
from sparsam.scheduling.policy import KubeDefault
from sparsam.scheduling.preemption import Budgets
from sparsam.scheduling.snapshot import Snapshot
from sparsam.scheduling.view import FULL

Obj = dict[str, Any]

DATA = Path(os.environ.get("SPARSAM_DATA") or Path(__file__).parents[2].parent / "shared" / "data")
DECISIONS, PREEMPTIONS = DATA / "scheduler_decisions.jsonl.gz", DATA / "scheduler_preemptions.jsonl.gz"
NAMESPACES = {"ns-a": {"team": "x"}, "ns-b": {"team": "y"}}


@dataclass(frozen=True, slots=True)
class Step:
    """One pod before one cluster, and what kube-scheduler made of it."""

    cluster: int
    number: int
    placer: Placer
    pod: Obj
    recorded: Obj

    @property
    def pending(self) -> PendingPod:
        """The pod as our core takes it."""
        return pending(self.pod)

    def plugin_scores(self) -> dict[str, dict[str, int]]:
        """Our weighted scores by plugin, for the nodes that the recording scores."""
        view, snapshot = self.placer.view(self.pending), self.placer.snapshot
        weighted = {name: values.astype(int) * weight for name, weight, values in view.plugin_scores()}
        weights = view.assessment.profile.weights
        found = {}
        for name, scores in self.recorded["plugin_scores"].items():
            # A plugin that tells no nodes apart: taints count in full, everything else as nothing.
            flat = FULL * weights[name] if name == "TaintToleration" else 0
            values = weighted.get(name)
            found[name] = {
                node: flat if values is None else int(values[snapshot.rows[node]]) for node in scores
            }  # fmt: skip
        return found

    def feasible(self) -> set[str]:
        """Names of the nodes that we would allow."""
        view = self.placer.view(self.pending)
        return {name for name, row in self.placer.snapshot.rows.items() if view.feasible[row]}


def pending(pod: Obj) -> PendingPod:
    """A recorded pod as our core takes it."""
    metadata, spec = pod["metadata"], pod["spec"]
    return PendingPod(
        f"{metadata['namespace']}/{metadata['name']}",
        compile_pod(pod),
        priority=spec.get("priority", 0),
        preempts=spec.get("preemptionPolicy") != "Never",
    )


def clusters(path: Path) -> Iterator[Obj]:
    """The lines of a recording."""
    with gzip.open(path) as lines:
        for line in lines:
            yield msgspec.json.decode(line)


def placer_for(cluster: Obj, started: dict[str, str] | None = None) -> Placer:
    """Our core before a recorded cluster; `started` gives pods a start time by name."""
    snapshot, budgets = Snapshot(), Budgets()
    for name, labels in NAMESPACES.items():
        snapshot.population.set_namespace(name, {**labels, "kubernetes.io/metadata.name": name})
    for node in cluster["nodes"]:
        snapshot.set_node(node)
    for pod in cluster["bound"]:
        status = {"startTime": started[pod["metadata"]["name"]]} if started else {}
        snapshot.set_pod({**pod, "status": status})
    for service in cluster["services"]:
        snapshot.set_selector({**service, "kind": "Service"})
    for budget in cluster.get("pdbs", ()):
        budgets.put(budget)
    return Placer(snapshot, KubeDefault(), budgets=budgets)


def steps(path: Path, every: int = 1) -> Iterator[Step]:
    """Each recorded step before the cluster as it was then; pods go where kube-scheduler put them."""
    for place, cluster in enumerate(clusters(path)):
        if place % every:
            continue
        placer = placer_for(cluster)
        for number, recorded in enumerate(cluster["steps"]):
            pod = recorded["pod"]
            yield Step(cluster["id"], number, placer, pod, recorded)
            placer.snapshot.remove_pod(pending(pod).key)
            if recorded["node"]:
                placer.snapshot.set_pod({**pod, "spec": {**pod["spec"], "nodeName": recorded["node"]}})
