"""`sparsam meter`: what this machine draws and which pods draw it, on any Kubernetes or on none."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from sparsam.cli.output import emit, output_option
from sparsam.cli.untiltold import until_told
from sparsam.errors import SparsamError

if TYPE_CHECKING:
    from sparsam.client.config import ClusterConfig
    from sparsam.hardware.meter import Meter
    from sparsam.metering.node import NodeMeter
    from sparsam.metering.setup import NodeModelHolder

ONCE_SECONDS = 2.0
Obj = dict[str, Any]


class MeterError(SparsamError):
    """The meter cannot start; the message says why."""


@click.command()
@click.option("--once", is_flag=True, help=f"Measure for {ONCE_SECONDS:.0f} seconds, print and end; needs no cluster.")
@click.option("--node-name", help="The Node this machine is [$NODE_NAME, else the host name].")
@click.option(
    "--kubeconfig",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Cluster to publish to [the pod's service account, else $KUBECONFIG, else none].",
)
@click.option("--listen", default="127.0.0.1:9808", show_default=True, help="Where /metrics and /power are served.")
@click.option("--containers", is_flag=True, help="Also a series for each container.")
@click.option("--sys-root", type=click.Path(path_type=Path), default=Path("/sys"), help="The machine's /sys [/sys].")
@click.option(
    "--proc-root", type=click.Path(path_type=Path), default=Path("/proc"), help="The machine's /proc [/proc]."
)
@click.option("--dev-root", type=click.Path(path_type=Path), default=Path("/dev"), help="The machine's /dev [/dev].")
@click.option(
    "--state-dir",
    type=click.Path(path_type=Path),
    default=Path("/var/lib/sparsam-meter"),
    show_default=True,
    help="Keeps energy over restarts.",
)
@click.option("--redfish", "redfish_url", help="Address of the node's BMC; needs --redfish-user and a password file.")
@click.option("--redfish-user", default="", help="Account that may read.")
@click.option("--redfish-password-file", type=click.Path(path_type=Path), help="File with its password.")
@click.option("--redfish-ca", default="", help="File with the authority of the BMC's certificate.")
@click.option("--redfish-insecure", is_flag=True, help="Do not verify the BMC's certificate.")
@click.option("--prometheus", "prometheus_url", help="A Prometheus server that knows this node's watts.")
@click.option("--prometheus-preset", default="kepler", show_default=True, help="Which query; see docs/metering.md.")
@output_option
def meter(once: bool, output: str, **options: Any) -> None:
    """Measure this machine and part its watts among pods.

    On a node of any Kubernetes it serves Prometheus metrics and keeps the node's NodePower object current, where the
    cluster knows that kind. deploy/meter.yaml runs it on every node.

    \b
    Examples:
      sparsam meter --once                       what this machine draws, and how that is known
      sparsam meter --once -o json
      sparsam meter --kubeconfig ~/.kube/config --node-name worker-1
    """
    if once:
        found = asyncio.run(_measure_once(options))
        emit(found, output, lambda: _table(found))
        return
    asyncio.run(until_told(_serve(options)))


async def _measure_once(options: Obj) -> Obj:
    from sparsam.metering.exposition import as_json
    from sparsam.metering.setup import NodeModelHolder

    node_meter = _make_meter(options, lambda: (), NodeModelHolder(), state=False)
    await node_meter.meter()
    await asyncio.sleep(ONCE_SECONDS)
    metered = await node_meter.meter()
    await node_meter.close()
    return as_json(metered)


async def _serve(options: Obj) -> None:
    import uvicorn

    from sparsam.metering.server import MeterApp
    from sparsam.metering.setup import NodeModelHolder

    host, _, port = options["listen"].rpartition(":")
    if not port.isdigit():
        raise MeterError(f"--listen: {options['listen']!r} is not an address and a port, such as 0.0.0.0:9808")
    model, pods = NodeModelHolder(), _Pods()
    node_meter = _make_meter(options, pods, model, state=True)
    app = MeterApp(node_meter, containers=options["containers"])
    server = uvicorn.Server(
        uvicorn.Config(app, host=host, port=int(port), lifespan="off", log_level="warning", access_log=False)
    )
    async with contextlib.AsyncExitStack() as stack:
        tasks: list[asyncio.Future[None]] = [asyncio.ensure_future(server.serve())]
        tasks += await _follow_cluster(stack, options, node_meter, model, pods)
        done, rest = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in rest:
            task.cancel()
        await asyncio.gather(*rest, return_exceptions=True)
        for task in done:
            task.result()


async def _follow_cluster(
    stack: contextlib.AsyncExitStack, options: Obj, node_meter: NodeMeter, model: NodeModelHolder, pods: _Pods
) -> list[asyncio.Future[None]]:
    """Publishing and the names of pods; without a cluster a steady pace alone."""
    from sparsam.client.api import ApiClient
    from sparsam.client.informer import Informer
    from sparsam.clock import SystemClock
    from sparsam.metering.publish import Metering, keep_metering
    from sparsam.objects.kinds import PODS

    config = _cluster(options["kubeconfig"])
    if config is None:
        click.echo("no cluster is known: pods go by their uids, and nothing is published", err=True)
        return [asyncio.ensure_future(keep_metering(node_meter, SystemClock()))]
    client = await stack.enter_async_context(ApiClient(config))
    name = _node_name(options)
    informer = Informer(client, PODS, field_selector=f"spec.nodeName={name}")
    pods.source = informer.items
    metering = Metering(name, node_meter, model, client, SystemClock())
    return [asyncio.ensure_future(informer.run()), asyncio.ensure_future(metering.run())]


class _Pods:
    """The node's pods, once somebody knows them."""

    def __init__(self) -> None:
        self.source: Callable[[], Iterable[Obj]] = tuple

    def __call__(self) -> Iterable[Obj]:
        return self.source()


