"""`sparsam node hollow`: modelled nodes for any cluster."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from sparsam.cli.certificates import UNREACHED
from sparsam.cli.fleetfiles import open_fleet
from sparsam.cli.untiltold import until_told
from sparsam.errors import SparsamError

if TYPE_CHECKING:
    from sparsam.client.config import ClusterConfig


@click.command()
@click.option("--fleet", required=True, metavar="FLEET", help="A YAML file, or rise-N, mixed-N or uniform-N.")
@click.option(
    "--kubeconfig", type=click.Path(path_type=Path, dir_okay=False), help="The cluster [$KUBECONFIG, ~/.kube/config]."
)
@click.option("--remove", is_flag=True, help="Remove the fleet's nodes from the cluster, and end.")
def hollow(fleet: str, kubeconfig: Path | None, remove: bool) -> None:
    """Run modelled nodes: they register, keep their Leases, run pods in name only and draw modelled power.

    Each stands for a server with a power model. Its pods become Running at once and end after the seconds in their
    annotation sparsam.dev/run-seconds; its watts are in its NodePower object. To send one to sleep, or to let it fail:
    kubectl annotate node NAME power.sparsam.dev/desired-state=asleep (or failed, or awake).

    \b
    Examples:
      sparsam node hollow --fleet rise-215
      sparsam node hollow --fleet fleet.yaml --kubeconfig ~/.kube/config
      sparsam node hollow --fleet rise-215 --remove
    """
    found = open_fleet(fleet)
    cluster = _cluster(kubeconfig)
    try:
        with contextlib.suppress(KeyboardInterrupt), _progress(found.size, "remove" if remove else "register") as show:
            if remove:
                count = asyncio.run(_remove(cluster, found.name, show))
                click.echo(f"{count} nodes of {found.name} removed")
            else:
                asyncio.run(until_told(_run(cluster, found.name, found.node_objects(), show)))
    except* SparsamError as group:
        raise SparsamError(_first(group)) from group
    except* UNREACHED as group:
        raise SparsamError(f"the cluster at {cluster.server} does not answer: {_first(group)}") from group


def _first(group: BaseExceptionGroup[BaseException]) -> str:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__


async def _run(
    cluster: ClusterConfig, fleet: str, nodes: Sequence[Mapping[str, Any]], show: Callable[[int], None]
) -> None:
    from sparsam.hollow.main import HollowConfig, run

    def registering(count: int) -> None:
        show(count)
        if count == len(nodes):
            click.echo(f"{count} nodes of {fleet} run; Ctrl-C ends them", err=True)

    await run(HollowConfig(cluster, fleet, nodes), registering=registering)


async def _remove(cluster: ClusterConfig, fleet: str, show: Callable[[int], None]) -> int:
    from sparsam.client.api import ApiClient
    from sparsam.hollow.main import remove

    async with ApiClient(cluster) as client:
        return await remove(client, fleet, removing=show)


def _cluster(kubeconfig: Path | None) -> ClusterConfig:
    from sparsam.client.config import load_kubeconfig

    if kubeconfig is None and not os.environ.get("KUBECONFIG"):
        kubeconfig = Path.home() / ".kube" / "config"
    return load_kubeconfig(kubeconfig)


@contextlib.contextmanager
def _progress(total: int, what: str) -> Iterator[Callable[[int], None]]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)

        def show(count: int) -> None:
            bar.update(task, completed=count)
            if count == total:
                bar.stop()

        yield show
