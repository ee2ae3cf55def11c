"""Certificates: approves, denies and signs the requests that node agents file, signs those of users once approved.

Three signers of upstream's are served: the client certificate of a node, asked for with a bootstrap token or with
the node's own certificate; its serving certificate, which only the node itself may ask for; and the client certificate
of anybody else, which a person approves. Requests for other signers are left to whoever serves them; what is over is
removed after a while. Rules: the page "Certificates and Certificate Signing Requests" of the API's documentation.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sparsam.clock import format_time, parse_time
from sparsam.controllers.runtime import Context, Controller, Key, Obj, own_key
from sparsam.errors import NotFound
from sparsam.objects.kinds import CERTIFICATESIGNINGREQUESTS, NODES

CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
SERVING_SIGNER = "kubernetes.io/kubelet-serving"
USER_SIGNER = "kubernetes.io/kube-apiserver-client"
NODE_PREFIX = "system:node:"
NODES_GROUP = "system:nodes"
BOOTSTRAPPERS_GROUP = "system:bootstrappers"

LIFETIME = timedelta(days=365)
SHORTEST_SECONDS = 600
"""Upstream's shortest lifetime that a request may name."""
DECIDED_SECONDS = 3600.0
PENDING_SECONDS = 24 * 3600.0
"""How long decided and undecided requests are kept, as upstream's cleaner has it."""
_LEEWAY = timedelta(minutes=5)
_REFUSED = "SignerValidationFailure"
"""Upstream's reason for the condition Failed."""
_SIGNATURE, _ENCIPHERMENT = "digital signature", "key encipherment"
_KEY_USAGES = frozenset({_SIGNATURE, _ENCIPHERMENT})
_PURPOSES = {
    CLIENT_SIGNER: ("client auth", ExtendedKeyUsageOID.CLIENT_AUTH),
    SERVING_SIGNER: ("server auth", ExtendedKeyUsageOID.SERVER_AUTH),
    USER_SIGNER: ("client auth", ExtendedKeyUsageOID.CLIENT_AUTH),
}
_NODE_SIGNERS = frozenset({CLIENT_SIGNER, SERVING_SIGNER})

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


class Malformed(ValueError):
    """A request that is denied; the message says why."""


@dataclass(frozen=True, slots=True)
class NodeRequest:
    """A request for one of a node's certificates that is in order."""

    csr: x509.CertificateSigningRequest
    node_name: str
    signer: str
    names: tuple[str, ...]
    addresses: tuple[IPv4Address | IPv6Address, ...]


