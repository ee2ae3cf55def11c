"""`sparsam status` and `sparsam kubeconfig`: what runs on this machine, and how to reach it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from sparsam.cli.bootstrap import api_is_ready, nodes_not_ready
from sparsam.cli.nodes import local_nodes
from sparsam.cli.output import emit, output_option, plain_table
from sparsam.cli.serve import data_dir_option
from sparsam.cli.supervisor import read_state
from sparsam.errors import SparsamError
from sparsam.settings import Settings, read_settings


@click.command()
@data_dir_option
@output_option
def status(data_dir: Path, output: str) -> None:
    """Show the processes and nodes of the cluster on this machine; exits with 1 when something is down.

    \b
    Examples:
      sparsam status
      sparsam status -o json
    """
    settings = read_settings(data_dir / "cluster.json")
    seen = _look(settings)
    emit(seen, output, lambda: _table(seen))
    if not seen["healthy"]:
        raise SystemExit(1)


@click.command()
@data_dir_option
@click.option("--raw", is_flag=True, help="Print the file's content instead of its path.")
def kubeconfig(data_dir: Path, raw: bool) -> None:
    """Print the path of the administrator's kubeconfig.

    \b
    Example:
      export KUBECONFIG=$(sparsam kubeconfig)
    """
    settings = read_settings(data_dir / "cluster.json")
    click.echo(settings.kubeconfig.read_text() if raw else str(settings.kubeconfig), nl=not raw)


def _look(settings: Settings) -> dict[str, Any]:
    state = read_state(settings.run_path)
    processes: list[dict[str, Any]] = []
    if state:
        processes.append({"name": "supervisor", "pid": state.pid, "restarts": 0, **_usage(state.pid)})
        processes += [
            {"name": name, "pid": pid, "restarts": state.restarts.get(name, 0), **_usage(pid)}
            for name, pid in state.children.items()
        ]
    api_ready = state is not None and bool(settings.server or "api" in settings.part_list) and api_is_ready(settings)
    nodes = {node.name: False for node in local_nodes(settings)} if "node" in settings.part_list else {}
    if api_ready and nodes:
        nodes = {name: name not in _not_ready(settings, set(nodes)) for name in nodes}
    return {
        "server": settings.server_url,
        "running": state is not None,
        "apiReady": api_ready,
        "nodes": [{"name": name, "ready": ready} for name, ready in nodes.items()],
        "processes": processes,
        "healthy": state is not None and all(nodes.values()) and (api_ready or "api" not in settings.part_list),
    }


def _not_ready(settings: Settings, names: set[str]) -> set[str]:
    try:
        return asyncio.run(nodes_not_ready(settings, names))
    except (SparsamError, OSError):
        return names


def _usage(pid: int) -> dict[str, Any]:
    """Resident megabytes and CPU seconds of a process, from /proc; zero when it has just gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, IndexError):
        return {"residentMb": 0.0, "cpuSeconds": 0.0}
    ticks = int(fields[11]) + int(fields[12])
    resident_bytes = pages * os.sysconf("SC_PAGE_SIZE")
    return {"residentMb": round(resident_bytes / 1e6, 1), "cpuSeconds": round(ticks / os.sysconf("SC_CLK_TCK"), 2)}


def _table(seen: dict[str, Any]) -> Table:
    rows = [
        [
            each["name"],
            "running",
            str(each["pid"]),
            str(each["restarts"]),
            f"{each['residentMb']} MB",
            f"{each['cpuSeconds']} s",
        ]
        for each in seen["processes"]
    ]
    rows += [
        [f"node {each['name']}", "Ready" if each["ready"] else "NotReady", "", "", "", ""] for each in seen["nodes"]
    ]
    rows.append([seen["server"], "ready" if seen["apiReady"] else "not ready", "", "", "", ""])
    return plain_table(("NAME", "STATUS", "PID", "RESTARTS", "RESIDENT", "CPU TIME"), rows)
