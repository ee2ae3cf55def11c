"""`sparsam top nodes|pods`: live CPU, memory and watts, each labelled measured or estimated."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from sparsam.cli.output import emit, output_option, plain_table
from sparsam.errors import SparsamError
from sparsam.hollow.objects import LABEL as HOLLOW_LABEL
from sparsam.objects.kinds import NODEPOWERS, NODES
from sparsam.power.attribution import Node, Use, attribute
from sparsam.power.nodemodel import error_ratio, node_model
from sparsam.settings import DEFAULT_DATA_DIR
from sparsam.units import parse_bytes, parse_millicores

if TYPE_CHECKING:
    from sparsam.client.api import ApiClient

REFRESH_SECONDS = 2.0
MOST_NAMED = 3
Json = dict[str, Any]


PARTS = {"idle": "idleWatts", "system": "systemWatts", "unattributed": "unattributedWatts"}


@dataclass(frozen=True, slots=True)
class Usage:
    """One line of `top`. All lines of a node's pods and parts together have the node's watts."""

    kind: str
    """node, pod, or the part of a node that is no pod's: idle, system, unattributed."""
    namespace: str
    name: str
    node: str
    cpu_millicores: float
    memory_bytes: int
    watts: float | None
    provenance: str
    error_ratio: float | None
    watts_source: str
    requests_per_second: float | None = None
    joules_per_request: float | None = None
    """Energy of the pod's load for each request that its own counter tells; None without a counter or requests."""


@dataclass(frozen=True, slots=True)
class NodeView:
    """What a node's agent says of itself: `/stats/summary`, and `/power` where the agent is ours."""

    node: Json
    summary: Json
    power: Json

    @property
    def name(self) -> str:
        """The node's name."""
        return str(self.node["metadata"]["name"])

    def node_usage(self) -> list[Usage]:
        """The node's line."""
        stats = self.summary["node"]
        return [self._line("node", "", self.name, stats, self.power.get("watts"))]

    def pod_usages(self) -> list[Usage]:
        """The lines of the node's pods, then of the parts that are no pod's."""
        powers = {pod["uid"]: pod for pod in self.power.get("pods", ())}
        lines = []
        for pod in self.summary.get("pods", []):
            reference = pod["podRef"]
            power = powers.get(reference["uid"], {})
            line = self._line("pod", reference["namespace"], reference["name"], pod, power.get("watts"))
            requests = power.get("requests", {})
            lines.append(
                replace(
                    line,
                    requests_per_second=requests.get("perSecond"),
                    joules_per_request=requests.get("joulesPerRequest"),
                )
            )
        parts = ((part, self.power.get(field)) for part, field in PARTS.items())
        return lines + [self._line(part, "", f"({part})", {}, value) for part, value in parts if value is not None]

    def _line(self, kind: str, namespace: str, name: str, stats: Json, watts: float | None) -> Usage:
        return Usage(
            kind,
            namespace,
            name,
            self.name,
            _millicores(stats),
            _memory(stats),
            watts,
            self.power.get("provenance", ""),
            self.power.get("errorRatio"),
            _source(self.power),
        )


def estimated_power(node: Json, summary: Json) -> Json:
    """What `/power` would say, from CPU use and the node's model, for an agent that does not meter."""
    cores = _cores(node)
    model = node_model(node["metadata"].get("annotations") or {}, cores)
    load = min(_millicores(summary["node"]) / 1000.0 / cores, 1.0)
    uses = {pod["podRef"]["uid"]: _millicores(pod) / 1000.0 for pod in summary.get("pods", [])}
    system = max(load * cores - sum(uses.values()), 0.0)
    whole = Node(model.watts(load), model.idle_watts, system_cpu_seconds=system)
    parted = attribute(whole, Use.of_cpu(list(uses.values())))
    watts = zip(uses, parted.consumer_watts.tolist(), strict=True)
    return {
        "watts": round(whole.watts, 3),
        "idleWatts": round(parted.idle_watts, 3),
        "systemWatts": round(parted.system_watts, 3),
        "unattributedWatts": round(parted.unattributed_watts, 3),
        "provenance": "estimated",
        "errorRatio": error_ratio(model, load),
        "source": "model",
        "note": f"the node's agent does not meter; model: {model.source}",
        "pods": [{"uid": uid, "watts": round(share, 3)} for uid, share in watts],
    }


