"""`sparsam up` and `sparsam down`: a whole cluster on this machine, and back."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from sparsam.cli.bootstrap import (
    api_is_ready,
    controllers_work,
    create_system_objects,
    nodes_not_ready,
    write_credentials,
)
from sparsam.cli.network import clear_machine, ensure_machine_network
from sparsam.cli.nodes import joined, local_nodes
from sparsam.cli.output import step
from sparsam.cli.serve import data_dir_option, make_supervisor
from sparsam.cli.supervisor import STOP_SECONDS, read_state
from sparsam.errors import SparsamError
from sparsam.settings import Settings, SettingsError, load_settings, read_settings

READY_SECONDS = 120.0
POLL_SECONDS = 0.1
IPV6_OFF = Path("/proc/sys/net/ipv6/conf/all/disable_ipv6")
RESTARTS_TO_GIVE_UP = 5
SHAPE = ("nodes", "node_name", "cluster_cidr", "service_cidr", "machine_cidr", "cluster_domain", "pod_cidr")
"""What a cluster's stored objects, certificates and networks depend on."""
OWN_DATA = ("cluster.json", "network.json", "kubeconfig", "*.kubeconfig", "log", "nodes", "pki", "store")
OWN_RUN = ("supervisor.*",)


class StartError(SparsamError):
    """The cluster did not come up; the message says where to look."""


@click.command()
@click.option("--nodes", type=int, help="Real nodes on this machine [1].")
@click.option("--data-dir", help="Where everything durable lives [/var/lib/sparsam].")
@click.option("--run-dir", help="Sockets and pid files; a short path [/run/sparsam].")
@click.option("--only", "parts", help="Parts to run, of api,control,node [all].")
@click.option("--cluster-cidr", "--cidr", help="Network of all pods, or two: IPv4,IPv6 [10.244.0.0/16].")
@click.option("--service-cidr", help="Network of ClusterIPs, or two: IPv4,IPv6 [10.96.0.0/16].")
@click.option("--machine-cidr", help="Machine-internal network of API server and nodes [10.245.0.0/24].")
@click.option("--load-balancer-cidr", help='Addresses for Services of type LoadBalancer; "" for none [10.245.1.0/24].')
@click.option("--listen", help="Address of the API server [127.0.0.1].")
@click.option("--port", type=int, help="Port of the API server [6443].")
@click.option("--node-name", help="Name of the only node, or prefix of several [the host name].")
@click.option("--node-ip", help="Address of the only node [the one of the default route].")
@click.option("--cri-socket", help="Use the container engine at this socket instead of a containerd of our own.")
@click.option("--static-pods", metavar="DIR", help="Folder of pod manifests to run, also without the API server.")
@click.option("--shutdown-grace-period", type=int, help="Seconds for pods to end when their node goes down [30].")
@click.option("--shutdown-grace-period-critical-pods", type=int, help="The last of those, for critical pods [10].")
@click.option("--hollow", metavar="FLEET", help="Modelled nodes too: a YAML file, rise-N, mixed-N or uniform-N.")
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="TOML file with the same settings.")
@click.option("--detach", is_flag=True, help="Return once the cluster is ready; it runs on in the background.")
def up(config: Path | None, detach: bool, **flags: Any) -> None:
    """Bring up a Kubernetes-compatible cluster on this machine.

    \b
    Examples:
      sparsam up                               one node, in the foreground
      sparsam up --nodes 3 --detach            three real nodes, in the background
      sparsam up --hollow rise-215             a data centre of modelled nodes beside the real one
      sparsam up --only api --data-dir /tmp/a  an API server alone
    """
    settings = load_settings(flags, config=config)
    known = joined(settings.data_path)
    if settings.server and known is None:
        raise SettingsError("server: this machine has not joined a cluster; type: sparsam node join INVITATION")
    start(
        known or as_before(settings, load_settings(flags, config=config, kept=kept_settings(settings))), detach=detach
    )


def kept_settings(settings: Settings) -> Settings | None:
    """The settings that the cluster in this data directory was started with, if there is one."""
    path = settings.data_path / "cluster.json"
    return read_settings(path) if path.exists() else None


