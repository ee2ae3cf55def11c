"""`sparsam schedule`: the scheduler as a client of any Kubernetes API server, beside or instead of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sparsam.errors import NotFound, SparsamError

if TYPE_CHECKING:
    from sparsam.client.api import ApiClient
    from sparsam.client.config import ClusterConfig
    from sparsam.controllers.scheduling.main import SchedulingConfig
    from sparsam.controllers.scheduling.metrics import Metrics

LEASE = "sparsam-scheduler"
METRICS_TYPE = b"text/plain; version=0.0.4; charset=utf-8"

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
@click.option("--policy", default="sparsam", show_default=True, help="How to rank nodes: see docs/scheduling.md.")
@click.option("--shadow", is_flag=True, help="Bind as kube-default does, and only write down what --policy would do.")
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
    """
    from sparsam.controllers.scheduling.placers import POLICIES

    if options["policy"] not in POLICIES:
        raise ScheduleError(f"--policy: {options['policy']!r} is none of {', '.join(POLICIES)}")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(options))


async def _run(options: Obj) -> None:
    from sparsam.client.api import ApiClient
    from sparsam.client.informer import InformerFactory
    from sparsam.client.leases import LeaderElector
    from sparsam.clock import SystemClock
    from sparsam.controllers.runtime import Context
    from sparsam.controllers.scheduling.main import run_scheduling

    async with ApiClient(_cluster(options["kubeconfig"])) as client, asyncio.TaskGroup() as group:
        config = await _config(client, options)
        context = Context(client, InformerFactory(client), SystemClock())
        context.informers.start(group)
        work = partial(run_scheduling, context, config)
        if options["listen"] != "-":
            group.create_task(_serve(options["listen"], config.metrics), name="metrics")
        if options["leader_elect"]:
            identity = f"{platform.node()}_{os.getpid()}_{uuid.uuid4()}"
            elector = LeaderElector(client, LEASE, identity, namespace=options["lease_namespace"])
            group.create_task(elector.run(work), name="scheduler")
        else:
            group.create_task(work(), name="scheduler")
        click.echo(f"placing pods of {', '.join(options['names'])} by {options['policy']}", err=True)


async def _config(client: ApiClient, options: Obj) -> SchedulingConfig:
    from sparsam.controllers.scheduling.main import SchedulingConfig
    from sparsam.objects.kinds import NODEPOWERS
    from sparsam.scheduling.profile import Profile

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
        profiles={name: Profile(name) for name in options["names"]},
    )


def _cluster(kubeconfig: Path | None) -> ClusterConfig:
    from sparsam.client.config import ConfigError, in_cluster, load_kubeconfig

    if kubeconfig is not None or os.environ.get("KUBECONFIG"):
        return load_kubeconfig(kubeconfig)
    try:
        return in_cluster()
    except ConfigError as error:
        raise ScheduleError("no cluster: name a --kubeconfig, set $KUBECONFIG, or run in a pod") from error


async def _serve(listen: str, metrics: Metrics) -> None:
    import uvicorn

    host, _, port = listen.rpartition(":")
    if not port.isdigit():
        raise ScheduleError(f"--listen: {listen!r} is not an address and a port, such as 127.0.0.1:10259")
    app = partial(_answer, metrics)
    settings: Obj = {"lifespan": "off", "log_level": "warning", "access_log": False, "interface": "asgi3"}
    await uvicorn.Server(uvicorn.Config(app, host=host, port=int(port), **settings)).serve()


async def _answer(
    metrics: Metrics, scope: Obj, _receive: Callable[[], Awaitable[Obj]], send: Callable[[Obj], Awaitable[None]]
) -> None:
    """The ASGI application: metrics and health."""
    if scope["type"] != "http":
        return
    pages = {"/metrics": metrics.text().encode(), "/healthz": b"ok\n", "/livez": b"ok\n", "/readyz": b"ok\n"}
    body = pages.get(scope["path"])
    status, body = (404, b"404 page not found\n") if body is None else (200, body)
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", METRICS_TYPE)]})
    await send({"type": "http.response.body", "body": body})
