"""`sparsam top nodes|pods`: live CPU, memory and watts, each labelled measured or estimated."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.live import Live
from rich.table import Table

from sparsam.cli.output import emit, output_option, plain_table
from sparsam.errors import SparsamError
from sparsam.objects.kinds import NODES
from sparsam.power.server import ServerPower, from_annotations
from sparsam.settings import DEFAULT_DATA_DIR
from sparsam.units import parse_bytes, parse_millicores

if TYPE_CHECKING:
    from sparsam.client.api import ApiClient

REFRESH_SECONDS = 2.0
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Usage:
    """One line of `top`. For a node, watts are the whole server's; for a pod, its share of the dynamic watts."""

    namespace: str
    name: str
    node: str
    cpu_millicores: float
    memory_bytes: int
    watts: float | None
    watts_source: str


def node_usage(node: Json, summary: Json) -> Usage:
    """A node's line from its Node object and its agent's `/stats/summary`."""
    name, power, cores = node["metadata"]["name"], _power(node), _cores(node)
    cpu = _millicores(summary["node"])
    watts = power.watts(cpu / 1000.0 / cores)
    return Usage("", name, name, cpu, _memory(summary["node"]), round(watts, 1), _label(power))


def pod_usages(node: Json, summary: Json) -> list[Usage]:
    """The lines of a node's pods. Idle watts belong to no pod: they are drawn without them."""
    power, cores = _power(node), _cores(node)
    dynamic_watts_per_core = (power.max_watts - power.idle_watts) / cores
    lines = []
    for pod in summary.get("pods", []):
        cpu = _millicores(pod)
        reference = pod["podRef"]
        watts = round(dynamic_watts_per_core * cpu / 1000.0, 2)
        where = node["metadata"]["name"]
        lines.append(Usage(reference["namespace"], reference["name"], where, cpu, _memory(pod), watts, _label(power)))
    return lines


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
    _show(kubeconfig, watch, output, lambda node, summary: [node_usage(node, summary)], _node_table)


@top.command()
@click.option("--namespace", "-n", help="Only this namespace.")
@_options
def pods(kubeconfig: Path | None, watch: bool, output: str, namespace: str | None) -> None:
    """Pods, with their share of the servers' dynamic watts."""

    def lines(node: Json, summary: Json) -> list[Usage]:
        return [usage for usage in pod_usages(node, summary) if namespace in (None, usage.namespace)]

    _show(kubeconfig, watch, output, lines, _pod_table)


def _show(
    kubeconfig: Path | None,
    watch: bool,
    output: str,
    lines: Callable[[Json, Json], list[Usage]],
    table: Callable[[list[Usage]], Table],
) -> None:
    path = kubeconfig or Path(os.environ.get("KUBECONFIG") or DEFAULT_DATA_DIR / "kubeconfig")

    def collect() -> list[Usage]:
        return sorted(asyncio.run(_collect(path, lines)), key=lambda usage: (usage.namespace, usage.name))

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


async def _collect(path: Path, lines: Callable[[Json, Json], list[Usage]]) -> list[Usage]:
    from sparsam.client.api import ApiClient
    from sparsam.client.config import load_kubeconfig

    async with ApiClient(load_kubeconfig(path)) as client:
        found = (await client.list(NODES))["items"]
        summaries = await asyncio.gather(*(_summary(client, node["metadata"]["name"]) for node in found))
    return [usage for node, summary in zip(found, summaries, strict=True) if summary for usage in lines(node, summary)]


async def _summary(client: ApiClient, name: str) -> Json | None:
    """A node's statistics, or None (said on stderr) when its agent does not answer."""
    try:
        return await client.get_json(NODES.path(name, subresource="proxy/stats/summary"))
    except (SparsamError, OSError) as error:
        click.echo(f"node {name}: no statistics: {error}", err=True)
        return None


def _power(node: Json) -> ServerPower:
    return from_annotations(node["metadata"].get("annotations", {}), _cores(node))


def _cores(node: Json) -> float:
    return max(parse_millicores(node["status"].get("capacity", {}).get("cpu", "1")) / 1000.0, 1.0)


def _millicores(stats: Json) -> float:
    return round(float(stats.get("cpu", {}).get("usageNanoCores", 0)) / 1e6, 1)


def _memory(stats: Json) -> int:
    return parse_bytes(stats.get("memory", {}).get("workingSetBytes", 0))


def _label(power: ServerPower) -> str:
    return f"estimated from CPU; {power.source}"


def _node_table(usages: list[Usage]) -> Table:
    rows = [[u.name, *_figures(u)] for u in usages]
    return _with_sources(plain_table(("NAME", "CPU", "MEMORY", "WATTS"), rows), usages)


def _pod_table(usages: list[Usage]) -> Table:
    rows = [[u.namespace, u.name, u.node, *_figures(u)] for u in usages]
    return _with_sources(plain_table(("NAMESPACE", "NAME", "NODE", "CPU", "MEMORY", "WATTS"), rows), usages)


def _figures(usage: Usage) -> tuple[str, str, str]:
    watts = "-" if usage.watts is None else f"{usage.watts:g} ({usage.watts_source.split()[0]})"
    return f"{usage.cpu_millicores:.0f}m", f"{usage.memory_bytes >> 20}Mi", watts


def _with_sources(table: Table, usages: list[Usage]) -> Table:
    """Where the watts come from, below the table: it is too long for a column."""
    table.caption = "\n".join(dict.fromkeys(f"watts: {usage.watts_source}" for usage in usages))
    table.caption_justify = "left"
    return table
