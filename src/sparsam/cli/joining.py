"""A node on a machine of its own: how it gets its certificates and its pod network from a running cluster.

This is Kubernetes' TLS bootstrapping. The invitation carries a short-lived token; with it the machine asks for the
node's client certificate, and as the node then for the serving certificate. Private keys never leave the machine.
"""

from __future__ import annotations

import asyncio
import base64
import random
import socket
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click
import msgspec

from sparsam.cli.bootstrap import write_kubeconfig
from sparsam.cli.certificates import (
    CLIENT_SIGNER,
    SERVING_SIGNER,
    UNREACHED,
    JoinError,
    Papers,
    obtain,
    rotate_now,
    write_file,
)
from sparsam.errors import AlreadyExists, NotFound, SparsamError, StatusError, Unauthorized
from sparsam.objects.kinds import NODES
from sparsam.settings import Settings

if TYPE_CHECKING:
    from sparsam.client.api import ApiClient

Obj = dict[str, Any]

FORGET_SECONDS = 5.0
_ATTEMPTS = 20


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """What a machine needs to know to join; one line of text to copy."""

    server: str
    ca: str
    token: str
    cluster_cidr: str
    service_cidr: str
    cluster_domain: str

    def format(self) -> str:
        """As one word."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")


def parse_invitation(text: str) -> Invitation:
    """Read `Invitation.format` back; raises JoinError."""
    text = text.strip()
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=Invitation)
    except (ValueError, msgspec.MsgspecError) as error:
        raise JoinError("this is no invitation; copy the whole line that `sparsam node token` printed") from error


def address_towards(url: str) -> str:
    """The address of this machine that a server would see; raises JoinError. Sends nothing."""
    parts = urlsplit(url)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((parts.hostname or "", parts.port or 443))
        except OSError as error:
            raise JoinError(f"no way to {url} from here: {error.strerror or error}") from error
        return str(probe.getsockname()[0])


def free_pod_cidr(cluster_cidr: str, taken: Iterable[str], dice: random.Random | None = None) -> str:
    """A /24 that no node has; raises JoinError. The last free one, or with dice any.

    From the end, since the server's own nodes take theirs from the beginning and may come later.
    """
    used = [IPv4Network(each) for each in taken]
    candidates = list(IPv4Network(cluster_cidr).subnets(new_prefix=24))
    free = [each for each in candidates if not any(each.overlaps(other) for other in used)]
    if not free:
        raise JoinError(f"every /24 of {cluster_cidr} belongs to a node; the cluster is full")
    return str(dice.choice(free) if dice else free[-1])


def must_yield(node: Obj, others: Iterable[Obj]) -> bool:
    """Whether a node that has just registered must give its pod network up to one that was there before.

    Of two that registered in the same second each yields: the other one may not have seen this one.
    """
    mine, since = IPv4Network(node["spec"]["podCIDR"]), node["metadata"]["creationTimestamp"]
    return any(
        mine.overlaps(IPv4Network(other["spec"]["podCIDR"])) and other["metadata"]["creationTimestamp"] <= since
        for other in others
        if other["metadata"]["uid"] != node["metadata"]["uid"] and other["spec"].get("podCIDR")
    )


async def enroll(invitation: Invitation, settings: Settings) -> Settings:
    """Make this machine a node of the cluster, as far as papers go; returns the settings to run it with.

    `settings` name node and address. Raises JoinError.
    """
    from sparsam.client.api import ApiClient
    from sparsam.client.config import ClusterConfig, load_kubeconfig

    settings.pki_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_file(settings.pki_dir / "ca.crt", invitation.ca.encode(), mode=0o644)
    papers = papers_of(settings)
    try:
        config = ClusterConfig(server=invitation.server, ca=invitation.ca.encode(), token=invitation.token)
        async with ApiClient(config) as bootstrapper:
            await obtain(bootstrapper, papers, CLIENT_SIGNER)
        write_kubeconfig(settings.kubeconfig, settings, settings.server, f"node-{settings.node_name}")
        async with ApiClient(load_kubeconfig(settings.kubeconfig)) as client:
            pod_cidr = await register(client, settings)
            await obtain(client, papers, SERVING_SIGNER)
    except Unauthorized as error:
        raise JoinError("the token is not valid any more; make a new one with `sparsam node token`") from error
    except StatusError as error:
        raise JoinError(f"{invitation.server} says: {error}") from error
    except UNREACHED as error:
        raise JoinError(f"cannot reach {invitation.server}: {error or type(error).__name__}") from error
    return replace(settings, pod_cidr=pod_cidr)


async def register(client: ApiClient, settings: Settings) -> str:
    """Make the Node, or take over one of this name that is not at work; its pod network. Raises JoinError."""
    dice = None
    for _ in range(_ATTEMPTS):
        nodes = (await client.list(NODES))["items"]
        known = next((node for node in nodes if node["metadata"]["name"] == settings.node_name), None)
        if known is not None and _is_ready(known):
            raise JoinError(f"node {settings.node_name} is at work already; choose another name with --node-name")
        if known is None:
            taken = [node["spec"]["podCIDR"] for node in nodes if node["spec"].get("podCIDR")]
            known = await _create_node(client, settings.node_name, free_pod_cidr(settings.cluster_cidr, taken, dice))
        elif not known["spec"].get("podCIDR"):
            await client.delete(NODES, settings.node_name, uid=known["metadata"]["uid"])
            continue
        if known is not None and not must_yield(known, (await client.list(NODES))["items"]):
            await _set_address(client, settings)
            return str(known["spec"]["podCIDR"])
        if known is not None:
            # The network of a Node never changes: another Node has to take its place.
            await client.delete(NODES, settings.node_name, uid=known["metadata"]["uid"])
        dice = random.Random()
        await asyncio.sleep(dice.uniform(0, 1))
    raise JoinError("other nodes keep taking the same pod network; try again")


def papers_of(settings: Settings) -> Papers:
    """The certificates of a joined machine's node."""
    return Papers(settings.pki_dir, settings.node_name, settings.node_ip, settings.kubeconfig)


