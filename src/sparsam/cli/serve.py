"""`sparsam serve PART`: one long-running process of a cluster, as the supervisor starts it."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import click

from sparsam.cli.nodes import local_node, local_nodes, public_host
from sparsam.cli.supervisor import Child, Supervisor
from sparsam.cli.untiltold import until_told
from sparsam.settings import DEFAULT_DATA_DIR, NodeSettings, Settings, read_settings

PR_SET_PDEATHSIG = 1
RETRY_SECONDS = 300.0
SETTLE_SECONDS = 5.0
"""Certificates can wait while a node starts."""

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    default=DEFAULT_DATA_DIR,
    show_default=True,
    envvar="SPARSAM_DATA_DIR",
    help="Where the cluster's data lives.",
)


@click.group()
def serve() -> None:
    """Run one part of a cluster in the foreground (`sparsam up` starts these)."""


@serve.command()
@data_dir_option
def supervisor(data_dir: Path) -> None:
    """Start every part that the cluster's settings name, and keep them running."""
    settings = read_settings(data_dir / "cluster.json")
    asyncio.run(make_supervisor(settings).run())


@serve.command()
@data_dir_option
def api(data_dir: Path) -> None:
    """Run the API server."""
    settings = read_settings(data_dir / "cluster.json")

    def start() -> Coroutine[Any, Any, None]:
        from sparsam.apiserver.config import ApiServerConfig
        from sparsam.apiserver.main import run

        listen = [(settings.listen, settings.port)]
        if "node" in settings.part_list:
            covered = {"0.0.0.0": (4,), "::": (4, 6)}.get(settings.listen, ())
            own = [each for each in settings.machine_ips if ip_address(each).version not in covered]
            listen += [(each, settings.port) for each in own]
        # Pods of other machines' nodes follow it too.
        host = public_host(settings) or (settings.machine_ip if "node" in settings.part_list else settings.listen)
        tokens = settings.data_path / "tokens.csv"
        config = ApiServerConfig(
            data_dir=settings.data_path / "store",
            listen=tuple(listen),
            pki_dir=settings.pki_dir,
            service_cidrs=settings.service_cidrs,
            cluster_domain=settings.cluster_domain,
            token_file=tokens if tokens.exists() else None,
            advertise=(host, settings.port),
        )
        return run(config)

    _serve(start)


@serve.command()
@data_dir_option
def control(data_dir: Path) -> None:
    """Run the controllers and the scheduler."""
    settings = read_settings(data_dir / "cluster.json")

    def start() -> Coroutine[Any, Any, None]:
        from sparsam.client.config import load_kubeconfig
        from sparsam.controllers.main import ControllersConfig, run

        authority = settings.pki_dir / "ca.crt", settings.pki_dir / "ca.key"
        certificate, key = authority if all(path.exists() for path in authority) else (None, None)
        return run(
            ControllersConfig(
                client=load_kubeconfig(settings.data_path / "control.kubeconfig"),
                scheduler_client=load_kubeconfig(settings.data_path / "scheduler.kubeconfig"),
                signing_certificate=certificate,
                signing_key=key,
                load_balancer_cidrs=settings.balancer_cidrs,
                listen=("127.0.0.1", settings.scheduler_port) if settings.scheduler_port else None,
            )
        )

    _serve(start)


@serve.command()
@click.argument("name")
@data_dir_option
def node(name: str, data_dir: Path) -> None:
    """Run a node: its agent, service proxy and DNS."""
    settings = read_settings(data_dir / "cluster.json")
    here = local_node(settings, name)
    if here.netns:
        _enter_netns(here.netns)

    def start() -> Coroutine[Any, Any, None]:
        return _run_node(settings, here)

    _serve(start)


@serve.command()
@data_dir_option
def proxy(data_dir: Path) -> None:
    """Run the service proxy alone, for a machine whose nodes live in namespaces of their own."""
    settings = read_settings(data_dir / "cluster.json")

    def start() -> Coroutine[Any, Any, None]:
        from sparsam.cli.nodes import proxy_config
        from sparsam.proxy.main import run

        return run(proxy_config(settings, NodeSettings("", settings.machine_ips, (), None)))

    _serve(start)


