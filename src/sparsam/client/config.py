"""Where an API server is and how to prove who we are: kubeconfig files and the in-cluster environment."""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from sparsam.errors import SparsamError

SERVICE_ACCOUNT_DIR = Path("/var/run/secrets/kubernetes.io/serviceaccount")


class ConfigError(SparsamError):
    """A kubeconfig that cannot be used; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterConfig:
    """One API server and one identity."""

    server: str
    """Base URL, without a slash at the end."""
    ca: bytes | None = None
    """PEM of the authority that signed the server's certificate; None trusts the system's."""
    client_certificate: bytes | None = None
    client_key: bytes | None = None
    token: str = ""
    token_file: Path | None = None
    """Read again for each request, since the kubelet replaces it; wins over `token`."""
    insecure: bool = False
    """Do not check the server's certificate."""
    namespace: str = "default"
    source: Path | None = None
    """The kubeconfig that this was read from, so that new credentials in it can be heeded."""
    context: str = ""

    def ssl_context(self) -> ssl.SSLContext | None:
        """TLS settings; None for a plain http server."""
        if not self.server.startswith("https:"):
            return None
        context = ssl.create_default_context(cadata=self.ca.decode() if self.ca else None)
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.client_certificate and self.client_key:
            show_certificate(context, self.client_certificate, self.client_key)
        return context

    def bearer_token(self) -> str:
        """The token to send, or an empty text."""
        return self.token_file.read_text().strip() if self.token_file else self.token


def load_kubeconfig(path: Path | str | None = None, context: str = "") -> ClusterConfig:
    """Read a kubeconfig (by default $KUBECONFIG, else ~/.kube/config); raises ConfigError."""
    file = Path(path or os.environ.get("KUBECONFIG") or Path.home() / ".kube" / "config")
    try:
        document = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read kubeconfig {file}: {error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"{file} is not a kubeconfig")
    name = context or document.get("current-context", "")
    chosen = _named(document, "contexts", name, "context", file)
    cluster = _named(document, "clusters", chosen.get("cluster", ""), "cluster", file)
    user = _named(document, "users", chosen["user"], "user", file) if chosen.get("user") else {}
    if not cluster.get("server"):
        raise ConfigError(f"{file}: cluster {chosen.get('cluster')!r} has no server")
    token_file = user.get("tokenFile")
    return ClusterConfig(
        server=cluster["server"].rstrip("/"),
        ca=_material(cluster, "certificate-authority", file),
        client_certificate=_material(user, "client-certificate", file),
        client_key=_material(user, "client-key", file),
        token=user.get("token", ""),
        token_file=file.parent / token_file if token_file else None,
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        namespace=chosen.get("namespace", "default"),
        source=file,
        context=context,
    )


def in_cluster(environ: Mapping[str, str] = os.environ, directory: Path = SERVICE_ACCOUNT_DIR) -> ClusterConfig:
    """The config that every pod finds mounted; raises ConfigError outside of one."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (directory / "token").exists():
        raise ConfigError("not inside a pod with a service account; give a kubeconfig")
    host = f"[{host}]" if ":" in host else host
    namespace = directory / "namespace"
    return ClusterConfig(
        server=f"https://{host}:{port}",
        ca=(directory / "ca.crt").read_bytes(),
        token_file=directory / "token",
        namespace=namespace.read_text().strip() if namespace.exists() else "default",
    )


def _named(document: Mapping[str, Any], section: str, name: str, key: str, file: Path) -> dict[str, Any]:
    for entry in document.get(section) or ():
        if entry.get("name") == name:
            return dict(entry.get(key) or {})
    raise ConfigError(f"{file} has no {key} named {name!r}")


def _material(entry: Mapping[str, Any], key: str, file: Path) -> bytes | None:
    try:
        if data := entry.get(f"{key}-data"):
            return base64.b64decode(data, validate=True)
        if path := entry.get(key):
            return file.parent.joinpath(str(path)).read_bytes()
    except (OSError, binascii.Error) as error:
        raise ConfigError(f"{file}: {key}: {error}") from error
    return None


def show_certificate(context: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Make the connections to come show a client certificate; also on a context that is in use."""
    # The ssl module reads keys from files only; this one is gone before anybody could look for it.
    with tempfile.NamedTemporaryFile() as file:
        file.write(certificate + b"\n" + key)
        file.flush()
        # A pair that does not fit must not spoil what is in use.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(file.name)
        context.load_cert_chain(file.name)