def refresh_credentials(settings: Settings) -> None:
    """Rotate what is due. While the API server is away, an old certificate serves as long as it is valid."""
    _, fault = rotate_now(papers_of(settings))
    if fault:
        click.echo(f"sparsam: certificates not renewed: {fault}", err=True)


def forget_node(settings: Settings) -> None:
    """Take the Node out of the cluster if the cluster can be reached; says so otherwise."""
    try:
        asyncio.run(_delete_node(settings))
    except (StatusError, SparsamError, *UNREACHED):
        click.echo(f"The cluster still lists the node; there, type: kubectl delete node {settings.node_name}", err=True)


async def _delete_node(settings: Settings) -> None:
    from sparsam.client.api import ApiClient
    from sparsam.client.config import load_kubeconfig

    async with asyncio.timeout(FORGET_SECONDS), ApiClient(load_kubeconfig(settings.kubeconfig)) as client:
        try:
            await client.delete(NODES, settings.node_name)
        except NotFound:
            return


def _is_ready(node: Obj) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


async def _create_node(client: ApiClient, name: str, pod_cidr: str) -> Obj | None:
    """The new Node, or None when somebody was faster."""
    spec = {"podCIDR": pod_cidr, "podCIDRs": [pod_cidr]}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec}
    try:
        return await client.create(NODES, node)
    except AlreadyExists:
        return None


async def _set_address(client: ApiClient, settings: Settings) -> None:
    """Say where the node is, since serving certificates are signed for registered addresses only."""
    addresses = [
        {"type": "InternalIP", "address": settings.node_ip},
        {"type": "Hostname", "address": settings.node_name},
    ]
    await client.patch(NODES, settings.node_name, {"status": {"addresses": addresses}}, subresource="status")