@serve.command()
@data_dir_option
def hollow(data_dir: Path) -> None:
    """Run the modelled nodes."""
    settings = read_settings(data_dir / "cluster.json")

    def start() -> Coroutine[Any, Any, None]:
        from sparsam.cli.fleetfiles import open_fleet
        from sparsam.client.config import load_kubeconfig
        from sparsam.hollow.main import HollowConfig, run

        fleet = open_fleet(settings.hollow)
        client = load_kubeconfig(settings.kubeconfig)
        return run(HollowConfig(client, fleet.name, fleet.node_objects(), waits=True))

    _serve(start)


@serve.command()
@click.argument("name")
@click.option("--keep-data", is_flag=True, help="Leave images and logs.")
@data_dir_option
def clear_node(name: str, keep_data: bool, data_dir: Path) -> None:
    """Stop a node's containers and remove what it made (`sparsam down` runs this)."""
    from sparsam.cli.network import clear_node_here

    settings = read_settings(data_dir / "cluster.json")
    here = local_node(settings, name)
    if here.netns:
        _enter_netns(here.netns)
    asyncio.run(clear_node_here(settings, here, keep_data=keep_data))


@serve.command()
@click.argument("name")
@data_dir_option
def certificates(name: str, data_dir: Path) -> None:
    """Rotate a node's certificates where that is due; prints the seconds until the next look (the node runs this)."""
    from sparsam.cli.certificates import rotate_now
    from sparsam.cli.nodes import node_papers

    settings = read_settings(data_dir / "cluster.json")
    seconds, fault = rotate_now(node_papers(settings, local_node(settings, name)))
    if fault:
        click.echo(f"certificates not rotated: {fault}", err=True)
    click.echo(f"{seconds:.0f}")


async def keep_certificates(data_dir: str, name: str) -> None:
    """Rotate a node's certificates in time, until cancelled."""
    command = [sys.executable, "-m", "sparsam.cli", "serve", "certificates", name, "--data-dir", data_dir]
    await asyncio.sleep(SETTLE_SECONDS)
    while True:
        # In a process of its own: what is needed for a minute in a year shall not stay in memory.
        process = await asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE
        )
        try:
            output, _ = await process.communicate()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            raise
        text = output.decode().strip()
        await asyncio.sleep(float(text) if text.isdigit() else RETRY_SECONDS)


async def _run_node(settings: Settings, here: NodeSettings) -> None:
    from sparsam.agent.main import run as run_agent
    from sparsam.agent.routes import run as keep_routes
    from sparsam.agent.shutdown import Order
    from sparsam.cli.nodes import agent_config, proxy_config, routes_config
    from sparsam.proxy.main import run as run_proxy

    order, loop = Order(), asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGUSR1, order.give)
    loop.add_signal_handler(signal.SIGUSR2, order.withdraw)
    async with asyncio.TaskGroup() as group:
        group.create_task(run_agent(agent_config(settings, here), order=order), name="agent")
        group.create_task(run_proxy(proxy_config(settings, here)), name="proxy")
        group.create_task(keep_certificates(settings.data_dir, here.name), name="certificates")
        if not here.netns:
            group.create_task(keep_routes(routes_config(settings, here)), name="routes")


def make_supervisor(settings: Settings) -> Supervisor:
    """The supervisor for the parts that the settings name."""
    where = ("--data-dir", settings.data_dir)
    children = []
    if "api" in settings.part_list:
        children.append(Child("api", ("api", *where)))
    if "control" in settings.part_list:
        children.append(Child("control", ("control", *where), tier=1))
    if "node" in settings.part_list:
        nodes = local_nodes(settings)
        children += [Child(f"node-{each.name}", ("node", each.name, *where), tier=1) for each in nodes]
        if any(each.netns for each in nodes):
            children.append(Child("proxy", ("proxy", *where), tier=1))
    if settings.hollow:
        children.append(Child("hollow", ("hollow", *where), tier=1))
    return Supervisor(children, run_dir=settings.run_path, log_dir=settings.data_path / "log")


def _serve(start: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run one part until SIGTERM or SIGINT, or until the supervisor is gone."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        raise SystemExit(1)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(start))


async def _run(start: Callable[[], Coroutine[Any, Any, None]]) -> None:
    # What start-up made stays for good: taking it out of the collector's sight spares memory and pauses. Objects of the
    # API hold no cycles, and there may be millions of them: looking through them as often as usual costs a fifth of
    # the time and finds nothing.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)
    await until_told(start())


def _enter_netns(name: str) -> None:
    from pyroute2 import netns

    netns.setns(name)