def as_before(asked: Settings, settings: Settings) -> Settings:
    """The settings to start with; raises SettingsError where they would not fit the data that is there."""
    kept = kept_settings(asked)
    for name in SHAPE if kept else ():
        before, now = getattr(kept, name), getattr(settings, name)
        if before != now:
            raise SettingsError(
                f"{name}: the cluster in {settings.data_dir} was made with {before or 'the default'}, not {now}; "
                f"leave it as it is, or begin anew with: sparsam down --purge --data-dir {settings.data_dir}"
            )
    return settings


def start(settings: Settings, *, detach: bool) -> None:
    """Run what the settings say, in the background or until stopped; nothing when it runs already."""
    require_root(settings)
    if read_state(settings.run_path):
        click.echo("The cluster runs already.", err=True)
        # A start that was broken off may have left it without what every cluster has.
        asyncio.run(_wait_until_ready(settings))
        _print_next_steps(settings)
        return
    require_free_port(settings)
    require_families(settings)
    if settings.hollow:
        from sparsam.cli.fleetfiles import open_fleet

        open_fleet(settings.hollow)
    prepare(settings)
    if detach:
        _start_detached(settings)
        asyncio.run(_wait_until_ready(settings))
        _print_next_steps(settings)
    else:
        asyncio.run(_run_here(settings))


@click.command()
@data_dir_option
@click.option("--purge", is_flag=True, help="Also remove every trace: data, images, network.")
@click.option("--run-dir", type=click.Path(path_type=Path), help="Where it runs [as `sparsam up` was told].")
def down(data_dir: Path, purge: bool, run_dir: Path | None) -> None:
    """Stop the cluster on this machine, its containers included; the data stays unless --purge.

    --run-dir is needed only when the data directory is lost: the processes are stopped then.

    \b
    Examples:
      sparsam down
      sparsam down --purge
    """
    try:
        settings = read_settings(data_dir / "cluster.json")
    except SettingsError:
        _stop_without_data(data_dir, run_dir)
        return
    if run_dir is not None and run_dir.absolute() != settings.run_path.absolute():
        raise SettingsError(f"the cluster of {data_dir} runs in {settings.run_path}, not in {run_dir}")
    state = read_state(settings.run_path)
    if state:
        with step("stop the processes"):
            _stop(state.pid)
    if "node" in settings.part_list:
        with step("stop the containers and take the network down"):
            clear_machine(settings, keep_data=not purge)
    if purge:
        if settings.server:
            from sparsam.cli.joining import forget_node

            forget_node(settings)
        with step("remove the data"):
            remove_own(settings.data_path, OWN_DATA)
            remove_own(settings.run_path, (*OWN_RUN, *(node.name for node in local_nodes(settings))))


def _stop_without_data(data_dir: Path, run_dir: Path | None) -> None:
    state = read_state(run_dir) if run_dir else None
    if state:
        with step("stop the processes"):
            _stop(state.pid)
    click.echo(f"No cluster in {data_dir}; nothing was removed.", err=True)


def remove_own(directory: Path, names: Iterable[str]) -> None:
    """Remove what we made in a directory, and the directory if nothing else is in it: it may have been somebody's."""
    for name in names:
        for path in directory.glob(name):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        directory.rmdir()


def prepare(settings: Settings) -> None:
    """Everything that must exist before the first process starts. Idempotent."""
    settings.data_path.mkdir(parents=True, exist_ok=True, mode=0o711)
    settings.run_path.mkdir(parents=True, exist_ok=True)
    if settings.server:
        from sparsam.cli.joining import refresh_credentials

        with step("certificates of the node"):
            refresh_credentials(settings)
        return
    nodes = local_nodes(settings) if "node" in settings.part_list else []
    with step("certificates and kubeconfigs"):
        write_credentials(settings, nodes)
    if nodes:
        with step("network links"):
            ensure_machine_network(settings)
    settings.write(settings.data_path / "cluster.json")


def require_root(settings: Settings) -> None:
    """Raises SettingsError when a node is to run and we are not root."""
    if "node" in settings.part_list and os.geteuid() != 0:
        raise SettingsError("a node needs root: run as root, or only the control plane with --only api,control")


