"""CertificateSigningRequests. Who asks (spec.username and so on) is filled in by the server, not here."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import duplicate, invalid, not_supported, required
from sparsam.objects.names import dns_subdomain_errors
from sparsam.objects.strategies.common import one_of
from sparsam.objects.strategy import Obj, Strategy

_PEM_TYPE = "CERTIFICATE REQUEST"
_PEM = re.compile(rb"-----BEGIN ([A-Z ]+)-----\s+([A-Za-z0-9+/=\s]+)-----END \1-----")
_DER_SEQUENCE = b"\x30"
_LEGACY_SIGNER = "kubernetes.io/legacy-unknown"
_MIN_SECONDS = 600
_USAGES = (
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
)
_EXCLUSIVE = ("Approved", "Denied")


def prepare_create(request: Obj) -> None:
    """A new request is neither approved nor denied."""
    request["status"] = {}


def prepare_update(request: Obj, old: Obj) -> None:
    """What was asked for stays."""
    request["spec"] = old.get("spec") or {}


def validate(request: Obj) -> list[Cause]:
    """Causes for a CertificateSigningRequest; whether its signature holds is the signer's question."""
    spec = request.get("spec") or {}
    causes = _request(spec.get("request"), "spec.request")
    usages, path = spec.get("usages") or [], "spec.usages"
    if not usages:
        causes.append(required(path, "usages must be provided"))
    for position, usage in enumerate(usages):
        if usage not in _USAGES:
            causes.append(not_supported(f"{path}[{position}]", usage, _USAGES))
        if usage in usages[:position]:
            causes.append(duplicate(f"{path}[{position}]", usage))
    causes += signer_name_causes(spec.get("signerName", ""), "spec.signerName")
    if spec.get("signerName") == _LEGACY_SIGNER:
        words = "the legacy signerName is not allowed via this API version"
        causes.append(invalid("spec.signerName", _LEGACY_SIGNER, words))
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < _MIN_SECONDS:
        detail = f"may not specify a duration less than {_MIN_SECONDS} seconds (10 minutes)"
        causes.append(invalid("spec.expirationSeconds", seconds, detail))
    return causes


def _request(encoded: Any, path: str) -> list[Cause]:
    try:
        text = base64.b64decode(encoded or "", validate=True)
    except binascii.Error:
        text = b""
    block = _PEM.search(text)
    if block is None or block[1].decode() != _PEM_TYPE:
        return [invalid(path, encoded, f"PEM block type must be {_PEM_TYPE}")]
    try:
        content = base64.b64decode(b"".join(block[2].split()), validate=True)
    except binascii.Error:
        content = b""
    if not content.startswith(_DER_SEQUENCE):
        return [invalid(path, encoded, "asn1: structure error: tags don't match")]
    return []


def signer_name_causes(name: str, path: str) -> list[Cause]:
    """Causes for the name of a signer, such as `example.com/mine`."""
    if not name:
        return [required(path)]
    domain, slash, rest = name.partition("/")
    if not slash or "/" in rest:
        detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        return [invalid(path, name, detail)]
    causes = [invalid(path, domain, f"validating label {domain!r}: {error}") for error in dns_subdomain_errors(domain)]
    if not causes and "." not in domain:
        causes.append(invalid(path, name, "should be a domain with at least two segments separated by dots"))
    return causes


def validate_status(request: Obj, _old: Obj) -> list[Cause]:
    """Causes for changed conditions: a decision is made once, and one way."""
    causes: list[Cause] = []
    seen: set[str] = set()
    for position, condition in enumerate((request.get("status") or {}).get("conditions") or []):
        path, kind = f"status.conditions[{position}]", condition.get("type", "")
        if not kind:
            causes.append(required(f"{path}.type"))
        if kind in ("Approved", "Denied", "Failed") and condition.get("status") != "True":
            causes.append(not_supported(f"{path}.status", condition.get("status", ""), ("True",)))
        else:
            causes += one_of(condition.get("status"), f"{path}.status", ("False", "True", "Unknown"))
        if kind in _EXCLUSIVE and seen & (set(_EXCLUSIVE) - {kind}):
            detail = "Approved and Denied conditions are mutually exclusive"
            causes.append(invalid(f"{path}.type", kind, detail))
        if kind in seen:
            causes.append(duplicate(f"{path}.type", kind))
        seen.add(kind)
    return causes


STRATEGIES = {
    ("certificates.k8s.io", "CertificateSigningRequest"): Strategy(
        prepare_create=prepare_create,
        prepare_update=prepare_update,
        validate=validate,
        validate_status=validate_status,
        name_rule="path-segment",
    )
}
