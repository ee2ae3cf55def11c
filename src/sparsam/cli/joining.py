"""A node on a machine of its own: how it gets its certificates and its pod network from a running cluster.

This is Kubernetes' TLS bootstrapping. The invitation carries a short-lived token; with it the machine asks for the
node's client certificate, and as the node then for the serving certificate. Private keys never leave the machine.
"""

from __future__ import annotations

import asyncio
import base64
import random
from collections.abc import Iterable
from dataclasses import replace
from ipaddress import ip_network
from itertools import islice
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
from sparsam.cli.nodes import address_towards, primary_ips
from sparsam.errors import AlreadyExists, NotFound, SparsamError, StatusError, Unauthorized
from sparsam.objects.kinds import NODES
from sparsam.settings import Network, Settings, node_networks

if TYPE_CHECKING:
    from sparsam.client.api import ApiClient

Obj = dict[str, Any]

FORGET_SECONDS = 5.0
_ATTEMPTS = 20
_MOST_CANDIDATES = 1 << 16
"""A network of IPv6 may have parts for more nodes than can be looked at."""


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


def own_addresses(server: str, versions: Iterable[int]) -> tuple[str, ...]:
    """One address of this machine for each IP version, the first as the server sees it; raises JoinError."""
    parts = urlsplit(server)
    first, *more = versions
    seen = address_towards(parts.hostname or "", parts.port or 443)
    if not seen:
        raise JoinError(f"no way to {server} from here")
    found = primary_ips() | {first: seen}
    for version in more:
        if version not in found:
            both = f"--node-ip {seen},ADDRESS"
            raise JoinError(f"the cluster has IPv{version} too, and this machine no route for it; say {both}")
    return tuple(found[version] for version in (first, *more))


def free_pod_cidrs(
    cluster_cidrs: Iterable[str], taken: Iterable[str], dice: random.Random | None = None
) -> tuple[str, ...]:
    """A network of each family that no node has; raises JoinError. The last free ones, or with dice any.

    From the end, since the server's own nodes take theirs from the beginning and may come later.
    """
    used = [ip_network(each) for each in taken]
    return tuple(_free_pod_cidr(each, used, dice) for each in cluster_cidrs)


def _free_pod_cidr(cluster_cidr: str, used: Iterable[Network], dice: random.Random | None) -> str:
    candidates = list(islice(node_networks(cluster_cidr), _MOST_CANDIDATES))
    free = [each for each in candidates if not any(_overlap(each, other) for other in used)]
    if not free:
        raise JoinError(f"every /{candidates[0].prefixlen} of {cluster_cidr} belongs to a node; the cluster is full")
    return str(dice.choice(free) if dice else free[-1])


def must_yield(node: Obj, others: Iterable[Obj]) -> bool:
    """Whether a node that has just registered must give its pod networks up to one that was there before.

    Of two that registered in the same second each yields: the other one may not have seen this one.
    """
    mine, since = _pod_networks(node), node["metadata"]["creationTimestamp"]
    return any(
        other["metadata"]["creationTimestamp"] <= since
        and any(_overlap(one, its) for one in mine for its in _pod_networks(other))
        for other in others
        if other["metadata"]["uid"] != node["metadata"]["uid"]
    )


def _pod_networks(node: Obj) -> list[Network]:
    return [ip_network(each) for each in node["spec"].get("podCIDRs") or ()]


def _overlap(one: Any, other: Any) -> bool:
    return bool(one.version == other.version and one.overlaps(other))


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
            pod_cidrs = await register(client, settings)
            await obtain(client, papers, SERVING_SIGNER)
    except Unauthorized as error:
        raise JoinError("the token is not valid any more; make a new one with `sparsam node token`") from error
    except StatusError as error:
        raise JoinError(f"{invitation.server} says: {error}") from error
    except UNREACHED as error:
        raise JoinError(f"cannot reach {invitation.server}: {error or type(error).__name__}") from error
    return replace(settings, pod_cidr=",".join(pod_cidrs))


async def register(client: ApiClient, settings: Settings) -> tuple[str, ...]:
    """Make the Node, or take over one of this name that is not at work; its pod networks. Raises JoinError."""
    dice = None
    for _ in range(_ATTEMPTS):
        nodes = (await client.list(NODES))["items"]
        known = next((node for node in nodes if node["metadata"]["name"] == settings.node_name), None)
        if known is not None and _is_ready(known):
            raise JoinError(f"node {settings.node_name} is at work already; choose another name with --node-name")
        if known is None:
            taken = [each for node in nodes for each in node["spec"].get("podCIDRs") or ()]
            pod_cidrs = free_pod_cidrs(settings.cluster_cidrs, taken, dice)
            known = await _create_node(client, settings.node_name, pod_cidrs)
        elif len(known["spec"].get("podCIDRs") or ()) != len(settings.cluster_cidrs):
            await client.delete(NODES, settings.node_name, uid=known["metadata"]["uid"])
            continue
        if known is not None and not must_yield(known, (await client.list(NODES))["items"]):
            await _set_address(client, settings)
            return tuple(known["spec"]["podCIDRs"])
        if known is not None:
            # The networks of a Node never change: another Node has to take its place.
            await client.delete(NODES, settings.node_name, uid=known["metadata"]["uid"])
        dice = random.Random()
        await asyncio.sleep(dice.uniform(0, 1))
    raise JoinError("other nodes keep taking the same pod network; try again")


def papers_of(settings: Settings) -> Papers:
    """The certificates of a joined machine's node."""
    return Papers(settings.pki_dir, settings.node_name, tuple(settings.node_ip.split(",")), settings.kubeconfig)


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


async def _create_node(client: ApiClient, name: str, pod_cidrs: tuple[str, ...]) -> Obj | None:
    """The new Node, or None when somebody was faster."""
    spec = {"podCIDR": pod_cidrs[0], "podCIDRs": list(pod_cidrs)}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec}
    try:
        return await client.create(NODES, node)
    except AlreadyExists:
        return None


async def _set_address(client: ApiClient, settings: Settings) -> None:
    """Say where the node is, since serving certificates are signed for registered addresses only."""
    addresses = [{"type": "InternalIP", "address": each} for each in settings.node_ip.split(",")]
    addresses.append({"type": "Hostname", "address": settings.node_name})
    await client.patch(NODES, settings.node_name, {"status": {"addresses": addresses}}, subresource="status")