@dataclass(frozen=True, slots=True)
class Signer:
    """The cluster's certificate authority."""

    certificate: x509.Certificate
    key: PrivateKey

    def sign(
        self,
        csr: x509.CertificateSigningRequest,
        signer: str,
        now: datetime,
        lifetime: timedelta,
        usages: Collection[str] = _KEY_USAGES,
    ) -> bytes:
        """The certificate that a request asks of one of the signers, as PEM."""
        authority = self.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority)
        builder = (
            x509.CertificateBuilder()
            .subject_name(csr.subject)
            .issuer_name(self.certificate.subject)
            .public_key(csr.public_key())
            .serial_number(x509.random_serial_number())
            # A little back, so that a node whose clock lags can use it at once.
            .not_valid_before(now - _LEEWAY)
            .not_valid_after(min(now + lifetime, self.certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([_PURPOSES[signer][1]]), critical=False)
            .add_extension(issuer, critical=False)
        )
        if not _KEY_USAGES.isdisjoint(usages):
            builder = builder.add_extension(_key_usage(usages), critical=True)
        with contextlib.suppress(x509.ExtensionNotFound):
            names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def load_signer(certificate: Path | None, key: Path | None) -> Signer | None:
    """The authority in two PEM files, or None when either is not given."""
    if certificate is None or key is None:
        return None
    loaded = serialization.load_pem_private_key(key.read_bytes(), None)
    if not isinstance(loaded, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise ValueError(f"{key} holds neither an EC nor an RSA key")
    return Signer(x509.load_pem_x509_certificate(certificate.read_bytes()), loaded)


class CertificateController:
    """Keyed by request. Without a signer it approves, denies and removes, and somebody else signs."""

    def __init__(self, context: Context, *, signer: Signer | None = None) -> None:
        self._client, self._clock, self._signer = context.client, context.clock, signer
        self._requests = context.informer(CERTIFICATESIGNINGREQUESTS)
        self.controller = Controller("certificates", context, self.sync, workers=1)
        self.controller.watch(self._requests, own_key)

    async def sync(self, key: Key) -> None:
        """Bring one request a step further."""
        _, name = key
        request = self._requests.get("", name)
        if request is None:
            return
        if await self._removed(key, request):
            return
        decisions = {each["type"] for each in conditions_of(request)}
        signer = request["spec"].get("signerName")
        if signer not in _PURPOSES or decisions & {"Denied", "Failed"}:
            return
        if (request.get("status") or {}).get("certificate"):
            return
        if signer in _NODE_SIGNERS:
            await self._serve_node(request, approved="Approved" in decisions)
        elif "Approved" in decisions:
            await self._serve_user(request)

    async def _serve_node(self, request: Obj, *, approved: bool) -> None:
        try:
            parsed = read_request(request["spec"])
            await self._check_addresses(parsed)
        except Malformed as fault:
            kind, reason = ("Failed", _REFUSED) if approved else ("Denied", "Malformed")
            await self._decide(request, kind, reason, str(fault))
            return
        if approved:
            await self._sign(request, parsed.csr)
        elif may_ask(request["spec"], parsed):
            await self._decide(request, "Approved", "AutoApproved", "Auto approving kubelet certificate.")
        else:
            who = request["spec"].get("username", "")
            await self._decide(request, "Denied", "NotAllowed", f"{who} may not ask for a certificate of this node")

    async def _serve_user(self, request: Obj) -> None:
        """Sign what somebody approved. Who may be asked for was checked when the request was filed."""
        try:
            csr = read_user_request(request["spec"])
        except Malformed as fault:
            await self._decide(request, "Failed", _REFUSED, str(fault))
            return
        await self._sign(request, csr)

    async def _removed(self, key: Key, request: Obj) -> bool:
        """Whether the request was removed since its time is over; else it comes back then."""
        age = self._clock.now() - parse_time(request["metadata"]["creationTimestamp"])
        limit_seconds = DECIDED_SECONDS if conditions_of(request) else PENDING_SECONDS
        left_seconds = limit_seconds - age.total_seconds()
        if left_seconds > 0:
            self.controller.queue.add_after(key, left_seconds)
            return False
        with contextlib.suppress(NotFound):
            await self._client.delete(CERTIFICATESIGNINGREQUESTS, key[1], uid=request["metadata"]["uid"])
        return True

    async def _check_addresses(self, parsed: NodeRequest) -> None:
        """Raises Malformed for an address that the node does not have: nobody is to pose as somebody else."""
        if parsed.signer != SERVING_SIGNER:
            return
        try:
            node = await self._client.get(NODES, parsed.node_name)
        except NotFound:
            raise Malformed(f"there is no Node {parsed.node_name}") from None
        known = {each["address"] for each in (node.get("status") or {}).get("addresses") or ()}
        for address in parsed.addresses:
            if not address.is_loopback and str(address) not in known:
                raise Malformed(f"{address} is no address of Node {parsed.node_name}")

    async def _decide(self, request: Obj, kind: str, reason: str, message: str) -> None:
        moment = format_time(self._clock.now())
        condition = {"type": kind, "status": "True", "reason": reason, "message": message}
        condition |= {"lastUpdateTime": moment, "lastTransitionTime": moment}
        status = (request.get("status") or {}) | {"conditions": [*conditions_of(request), condition]}
        part = "status" if kind == "Failed" else "approval"
        await self._client.update(CERTIFICATESIGNINGREQUESTS, {**request, "status": status}, subresource=part)

    async def _sign(self, request: Obj, csr: x509.CertificateSigningRequest) -> None:
        if self._signer is None:
            return
        spec = request["spec"]
        wished = spec.get("expirationSeconds")
        lifetime = min(LIFETIME, timedelta(seconds=max(wished, SHORTEST_SECONDS))) if wished else LIFETIME
        certificate = self._signer.sign(csr, spec["signerName"], self._clock.now(), lifetime, spec["usages"])
        status = (request.get("status") or {}) | {"certificate": base64.b64encode(certificate).decode()}
        await self._client.update(CERTIFICATESIGNINGREQUESTS, {**request, "status": status}, subresource="status")


def conditions_of(request: Obj) -> list[Obj]:
    """The decisions taken so far."""
    return list((request.get("status") or {}).get("conditions") or ())


def may_ask(spec: Obj, parsed: NodeRequest) -> bool:
    """Whether the requester may have this certificate: the node itself, or for the first one a bootstrapper."""
    groups = spec.get("groups") or ()
    if NODES_GROUP in groups and spec.get("username") == NODE_PREFIX + parsed.node_name:
        return True
    return parsed.signer == CLIENT_SIGNER and BOOTSTRAPPERS_GROUP in groups


def read_request(spec: Obj) -> NodeRequest:
    """What a request's spec asks for; raises Malformed unless it is a certificate as the node's agent needs one."""
    csr = _decode(spec.get("request", ""))
    organizations = [each.value for each in csr.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
    names = [str(each.value) for each in csr.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    if organizations != [NODES_GROUP]:
        raise Malformed(f"organization is not {NODES_GROUP}")
    if len(names) != 1 or not names[0].startswith(NODE_PREFIX) or names[0] == NODE_PREFIX:
        raise Malformed(f"common name does not begin with {NODE_PREFIX}")
    signer = spec["signerName"]
    purpose = _PURPOSES[signer][0]
    usages = set(spec.get("usages") or ())
    if purpose not in usages or not usages <= _KEY_USAGES | {purpose}:
        raise Malformed(f"usages must be {purpose}, digital signature and perhaps key encipherment")
    node_name = names[0].removeprefix(NODE_PREFIX)
    dns_names, addresses = _alternative_names(csr)
    if signer == CLIENT_SIGNER and (dns_names or addresses):
        raise Malformed("a client certificate has no subject alternative names")
    if signer == SERVING_SIGNER and not dns_names and not addresses:
        raise Malformed("a serving certificate needs subject alternative names")
    if strange := [name for name in dns_names if name != node_name]:
        raise Malformed(f"{strange[0]} is not the name of the node")
    return NodeRequest(csr, node_name, signer, dns_names, addresses)


def read_user_request(spec: Obj) -> x509.CertificateSigningRequest:
    """The signing request in a spec for the client certificate of a user; raises Malformed for another use."""
    csr, usages = _decode(spec.get("request", "")), spec.get("usages") or ()
    if strange := [usage for usage in usages if usage != "client auth" and usage not in _KEY_USAGES]:
        raise Malformed(f"invalid usage for client certificate: {strange[0]}")
    if "client auth" not in usages:
        raise Malformed("missing required usage for client certificate: client auth")
    try:
        csr.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        pass
    except ValueError as error:
        raise Malformed("the request's extensions cannot be read") from error
    return csr


def _decode(request: str) -> x509.CertificateSigningRequest:
    try:
        csr = x509.load_pem_x509_csr(base64.b64decode(request))
        if csr.is_signature_valid:
            return csr
    except (binascii.Error, ValueError, UnsupportedAlgorithm) as error:
        raise Malformed("request is not a certificate signing request in PEM") from error
    raise Malformed("the request's signature is not valid")


def _alternative_names(
    csr: x509.CertificateSigningRequest,
) -> tuple[tuple[str, ...], tuple[IPv4Address | IPv6Address, ...]]:
    try:
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return (), ()
    except ValueError as error:
        raise Malformed("the request's extensions cannot be read") from error
    if any(not isinstance(name, x509.DNSName | x509.IPAddress) for name in names):
        raise Malformed("only DNS names and IP addresses may be alternative names")
    addresses = names.get_values_for_type(x509.IPAddress)
    single = tuple(each for each in addresses if isinstance(each, IPv4Address | IPv6Address))
    return tuple(names.get_values_for_type(x509.DNSName)), single


def _key_usage(usages: Collection[str]) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=_SIGNATURE in usages,
        content_commitment=False,
        key_encipherment=_ENCIPHERMENT in usages,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
