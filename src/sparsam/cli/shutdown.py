"""`sparsam node shutdown`: this machine's nodes end their pods in order, before the machine goes."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import click

from sparsam.cli.nodes import local_nodes
from sparsam.cli.output import step
from sparsam.cli.serve import data_dir_option
from sparsam.cli.supervisor import read_state
from sparsam.errors import SparsamError
from sparsam.settings import NodeSettings, Settings, read_settings

POLL_SECONDS = 0.1
SLACK_SECONDS = 30.0


class ShutdownError(SparsamError):
    """The node does not go down; the message says why."""


@click.command()
@click.argument("names", metavar="[NODE]...", nargs=-1)
@click.option("--cancel", is_flag=True, help="Stay after all; what has ended stays ended.")
@data_dir_option
def shutdown(names: tuple[str, ...], cancel: bool, data_dir: Path) -> None:
    """End the pods of this machine's nodes in order, critical ones last, and take the nodes out of service.

    The nodes stay out until they are started again. Where systemd's logind runs, a shutdown of the machine does this
    by itself.

    \b
    Example:
      sparsam node shutdown && sparsam down && systemctl poweroff
    """
    settings = read_settings(data_dir / "cluster.json")
    nodes = _chosen(settings, names)
    for node in nodes:
        _tell(settings, node, signal.SIGUSR2 if cancel else signal.SIGUSR1)
    if cancel:
        return
    for node in nodes:
        with step(f"end the pods of {node.name}"):
            left = _wait(settings, node)
        if left:
            click.echo(f"{left} pods of {node.name} did not end in time", err=True)


def _chosen(settings: Settings, names: tuple[str, ...]) -> list[NodeSettings]:
    known = {node.name: node for node in local_nodes(settings)}
    for name in names:
        if name not in known:
            raise ShutdownError(f"this machine has no node {name!r}; it has {', '.join(known)}")
    return [known[name] for name in names] or list(known.values())


def _tell(settings: Settings, node: NodeSettings, number: signal.Signals) -> None:
    state = read_state(settings.run_path)
    pid = state.children.get(f"node-{node.name}") if state else None
    if pid is None:
        raise ShutdownError(f"node {node.name} does not run")
    _state_file(settings, node).unlink(missing_ok=True)
    os.kill(pid, number)


def _wait(settings: Settings, node: NodeSettings) -> int:
    """Wait until the node says that it may go; how many pods are left."""
    limit = settings.shutdown_grace_period + SLACK_SECONDS
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        state = _read(_state_file(settings, node))
        if state.get("ended"):
            return int(state["podsLeft"])
        time.sleep(POLL_SECONDS)
    raise ShutdownError(f"node {node.name} does not say that it may go after {limit:.0f} s; see its log")


def _state_file(settings: Settings, node: NodeSettings) -> Path:
    from sparsam.agent.shutdown import STATE_FILE

    return settings.data_path / "nodes" / node.name / STATE_FILE


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found