@click.group()
def top() -> None:
    """Show CPU, memory and watts of nodes or pods.

    \b
    Examples:
      sparsam top nodes
      sparsam top pods -n default --watch
      sparsam top pods -o json
    """


def _options(function: Any) -> Any:
    kubeconfig = click.option(
        "--kubeconfig",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Cluster to look at [$KUBECONFIG, else this machine's].",
    )
    watch = click.option("--watch", "-w", is_flag=True, help="Refresh every two seconds until Ctrl-C.")
    return kubeconfig(watch(output_option(function)))


@top.command()
@_options
def nodes(kubeconfig: Path | None, watch: bool, output: str) -> None:
    """Nodes, with the watts of the whole server."""
    _show(kubeconfig, watch, output, NodeView.node_usage, _node_table)


@top.command()
@click.option("--namespace", "-n", help="Only this namespace.")
@_options
def pods(kubeconfig: Path | None, watch: bool, output: str, namespace: str | None) -> None:
    """Pods with the watts of their load, and without -n the parts of each node that are no pod's.

    Pods that export a counter of requests show the joules for each of them.
    """

    def lines(view: NodeView) -> list[Usage]:
        return [usage for usage in view.pod_usages() if namespace in (None, usage.namespace)]

    _show(kubeconfig, watch, output, lines, _pod_table)


def _show(
    kubeconfig: Path | None,
    watch: bool,
    output: str,
    lines: Callable[[NodeView], list[Usage]],
    table: Callable[[list[Usage]], Table],
) -> None:
    data_dir = Path(os.environ.get("SPARSAM_DATA_DIR") or DEFAULT_DATA_DIR)
    path = kubeconfig or Path(os.environ.get("KUBECONFIG") or data_dir / "kubeconfig")

    def collect() -> list[Usage]:
        return sorted(
            asyncio.run(_collect(path, lines)), key=lambda usage: (usage.kind != "pod", usage.namespace, usage.name)
        )

    if not watch:
        usages = collect()
        emit([asdict(usage) for usage in usages], output, lambda: table(usages))
        return
    with Live(table(collect()), console=Console(highlight=False), auto_refresh=False) as live:
        try:
            while True:
                time.sleep(REFRESH_SECONDS)
                live.update(table(collect()), refresh=True)
        except KeyboardInterrupt:
            return


async def _collect(path: Path, lines: Callable[[NodeView], list[Usage]]) -> list[Usage]:
    from sparsam.client.api import ApiClient
    from sparsam.client.config import load_kubeconfig

    async with ApiClient(load_kubeconfig(path)) as client:
        found = (await client.list(NODES))["items"]
        modelled = [node for node in found if HOLLOW_LABEL in (node["metadata"].get("labels") or {})]
        powers = (
            {each["metadata"]["name"]: each for each in (await client.list(NODEPOWERS))["items"]} if modelled else {}
        )
        views = [hollow_view(node, powers.get(node["metadata"]["name"], {})) for node in modelled]
        real = [node for node in found if node not in modelled]
        asked = await asyncio.gather(*(_view(client, node) for node in real))
    silent = [each for each in asked if isinstance(each, str)]
    if silent:
        more = f" (and {len(silent) - 1} more)" if len(silent) > 1 else ""
        click.echo(f"{silent[0]}{more}", err=True)
    views += [each for each in asked if isinstance(each, NodeView)]
    return [usage for view in views for usage in lines(view)]


def hollow_view(node: Json, power: Json) -> NodeView:
    """A modelled node, which has no agent to ask: what its NodePower says."""
    status = power.get("status") or {}
    cpu = {"usageNanoCores": 1e9 * status.get("utilization", 0.0) * _cores(node)}
    pods = [
        {
            "podRef": {name: pod[name] for name in ("namespace", "name", "uid")},
            "cpu": {"usageNanoCores": 1e9 * pod.get("cpuCores", 0.0)},
        }
        for pod in status.get("pods", ())
    ]
    return NodeView(node, {"node": {"cpu": cpu}, "pods": pods}, status)


async def _view(client: ApiClient, node: Json) -> NodeView | str:
    """What a node says, or why its agent does not answer."""
    name = node["metadata"]["name"]
    try:
        summary = await client.get_json(NODES.path(name, subresource="proxy/stats/summary"))
    except (SparsamError, OSError) as error:
        return f"node {name}: no statistics: {error}"
    try:
        power = await client.get_json(NODES.path(name, subresource="proxy/power"))
    except (SparsamError, OSError):
        power = estimated_power(node, summary)
    return NodeView(node, summary, power)


def _cores(node: Json) -> float:
    return max(parse_millicores(node["status"].get("capacity", {}).get("cpu", "1")) / 1000.0, 1.0)


def _millicores(stats: Json) -> float:
    return round(float(stats.get("cpu", {}).get("usageNanoCores", 0)) / 1e6, 1)


def _memory(stats: Json) -> int:
    return parse_bytes(stats.get("memory", {}).get("workingSetBytes", 0))


def _source(power: Json) -> str:
    return "; ".join(filter(None, [power.get("source", ""), power.get("note", "")]))


def _node_table(usages: list[Usage]) -> Table:
    rows = [[u.name, *_figures(u)] for u in usages]
    return _with_sources(plain_table(("NAME", "CPU", "MEMORY", "WATTS"), rows), usages)


def _pod_table(usages: list[Usage]) -> Table:
    heads: tuple[str, ...] = ("NAMESPACE", "NAME", "NODE", "CPU", "MEMORY", "WATTS")
    rows = [[u.namespace, u.name, u.node, *_figures(u)] for u in usages]
    if any(usage.requests_per_second is not None for usage in usages):
        heads = (*heads, "REQUESTS/S", "J/REQUEST")
        rows = [[*row, *_requests(usage)] for row, usage in zip(rows, usages, strict=True)]
    return _with_sources(plain_table(heads, rows), usages)


def _requests(usage: Usage) -> tuple[str, str]:
    if usage.requests_per_second is None:
        return "", ""
    each = "-" if usage.joules_per_request is None else f"{usage.joules_per_request:.3g} ({usage.provenance})"
    return f"{usage.requests_per_second:.1f}", each


def _figures(usage: Usage) -> tuple[str, str, str]:
    if usage.kind not in ("node", "pod"):
        return "", "", _watts(usage)
    return f"{usage.cpu_millicores:.0f}m", f"{usage.memory_bytes >> 20}Mi", _watts(usage)


def _watts(usage: Usage) -> str:
    if usage.watts is None:
        return "-"
    error = "" if usage.error_ratio is None else f" ±{usage.error_ratio:.0%}"
    return f"{usage.watts:.2f} ({usage.provenance}{error})"


def _with_sources(table: Table, usages: list[Usage]) -> Table:
    """Where the watts come from, below the table: it is too long for a column."""
    nodes_by_source: dict[str, list[str]] = {}
    for usage in usages:
        nodes = nodes_by_source.setdefault(usage.watts_source, [])
        if usage.node not in nodes[-1:]:
            nodes.append(usage.node)
    table.caption = "\n".join(f"watts of {_some(nodes)}: {source}" for source, nodes in nodes_by_source.items())
    table.caption_justify = "left"
    return table


def _some(names: list[str]) -> str:
    known = list(dict.fromkeys(names))
    return ", ".join(known) if len(known) <= MOST_NAMED else f"{known[0]} and {len(known) - 1} more"
