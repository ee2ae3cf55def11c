"""A node's certificates: asked for with signing requests, and rotated long before they end, each time with a new key.

The node's process runs `rotate` in a process of its own, since the libraries for it take more memory than the rest of
a small agent. Whoever shows the certificates looks at their files and heeds new ones.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import random
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from sparsam.errors import SparsamError, StatusError
from sparsam.objects.kinds import CERTIFICATESIGNINGREQUESTS

if TYPE_CHECKING:
    from sparsam.client.api import ApiClient

CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING_SIGNER = "kubernetes.io/kubelet-serving"
UNREACHED = (aiohttp.ClientError, OSError, TimeoutError)
SIGN_SECONDS = 60.0
RETRY_SECONDS = 300.0
LONGEST_PAUSE_SECONDS = 86_400.0
_PURPOSES = {CLIENT_SIGNER: "client auth", SERVING_SIGNER: "server auth"}
_POLL_SECONDS = 0.2


class JoinError(SparsamError):
    """The node could not join, or get a certificate; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Papers:
    """Where a node's certificates are, and what they say."""

    pki_dir: Path
    node_name: str
    node_ips: tuple[str, ...]
    kubeconfig: Path

    def certificate(self, signer: str) -> Path:
        """The file of a certificate; its key lies beside it."""
        name = f"node-{self.node_name}" + ("-serving" if signer == SERVING_SIGNER else "")
        return self.pki_dir / f"{name}.crt"

    def shown(self, signer: str) -> bytes | None:
        """The certificate in use as PEM; None when there is none. Clients read theirs from the kubeconfig."""
        try:
            if signer == SERVING_SIGNER:
                return self.certificate(signer).read_bytes()
            (user,) = json.loads(self.kubeconfig.read_text())["users"]
            return base64.b64decode(user["user"]["client-certificate-data"])
        except (OSError, ValueError, KeyError):
            return None


def rotation_moment(pem: bytes) -> datetime:
    """When to ask for the next certificate: at 70 to 90 % of its life, as upstream; the same for all who ask."""
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(pem)
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return begin + (end - begin) * random.Random(certificate.serial_number).uniform(0.7, 0.9)


def has_expired(pem: bytes, now: datetime) -> bool:
    """Whether a certificate is over: nobody believes it any more."""
    from cryptography import x509

    return now >= x509.load_pem_x509_certificate(pem).not_valid_after_utc


async def rotate(papers: Papers, now: datetime | None = None) -> float:
    """Replace what is due; returns the seconds until it is worth looking again.

    Raises StatusError, JoinError and what the client raises; what there is serves as long as it is valid.
    """
    from sparsam.client.api import ApiClient
    from sparsam.client.config import load_kubeconfig

    moment = now or datetime.now(UTC)
    due = [signer for signer in _PURPOSES if _seconds_left(papers, signer, moment) <= 0]
    if due:
        async with ApiClient(load_kubeconfig(papers.kubeconfig)) as client:
            for signer in due:
                await obtain(client, papers, signer)
    left = min(_seconds_left(papers, signer, moment) for signer in _PURPOSES)
    return min(max(left, RETRY_SECONDS), LONGEST_PAUSE_SECONDS)


def rotate_now(papers: Papers) -> tuple[float, str]:
    """Rotate once: seconds until the next look, and what went wrong."""
    try:
        return asyncio.run(rotate(papers)), ""
    except (StatusError, JoinError, *UNREACHED) as error:
        return RETRY_SECONDS, str(error) or type(error).__name__


def _seconds_left(papers: Papers, signer: str, now: datetime) -> float:
    pem = papers.shown(signer)
    return 0.0 if pem is None else (rotation_moment(pem) - now).total_seconds()


async def obtain(client: ApiClient, papers: Papers, signer: str) -> None:
    """File a request for a new key, wait for the certificate and write both down."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    sans = (papers.node_name, *papers.node_ips, "127.0.0.1") if signer == SERVING_SIGNER else ()
    name = f"csr-{secrets.token_hex(5)}"
    request = {
        "apiVersion": CERTIFICATESIGNINGREQUESTS.api_version,
        "kind": CERTIFICATESIGNINGREQUESTS.kind,
        "metadata": {"name": name},
        "spec": {
            "request": base64.b64encode(signing_request(papers.node_name, sans, key)).decode(),
            "signerName": signer,
            "usages": ["digital signature", _PURPOSES[signer]],
        },
    }
    await client.create(CERTIFICATESIGNINGREQUESTS, request)
    certificate = await _await_certificate(client, name)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    secret = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    path = papers.certificate(signer)
    write_file(path.with_suffix(".key"), secret, mode=0o600)
    write_file(path, certificate, mode=0o644)
    if signer == CLIENT_SIGNER and papers.kubeconfig.exists():
        _put_into_kubeconfig(papers.kubeconfig, certificate, secret)


def _put_into_kubeconfig(path: Path, certificate: bytes, key: bytes) -> None:
    document = json.loads(path.read_text())
    (user,) = document["users"]
    user["user"]["client-certificate-data"] = base64.b64encode(certificate).decode()
    user["user"]["client-key-data"] = base64.b64encode(key).decode()
    write_file(path, (json.dumps(document, indent=2) + "\n").encode(), mode=0o600)


async def _await_certificate(client: ApiClient, name: str) -> bytes:
    deadline = time.monotonic() + SIGN_SECONDS
    while time.monotonic() < deadline:
        status = (await client.get(CERTIFICATESIGNINGREQUESTS, name)).get("status") or {}
        if status.get("certificate"):
            return base64.b64decode(status["certificate"])
        for condition in status.get("conditions") or ():
            if condition["type"] in ("Denied", "Failed"):
                raise JoinError(f"the cluster refuses a certificate: {condition.get('message', '')}")
        await asyncio.sleep(_POLL_SECONDS)
    raise JoinError(f"nobody signed the request {name} within {SIGN_SECONDS:.0f} s; do the cluster's controllers run?")


def signing_request(node_name: str, sans: Sequence[str], key: object) -> bytes:
    """A node's signing request as PEM, for an EC key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    assert isinstance(key, ec.EllipticCurvePrivateKey)
    subject = [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:nodes"),
        x509.NameAttribute(NameOID.COMMON_NAME, f"system:node:{node_name}"),
    ]
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if sans:
        names: list[x509.GeneralName] = []
        for san in sans:
            try:
                names.append(x509.IPAddress(ip_address(san)))
            except ValueError:
                names.append(x509.DNSName(san))
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def write_file(path: Path, data: bytes, *, mode: int) -> None:
    """Replace a file as a whole: a crash leaves the old one or the new one."""
    beside = path.with_name(path.name + ".new")
    with contextlib.suppress(FileNotFoundError):
        beside.unlink()
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
