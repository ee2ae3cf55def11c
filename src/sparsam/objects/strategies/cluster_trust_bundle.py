"""ClusterTrustBundles: root certificates for everybody, of one signer or of nobody in particular."""

from __future__ import annotations

import base64
import binascii
import re

from sparsam.errors import Cause
from sparsam.objects.fields import invalid, required
from sparsam.objects.names import dns_subdomain_errors, validate_immutable
from sparsam.objects.strategies.certificate_signing_request import signer_name_causes
from sparsam.objects.strategy import Obj, Strategy

_BUNDLE, _NAME = "spec.trustBundle", "metadata.name"
_MAX_BYTES = 1 << 20
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----\s+(.*?)-----END \1-----", re.DOTALL)
_DER_SEQUENCE = b"\x30"


def validate(bundle: Obj) -> list[Cause]:
    """Causes for a bundle; that its certificates can be parsed is as far as this goes."""
    spec, name = bundle.get("spec") or {}, str(bundle["metadata"].get("name", ""))
    signer = spec.get("signerName") or ""
    causes = _name(name, signer)
    if signer:
        causes += signer_name_causes(signer, "spec.signerName")
    return causes + _certificates(str(spec.get("trustBundle") or ""))


def validate_update(new: Obj, old: Obj) -> list[Cause]:
    """A bundle stays that of its signer."""
    causes = validate(new)
    before, after = ((each.get("spec") or {}).get("signerName") for each in (old, new))
    return causes + validate_immutable(after, before, "spec.signerName")


def _name(name: str, signer: str) -> list[Cause]:
    if not signer:
        if ":" in name:
            detail = 'ClusterTrustBundle without signer name must not have ":" in its name'
            return [invalid(_NAME, name, detail)]
        return [invalid(_NAME, name, error) for error in dns_subdomain_errors(name)]
    prefix = signer.replace("/", ":") + ":"
    if not name.startswith(prefix):
        detail = f"ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}"
        return [invalid(_NAME, name, detail)]
    return [invalid(_NAME, name, error) for error in dns_subdomain_errors(name.removeprefix(prefix))]


def _certificates(text: str) -> list[Cause]:
    if not text:
        return [required(_BUNDLE)]
    if len(text) > _MAX_BYTES:
        return [invalid(_BUNDLE, "<value omitted>", f"must be at most {_MAX_BYTES} bytes long")]
    blocks = _BLOCK.findall(text.encode())
    if not blocks:
        return [invalid(_BUNDLE, "<value omitted>", "at least one trust anchor must be provided")]
    causes: list[Cause] = []
    for number, (kind, body) in enumerate(blocks):
        if kind != b"CERTIFICATE":
            detail = f"entry {number} has bad block type: {kind.decode()}"
            causes.append(invalid(_BUNDLE, "<value omitted>", detail))
        elif not _decoded(body).startswith(_DER_SEQUENCE):
            detail = f"entry {number} does not parse as X.509"
            causes.append(invalid(_BUNDLE, "<value omitted>", detail))
    return causes


def _decoded(body: bytes) -> bytes:
    try:
        return base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error:
        return b""


STRATEGIES = {
    ("certificates.k8s.io", "ClusterTrustBundle"): Strategy(
        validate=validate, validate_update=validate_update, name_rule="path-segment", has_status=False
    )
}
