"""What a cluster says of itself, read and never written: nodes, pods, volumes and present use, from any Kubernetes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import click

from sparsam.cli.fleetfiles import fleet_of
from sparsam.cli.tables import BadInput
from sparsam.client.api import ApiClient
from sparsam.client.config import ClusterConfig, ConfigError, load_kubeconfig
from sparsam.controllers.servermodels import chosen, fault_of, wanted_annotations
from sparsam.errors import Forbidden, NotFound, ServiceUnavailable, StatusError, Unauthorized
from sparsam.objects.kinds import (
    NODE_METRICS,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    POD_METRICS,
    PODDISRUPTIONBUDGETS,
    PODS,
    SERVERMODELS,
    Resource,
)
from sparsam.settings import DEFAULT_DATA_DIR
from sparsam.simulation.fleet import Fleet

Obj = dict[str, Any]
PROOF = "the kubeconfig has to hold a token or certificate that is valid (exec plugins are not run)"
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


def cluster_options(*flag: str, help: str = "") -> Callable[[F], F]:
    """Adds --kubeconfig and --context, and before them a flag for commands that need no cluster."""
    options = [
        click.option("--context", default="", help="Of the kubeconfig [the current one]."),
        click.option(
            "--kubeconfig",
            type=click.Path(path_type=Path, dir_okay=False),
            help="The cluster [$KUBECONFIG, else this machine's cluster].",
        ),
    ]
    if flag:
        options.append(click.option(*flag, is_flag=True, help=help))

    def decorate(function: F) -> F:
        for option in options:
            function = option(function)
        return function

    return decorate


@dataclass(frozen=True, slots=True)
class Objects:
    """A cluster's objects. What is not served, or may not be seen, is None."""

    server: str
    nodes: list[Obj]
    pods: list[Obj]
    claims: list[Obj] | None
    volumes: list[Obj] | None
    budgets: list[Obj] | None
    pod_metrics: list[Obj] | None
    node_metrics: list[Obj] | None


def read_objects(kubeconfig: Path | None, context: str) -> Objects:
    """Everything that an assessment can use; raises BadInput where nodes or pods cannot be had."""
    return _asked(kubeconfig, context, _objects)


def read_fleet(kubeconfig: Path | None, context: str) -> Fleet:
    """A cluster's nodes as a fleet, each with the model that it has or is guessed to have; raises BadInput."""
    return fleet_of(*_asked(kubeconfig, context, _nodes_and_server))


def _asked(kubeconfig: Path | None, context: str, ask: Callable[[ApiClient], Awaitable[T]]) -> T:
    """What the cluster answers; every failure is one line with a hint."""
    config = _config(kubeconfig, context)

    async def asked() -> T:
        async with ApiClient(config) as client:
            return await ask(client)

    try:
        return asyncio.run(asked())
    except Unauthorized as error:
        raise BadInput(f"{config.server}: who we are is not accepted: {error}; {PROOF}") from error
    except Forbidden as error:
        hint = "the user needs get and list of nodes and pods"
        if "system:anonymous" in str(error):
            hint = PROOF
        raise BadInput(f"{config.server}: {error}; {hint}") from error
    except StatusError as error:
        raise BadInput(f"{config.server}: {error}") from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise BadInput(
            f"{config.server}: not reached: {error or 'no answer'}; is --kubeconfig the right one?"
        ) from error
    except ValueError as error:
        raise BadInput(f"{config.server}: answers, but not as a Kubernetes API does: {error}") from error


def _config(kubeconfig: Path | None, context: str) -> ClusterConfig:
    local = Path(os.environ.get("SPARSAM_DATA_DIR") or DEFAULT_DATA_DIR) / "kubeconfig"
    path = kubeconfig
    if path is None and not os.environ.get("KUBECONFIG") and local.exists():
        path = local
    try:
        return load_kubeconfig(path, context)
    except ConfigError as error:
        raise BadInput(f"{error}; name a --kubeconfig, or set $KUBECONFIG") from error


async def _objects(client: ApiClient) -> Objects:
    nodes = await _nodes(client)
    pods = await _listed(client, PODS)
    kinds = (PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODDISRUPTIONBUDGETS, POD_METRICS, NODE_METRICS)
    return Objects(
        client.config.server, nodes, pods, *await asyncio.gather(*(_welcome(client, each) for each in kinds))
    )


async def _nodes_and_server(client: ApiClient) -> tuple[list[Obj], str]:
    return await _nodes(client), client.config.server


async def _nodes(client: ApiClient) -> list[Obj]:
    """With the models that ServerModels give them; the controller may not run."""
    nodes = await _listed(client, NODES)
    models = [each for each in await _welcome(client, SERVERMODELS) or () if not fault_of(each)]
    for node in nodes:
        added = wanted_annotations(node, chosen(node, models)) if models else {}
        present = node["metadata"].get("annotations") or {}
        node["metadata"]["annotations"] = {
            **present,
            **{name: text for name, text in added.items() if text is not None},
        }
    return nodes


async def _listed(client: ApiClient, resource: Resource) -> list[Obj]:
    items: list[Obj] = (await client.list(resource))["items"]
    return items


async def _welcome(client: ApiClient, resource: Resource) -> list[Obj] | None:
    """None where the cluster has no such thing, does not answer for it now, or does not let us see it."""
    try:
        return await _listed(client, resource)
    except (NotFound, Forbidden, ServiceUnavailable):
        return None