def require_families(settings: Settings) -> None:
    """Raises SettingsError when this machine lacks an address family of the cluster."""
    if 6 in settings.versions and (not IPV6_OFF.exists() or IPV6_OFF.read_text().strip() == "1"):
        raise SettingsError(
            f"service_cidr: {settings.service_cidr} needs IPv6, which this machine's kernel lacks or has turned off"
        )


def require_free_port(settings: Settings) -> None:
    """Raises SettingsError when another program listens where the API server is to."""
    if "api" not in settings.part_list:
        return
    address = (settings.listen, settings.port)
    family = socket.AF_INET6 if ":" in settings.listen else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            reason = "another program listens there" if error.errno == errno.EADDRINUSE else error.strerror
            raise SettingsError(
                f"port: the API server cannot listen on {settings.listen}:{settings.port}: {reason}; "
                f"choose another with --port or --listen"
            ) from None


def _start_detached(settings: Settings) -> None:
    log = settings.data_path / "log"
    log.mkdir(parents=True, exist_ok=True)
    with (log / "supervisor.log").open("ab") as file:
        subprocess.Popen(
            [sys.executable, "-m", "sparsam.cli", "serve", "supervisor", "--data-dir", settings.data_dir],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            cwd="/",
        )


async def _run_here(settings: Settings) -> None:
    supervisor = make_supervisor(settings)

    async def announce() -> None:
        try:
            await _wait_until_ready(settings)
        except StartError as error:
            click.echo(f"sparsam: {error}", err=True)
            return
        _print_next_steps(settings)
        click.echo("Stop with Ctrl-C; the data stays.", err=True)

    announcing = asyncio.create_task(announce())
    try:
        await supervisor.run()
    finally:
        announcing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await announcing


async def _wait_until_ready(settings: Settings) -> None:
    deadline = time.monotonic() + READY_SECONDS
    if "api" in settings.part_list:
        with step("API server"):
            while not await asyncio.to_thread(api_is_ready, settings):
                await _pause(deadline, settings, "the API server does not answer")
            await create_system_objects(settings)
    if {"api", "control"} <= set(settings.part_list):
        with step("controllers"):
            while not await controllers_work(settings):
                await _pause(deadline, settings, "the controllers do nothing")
    if "node" in settings.part_list and (settings.server or "api" in settings.part_list):
        names = {node.name for node in local_nodes(settings)}
        with step(f"{len(names)} node{'s' if len(names) > 1 else ''} ready"):
            while missing := await nodes_not_ready(settings, names):
                await _pause(deadline, settings, f"not ready: {', '.join(sorted(missing))}")
    if settings.hollow and {"api", "control"} <= set(settings.part_list):
        from sparsam.cli.fleetfiles import open_fleet

        names = {node["metadata"]["name"] for node in open_fleet(settings.hollow).node_objects()}
        with step(f"{len(names)} hollow nodes ready"):
            while missing := await nodes_not_ready(settings, names):
                await _pause(deadline, settings, f"{len(missing)} hollow nodes are not ready")


async def _pause(deadline: float, settings: Settings, what: str) -> None:
    state = read_state(settings.run_path)
    for name, restarts in (state.restarts if state else {}).items():
        if restarts > RESTARTS_TO_GIVE_UP:
            log = settings.data_path / "log" / f"{name}.log"
            raise StartError(f"{name} keeps ending: {last_line(log)}; the whole log is {log}")
    if time.monotonic() > deadline:
        raise StartError(f"{what} after {READY_SECONDS:.0f} s; the logs are in {settings.data_path / 'log'}")
    await asyncio.sleep(POLL_SECONDS)


def last_line(log: Path) -> str:
    """The last line of a log that says something."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "its log is empty")


def _stop(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS + 5
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.05)
        raise StartError(f"process {pid} does not stop; look at it before you kill it")


def _print_next_steps(settings: Settings) -> None:
    if settings.server:
        click.echo(f"\nNode {settings.node_name} runs and belongs to {settings.server}.\n")
        return
    kubectl = Path(sys.executable).with_name("kubectl")
    click.echo(
        f"\nYour cluster answers at {settings.server_url}. Type next:\n\n"
        f"  export KUBECONFIG={settings.kubeconfig} PATH={kubectl.parent}:$PATH\n"
        f"  kubectl get nodes -o wide\n"
    )
