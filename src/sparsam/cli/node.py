"""`sparsam node token` and `sparsam node join`: nodes on other machines; `sparsam node hollow`: modelled ones."""

from __future__ import annotations

import asyncio
import base64
import platform
import re
import secrets
import string
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import click

from sparsam.cli.certificates import CLIENT_SIGNER, UNREACHED, JoinError, has_expired
from sparsam.cli.hollow import hollow
from sparsam.cli.joining import Invitation, enroll, own_addresses, papers_of, parse_invitation
from sparsam.cli.nodes import joined, public_host
from sparsam.cli.output import step
from sparsam.cli.serve import data_dir_option
from sparsam.cli.shutdown import shutdown
from sparsam.cli.up import require_root, start
from sparsam.clock import format_time
from sparsam.settings import Settings, SettingsError, api_url, read_settings

_ALPHABET = string.ascii_lowercase + string.digits
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def parse_ttl(_context: click.Context, _option: click.Parameter, value: str) -> timedelta:
    """A time such as 30m; raises BadParameter."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})([mhd])", value)
    if match is None:
        raise click.BadParameter(f"{value!r} is not a time such as 30m, 24h or 7d")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


@click.group()
def node() -> None:
    """Add nodes on other machines, or modelled ones; shut nodes down in order.

    \b
    Examples:
      sparsam up --listen 0.0.0.0 --detach   on the first machine
      sparsam node token                     there too; prints the command for the others
      sparsam node join eyJzZXJ2ZXIiOi...    on another machine
      sparsam node hollow --fleet rise-215   215 modelled servers
      sparsam node shutdown                  end this machine's pods in order
    """


node.add_command(hollow)
node.add_command(shutdown)


@node.command()
@data_dir_option
@click.option(
    "--ttl",
    callback=parse_ttl,
    metavar="TIME",
    default="24h",
    show_default=True,
    help="How long the token can be used.",
)
def token(data_dir: Path, ttl: timedelta) -> None:
    """Print the command that makes another machine a node of this cluster.

    \b
    Example:
      sparsam node token --ttl 1h
    """
    settings = read_settings(data_dir / "cluster.json")
    host = _require_reachable(settings)
    token_id, token_secret = _random(6), _random(16)
    asyncio.run(_create(settings, token_object(token_id, token_secret, datetime.now(UTC) + ttl)))
    invitation = Invitation(
        server=api_url(host, settings.port),
        ca=(settings.pki_dir / "ca.crt").read_text(),
        token=f"{token_id}.{token_secret}",
        cluster_cidr=settings.cluster_cidr,
        service_cidr=settings.service_cidr,
        cluster_domain=settings.cluster_domain,
    )
    click.echo(f"sparsam node join {invitation.format()}")


@node.command()
@click.argument("invitation", required=False)
@data_dir_option
@click.option("--run-dir", default="/run/sparsam", show_default=True, help="Sockets and pid files; a short path.")
@click.option("--node-name", help="Name of the node [the host name].")
@click.option("--node-ip", help="Address of the node [the one towards the API server].")
@click.option("--cri-socket", default="", help="Use the container engine at this socket.")
@click.option("--static-pods", default="", metavar="DIR", help="Folder of pod manifests to run.")
@click.option("--detach", is_flag=True, help="Return once the node is ready; it runs on in the background.")
def join(invitation: str | None, data_dir: Path, detach: bool, **flags: Any) -> None:
    """Make this machine a node of a cluster, with the line that `sparsam node token` printed there.

    Once joined, `sparsam up` starts the node again and `sparsam down` stops it.

    \b
    Example:
      sparsam node join eyJzZXJ2ZXIiOi... --detach
    """
    settings = joined(data_dir)
    if settings is None:
        if (data_dir / "cluster.json").exists():
            raise JoinError(f"a cluster of its own lives in {data_dir}; remove it with: sparsam down --purge")
        if not invitation:
            raise JoinError("this machine has not joined yet; give the line that `sparsam node token` printed")
        parsed = parse_invitation(invitation)
        settings = _settings_of(parsed, data_dir, flags)
        require_root(settings)
        with step(f"join {parsed.server}"):
            settings = asyncio.run(enroll(parsed, settings))
        settings.write(settings.data_path / "cluster.json")
    elif invitation and _is_forgotten(settings):
        parsed = parse_invitation(invitation)
        require_root(settings)
        with step(f"join {parsed.server} again, since the node's certificate is over"):
            settings = asyncio.run(enroll(parsed, settings))
    start(settings, detach=detach)


def _is_forgotten(settings: Settings) -> bool:
    """Whether the node slept for so long that nobody believes its certificate any more."""
    shown = papers_of(settings).shown(CLIENT_SIGNER)
    return shown is None or has_expired(shown, datetime.now(UTC))


def _settings_of(invitation: Invitation, data_dir: Path, flags: Mapping[str, Any]) -> Settings:
    versions = [ip_network(each).version for each in invitation.service_cidr.split(",")]
    return Settings(
        data_dir=str(data_dir.absolute()),
        run_dir=flags["run_dir"],
        parts="node",
        node_name=flags["node_name"] or platform.node().split(".")[0].lower() or "localhost",
        node_ip=flags["node_ip"] or ",".join(own_addresses(invitation.server, versions)),
        cluster_cidr=invitation.cluster_cidr,
        service_cidr=invitation.service_cidr,
        # The addresses are those of the machine with the API server.
        load_balancer_cidr="",
        cluster_domain=invitation.cluster_domain,
        cri_socket=flags["cri_socket"],
        static_pods=str(Path(flags["static_pods"]).absolute()) if flags["static_pods"] else "",
        server=invitation.server,
    )


def token_object(token_id: str, token_secret: str, expiration: datetime) -> dict[str, Any]:
    """The Secret that makes a bootstrap token valid."""
    data = {
        "token-id": token_id,
        "token-secret": token_secret,
        "usage-bootstrap-authentication": "true",
        "expiration": format_time(expiration),
        "auth-extra-groups": "system:bootstrappers:sparsam:nodes",
        "description": "Made by sparsam node token",
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": f"bootstrap-token-{token_id}", "namespace": "kube-system"},
        "data": {name: base64.b64encode(value.encode()).decode() for name, value in data.items()},
    }


def _require_reachable(settings: Settings) -> str:
    """The API server's address for other machines; raises SettingsError when they could not work with it."""
    if settings.server:
        raise SettingsError(f"this machine is a node of {settings.server}; type `sparsam node token` there")
    host = public_host(settings)
    if host is None:
        everywhere = "::" if settings.versions[0] == 6 else "0.0.0.0"
        raise SettingsError(
            f"the API server listens for this machine only; start the cluster with: sparsam up --listen {everywhere}"
        )
    if "node" in settings.part_list and settings.nodes > 1:
        raise SettingsError("several nodes of one machine cannot be reached from others; use --nodes 1")
    return host


async def _create(settings: Settings, secret: dict[str, Any]) -> None:
    from sparsam.client.api import ApiClient
    from sparsam.client.config import load_kubeconfig
    from sparsam.objects.kinds import SECRETS

    try:
        async with ApiClient(load_kubeconfig(settings.kubeconfig)) as client:
            await client.create(SECRETS, secret)
    except UNREACHED as error:
        raise JoinError(
            f"the API server does not answer, is the cluster up? {error or type(error).__name__}"
        ) from error


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
