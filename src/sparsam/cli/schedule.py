"""`sparsam schedule`: the scheduler as a client of any Kubernetes API server, beside or instead of its own."""

from __future__ import annotations

import asyncio
import os
import platform
import uuid
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sparsam.cli.untiltold import until_told
from sparsam.errors import NotFound, SparsamError

if TYPE_CHECKING:
    from sparsam.client.api import ApiClient
    from sparsam.client.config import ClusterConfig
    from sparsam.controllers.scheduling.main import SchedulingConfig
    from sparsam.controllers.scheduling.metrics import Metrics
    from sparsam.scheduling.profile import Profile

LEASE = "sparsam-scheduler"

Obj = dict[str, Any]


class ScheduleError(SparsamError):
    """The scheduler cannot start; the message says why."""


@click.command()
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The cluster [the pod's service account, else $KUBECONFIG].",
)
@click.option(
    "--scheduler-name",
    "names",
    multiple=True,
    default=("sparsam",),
    show_default=True,
    help="schedulerName of the pods to place; repeat for several.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="A KubeSchedulerConfiguration: profiles, weights, plugin arguments; its names replace --scheduler-name.",
)
@click.option("--policy", default="sparsam", show_default=True, help="How to rank nodes: see docs/scheduling.md.")
@click.option("--shadow", is_flag=True, help="Bind as kube-default does, and only write down what --policy would do.")
@click.option(
    "--models",
    metavar="NAMESPACE/NAME",
    help="A ConfigMap of power models by node name or instance type, for nodes without an annotation.",
)
@click.option("--leader-elect/--no-leader-elect", default=True, show_default=True, help="Of several, one leads.")
@click.option("--lease-namespace", default="kube-system", show_default=True, help="Where the Lease is kept.")
@click.option(
    "--listen", default="127.0.0.1:10259", show_default=True, help="Where /metrics and /healthz are served; - for none."
)
def schedule(**options: Any) -> None:
    """Place the pods of any Kubernetes cluster.

    Beside the cluster's own scheduler it places pods whose spec.schedulerName is sparsam. With --scheduler-name
    default-scheduler it does so instead of it, which must not run then. Models of nodes come from ServerModels,
    NodePowers or annotations where there are any, else from a prior.

    \b
    Examples:
      sparsam schedule --kubeconfig ~/.kube/config
      sparsam schedule --shadow                          what would it do?  kubectl get pod web -o yaml
      sparsam schedule --scheduler-name default-scheduler --policy kube-default
      sparsam schedule --models kube-system/server-models   made of what calibrate wrote: NODE=NODE.model.json
    """
    from sparsam.scheduling.policies import POLICIES

    if options["policy"] not in POLICIES:
        raise ScheduleError(f"--policy: {options['policy']!r} is none of {', '.join(POLICIES)}")
    profiles, address = _profiles(options), _address(options["listen"])
    try:
        asyncio.run(until_told(_run(options, profiles, address)))
    except* SparsamError as group:
        raise ScheduleError("; ".join(str(each) for each in group.exceptions)) from group


async def _run(options: Obj, profiles: dict[str, Profile], address: tuple[str, int] | None) -> None:
    from sparsam.client.api import ApiClient
    from sparsam.client.informer import InformerFactory
    from sparsam.client.leases import LeaderElector
    from sparsam.clock import SystemClock
    from sparsam.controllers.runtime import Context
    from sparsam.controllers.scheduling.main import run_scheduling

    async with ApiClient(_cluster(options["kubeconfig"])) as client, asyncio.TaskGroup() as group:
        config = await _config(client, options, profiles)
        context = Context(client, InformerFactory(client), SystemClock())
        context.informers.start(group)
        work = partial(run_scheduling, context, config)
        if address is not None:
            group.create_task(_serve(address, config.metrics), name="metrics")
        if options["leader_elect"]:
            identity = f"{platform.node()}_{os.getpid()}_{uuid.uuid4()}"
            elector = LeaderElector(client, LEASE, identity, namespace=options["lease_namespace"])
            group.create_task(elector.run(work), name="scheduler")
        else:
            group.create_task(work(), name="scheduler")
        click.echo(f"placing pods of {', '.join(config.profiles)} by {options['policy']}", err=True)


async def _config(client: ApiClient, options: Obj, profiles: dict[str, Profile]) -> SchedulingConfig:
    from sparsam.controllers.scheduling.main import SchedulingConfig
    from sparsam.objects.kinds import NODEPOWERS

    try:
        await client.list(NODEPOWERS, limit=1)
        watts = True
    except NotFound:
        watts = False
        click.echo("the cluster knows no NodePower (deploy/crds.yaml): loads are taken from requests", err=True)
    return SchedulingConfig(
        policy="kube-default" if options["shadow"] else options["policy"],
        shadow=options["policy"] if options["shadow"] else "",
        watts=watts,
        models=_models(options["models"]),
        profiles=profiles,
    )


def _models(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    namespace, _, name = text.partition("/")
    if not (namespace and name) or "/" in name:
        raise ScheduleError(f"--models: {text!r} is not NAMESPACE/NAME of a ConfigMap")
    return namespace, name


def _profiles(options: Obj) -> dict[str, Profile]:
    import yaml

    from sparsam.scheduling.configuration import ConfigurationError, read_configuration
    from sparsam.scheduling.profile import Profile

    path = options["config"]
    if path is None:
        return {name: Profile(name) for name in options["names"]}
    try:
        found = read_configuration(yaml.safe_load(path.read_text()) or {})
    except (yaml.YAMLError, OSError, AttributeError) as error:
        raise ScheduleError(f"{path}: not a KubeSchedulerConfiguration: {error}") from error
    except ConfigurationError as error:
        raise ScheduleError(f"{path}: {error}") from error
    for warning in found.warnings:
        click.echo(f"{path}: {warning}", err=True)
    return found.profiles


def _cluster(kubeconfig: Path | None) -> ClusterConfig:
    from sparsam.client.config import ConfigError, in_cluster, load_kubeconfig

    if kubeconfig is not None or os.environ.get("KUBECONFIG"):
        return load_kubeconfig(kubeconfig)
    try:
        return in_cluster()
    except ConfigError as error:
        raise ScheduleError("no cluster: name a --kubeconfig, set $KUBECONFIG, or run in a pod") from error


def _address(listen: str) -> tuple[str, int] | None:
    if listen == "-":
        return None
    host, _, port = listen.rpartition(":")
    if not port.isdigit():
        raise ScheduleError(f"--listen: {listen!r} is not an address and a port, such as 127.0.0.1:10259")
    return host, int(port)


async def _serve(address: tuple[str, int], metrics: Metrics) -> None:
    from sparsam.serving.pages import serve_pages

    try:
        await serve_pages(address, metrics.text)
    except OSError as error:
        raise ScheduleError(f"--listen: cannot listen on {address[0]}:{address[1]}: {error.strerror}") from error