def _make_meter(options: Obj, pods: Callable[[], Iterable[Obj]], model: NodeModelHolder, *, state: bool) -> NodeMeter:
    from sparsam.clock import SystemClock
    from sparsam.hardware.discover import Roots
    from sparsam.metering.groups import KUBELET_BASES
    from sparsam.metering.setup import MeterConfig, make_node_meter

    clock = SystemClock()
    config = MeterConfig(
        node_name=_node_name(options),
        state_file=options["state_dir"] / "energy.json" if state else None,
        group_bases=(*KUBELET_BASES, "sparsam"),
        roots=Roots(options["sys_root"], options["proc_root"], options["dev_root"]),
    )
    return make_node_meter(config, pods, model, clock, extra=_remote_meters(options))


def _remote_meters(options: Obj) -> list[Meter]:
    from sparsam.clock import SystemClock

    found: list[Meter] = []
    try:
        if options["redfish_url"]:
            from sparsam.hardware.redfish import RedfishMeter
            from sparsam.hardware.redfish_session import RedfishConfig

            if not options["redfish_user"] or options["redfish_password_file"] is None:
                raise MeterError("--redfish needs --redfish-user and --redfish-password-file")
            config = RedfishConfig(
                options["redfish_url"],
                options["redfish_user"],
                options["redfish_password_file"].read_text().strip(),
                ca_file=options["redfish_ca"],
                insecure=options["redfish_insecure"],
            )
            found.append(RedfishMeter(config, SystemClock()))
        if options["prometheus_url"]:
            from sparsam.hardware.prometheus import PRESETS, PrometheusConfig, PrometheusSource

            preset = PRESETS.get(options["prometheus_preset"])
            if preset is None:
                raise MeterError(f"--prometheus-preset: known are {', '.join(PRESETS)}")
            source = PrometheusSource(PrometheusConfig(options["prometheus_url"]), preset, SystemClock())
            found.append(source.meter(_node_name(options)))
    except (ValueError, OSError) as error:
        raise MeterError(str(error)) from error
    return found


def _node_name(options: Obj) -> str:
    return options["node_name"] or os.environ.get("NODE_NAME") or platform.node()


def _cluster(kubeconfig: Path | None) -> ClusterConfig | None:
    from sparsam.client.config import ConfigError, in_cluster, load_kubeconfig

    if kubeconfig is not None:
        return load_kubeconfig(kubeconfig)
    try:
        return in_cluster()
    except ConfigError:
        return load_kubeconfig() if os.environ.get("KUBECONFIG") else None


def _table(found: Obj) -> Table:
    error = f" ±{found['errorRatio']:.0%}" if "errorRatio" in found else ""
    rows = [["node", found["node"]], ["utilization", f"{found['utilization']:.1%}"]]
    if "watts" in found:
        rows.append(["watts", f"{found['watts']:.2f} ({found['provenance']}{error})"])
        rows += [[f"  {part}", f"{found[f'{part}Watts']:.2f}"] for part in ("idle", "pod", "system", "unattributed")]
        rows += [["source", found["source"]], ["covers", found["covers"]]]
    if "inletCelsius" in found:
        rows.append(["inlet", f"{found['inletCelsius']:.1f} °C"])
    rows.append(["meter itself", f"{found['meterWatts']:.3f} W (estimated)"])
    if found["note"]:
        rows.append(["note", found["note"]])
    rows += [["no number", gap] for gap in found["gaps"]]
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table
