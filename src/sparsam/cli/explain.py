"""`sparsam explain pod/NAME`: why a pod is where it is, or what keeps it waiting."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Group
from rich.table import Table
from rich.text import Text

from sparsam.cli.output import emit, output_option, plain_table
from sparsam.errors import NotFound, SparsamError
from sparsam.settings import DEFAULT_DATA_DIR

if TYPE_CHECKING:
    from sparsam.client.api import ApiClient
    from sparsam.scheduling.plan import Bind, Rejection
    from sparsam.scheduling.view import View

Json = dict[str, Any]


class ExplainError(SparsamError):
    """There is nothing to explain; the message says why."""


@click.command()
@click.argument("pod", metavar="pod/NAME")
@click.option("-n", "--namespace", default="default", show_default=True, help="The pod's namespace.")
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Cluster to ask [$KUBECONFIG, else this machine's cluster].",
)
@output_option
def explain(pod: str, namespace: str, kubeconfig: Path | None, output: str) -> None:
    """Tell why a pod was put on its node, or what keeps it from every node.

    Of a pod that runs: the node and the next best ones with watts and scores, how many nodes each filter refused, and
    the constraint that kept it from a node of fewer watts. Of a pod that waits: what would make it fit.

    \b
    Examples:
      sparsam explain pod/web-7d9c6 -n shop
      sparsam explain pod/web-7d9c6 -o json
    """
    kind, _, name = pod.rpartition("/")
    if kind not in ("", "pod", "pods", "po"):
        raise ExplainError(f"{pod}: only pods are explained, such as pod/web")
    found = asyncio.run(_explain(_kubeconfig(kubeconfig), namespace, name))
    emit(found, output, lambda: _placed_table(found) if found["node"] else _waiting_table(found))


def _kubeconfig(given: Path | None) -> Path:
    data_dir = Path(os.environ.get("SPARSAM_DATA_DIR") or DEFAULT_DATA_DIR)
    path = given or Path(os.environ.get("KUBECONFIG") or data_dir / "kubeconfig")
    if not path.exists():
        raise ExplainError(f"no cluster: {path} does not exist; start one with sparsam up, or name a --kubeconfig")
    return path


async def _explain(kubeconfig: Path, namespace: str, name: str) -> Json:
    from sparsam.client.api import ApiClient
    from sparsam.client.config import load_kubeconfig
    from sparsam.controllers.scheduling.writing import PLACEMENT_ANNOTATION, SHADOW_ANNOTATION
    from sparsam.objects.kinds import PODS

    async with ApiClient(load_kubeconfig(kubeconfig)) as client:
        pod = await client.get(PODS, name, namespace)
        node = pod["spec"].get("nodeName")
        if not node:
            return await _waiting(client, pod)
        annotations = pod["metadata"].get("annotations") or {}
        if PLACEMENT_ANNOTATION not in annotations:
            raise ExplainError(f"{namespace}/{name} runs on {node}, but another scheduler put it there")
        found = {"pod": f"{namespace}/{name}", **json.loads(annotations[PLACEMENT_ANNOTATION])}
        if SHADOW_ANNOTATION in annotations:
            found["shadow"] = json.loads(annotations[SHADOW_ANNOTATION])
        return found


async def _waiting(client: ApiClient, pod: Json) -> Json:
    """Decide anew for a pod that waits, from the cluster as it is."""
    from sparsam.controllers.scheduling.feed import NEEDED, POWER, Feed
    from sparsam.controllers.scheduling.placers import DEFAULT_NAMES, Placers
    from sparsam.controllers.scheduling.writing import key_of
    from sparsam.scheduling.demand import compile_pod
    from sparsam.scheduling.placement import PendingPod
    from sparsam.scheduling.preemption import Budgets
    from sparsam.scheduling.snapshot import Snapshot

    if gates := pod["spec"].get("schedulingGates"):
        names = ", ".join(gate["name"] for gate in gates)
        return {"pod": key_of(pod), "node": None, "message": f"waits for scheduling gates: {names}", "remedies": []}
    snapshot, budgets = Snapshot(), Budgets()
    placers = Placers(snapshot, budgets)
    feed = Feed(snapshot, budgets, placers)
    for resource in (*NEEDED, *POWER):
        try:
            listed = await client.list(resource)
        except NotFound:
            continue
        for obj in listed["items"]:
            feed.take(resource, "ADDED", obj)
    # By the profile that pods have when they name none, so that pods of other schedulers are explained too.
    placer = placers.choose({**pod, "spec": {**pod["spec"], "schedulerName": DEFAULT_NAMES[0]}}).placer
    try:
        pending = PendingPod(key_of(pod), compile_pod(pod), pod["spec"].get("priority") or 0)
    except ValueError as error:
        raise ExplainError(f"{key_of(pod)} cannot be read: {error}") from error
    return _told(placer.consider(pending), placer.view(pending))


def _told(decision: Bind | Rejection, view: View) -> Json:
    from sparsam.scheduling.explain import remedies
    from sparsam.scheduling.plan import Bind

    if isinstance(decision, Bind):
        message = f"waits for the scheduler; {decision.reason}"
        return {"pod": decision.pod, "node": None, "message": message, "rejected": {}, "remedies": []}
    found: Json = {
        "pod": decision.pod,
        "node": None,
        "message": decision.message,
        "rejected": dict(decision.counts),
        "remedies": [
            {"change": each.change, "nodes": list(each.nodes), "plugin": each.plugin} for each in remedies(view)
        ],
    }
    if decision.preempt is not None:
        found["preemption"] = {"node": decision.preempt.node, "victims": list(decision.preempt.victims)}
    return found


def _placed_table(found: Json) -> Any:
    rows = [
        (each["node"], _watts(each["wattsDelta"]), f"{each['score']:g}", _parts(each["parts"]))
        for each in found["ranked"]
    ]
    parts: list[Any] = [
        Text(f"{found['pod']} runs on {found['node']} (policy {found['policy']}): {found['reason']}\n"),
        plain_table(("NODE", "WATTS", "SCORE", "MADE OF"), rows),
    ]
    if found["rejected"]:
        parts += [Text(), _counts(found["rejected"])]
    if blocked := found.get("blocked"):
        saved = f"{blocked['wattsSaved']:g} W fewer on {blocked['node']}"
        parts.append(Text(f"\n{saved}, but: {blocked['constraint']}"))
    if shadow := found.get("shadow"):
        parts.append(Text(f"\nin shadow, {shadow['policy']} would have chosen {shadow['node']}: {shadow['reason']}"))
    return Group(*parts)


def _waiting_table(found: Json) -> Any:
    parts: list[Any] = [Text(f"{found['pod']} waits: {found['message']}")]
    if found["remedies"]:
        rows = [(str(len(each["nodes"])), _some(each["nodes"]), each["change"]) for each in found["remedies"]]
        parts += [Text("\nany of these would make it fit:"), plain_table(("NODES", "WHICH", "CHANGE"), rows)]
    elif found.get("rejected"):
        parts.append(Text("\nno single change would make it fit: every node is refused for two reasons or more"))
    if preemption := found.get("preemption"):
        victims = ", ".join(preemption["victims"])
        parts.append(Text(f"\nroom can be made on {preemption['node']} by ending {victims}"))
    return Group(*parts)


def _counts(counts: Json) -> Table:
    return plain_table(("NODES", "REFUSED BECAUSE"), [(str(count), reason) for reason, count in counts.items()])


def _watts(watts: float | None) -> str:
    return "-" if watts is None else f"{watts:+g}"


def _parts(parts: Json) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in parts.items())


def _some(nodes: list[str], most: int = 3) -> str:
    return ", ".join(nodes[:most]) + (", ..." if len(nodes) > most else "")
