"""TLS to servers that the cluster's users name: whom to trust, and what to say when a call fails.

The words for failures are those of Go's libraries, since people look for them and tests compare them.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import socket
import ssl
from functools import lru_cache
from pathlib import Path

import aiohttp

_UNTRUSTED = frozenset({2, 18, 19, 20, 21})
"""OpenSSL's codes for certificates of an authority that is not trusted."""
_EXPIRED = frozenset({9, 10})
_OTHER_NAME = frozenset({62, 64})


@lru_cache(maxsize=64)
def trusting(ca_bundle: str) -> ssl.SSLContext:
    """A client's context that trusts a bundle in base64, or the machine's authorities; raises ValueError.

    Kept by bundle, so that connections with the same trust are used again.
    """
    context = ssl.create_default_context()
    if ca_bundle:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(cadata=base64.b64decode(ca_bundle).decode())
        except (ssl.SSLError, binascii.Error, ValueError):
            raise ValueError("unable to load root certificates: unable to parse bytes as PEM block") from None
    return _modern(context)


def identified(ca_bundle: str, certificate: Path, *, verify: bool) -> ssl.SSLContext:
    """A context that shows a certificate, whose key lies beside it; raises ValueError."""
    context = trusting.__wrapped__(ca_bundle)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return context


def _modern(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def why(error: BaseException, name: str, address: str) -> str:
    """What went wrong with a call to the server `name` at `address` (with its port)."""
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "context deadline exceeded"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return _of_certificate(error.certificate_error, name)
    if isinstance(error, aiohttp.ClientConnectorError):
        return _of_dialing(error.os_error, name, address)
    if isinstance(error, aiohttp.ServerDisconnectedError | ConnectionResetError):
        return "EOF"
    if isinstance(error, ssl.SSLError):
        return f"tls: {error.reason or error}"
    return str(error) or type(error).__name__


def _of_certificate(error: BaseException, name: str) -> str:
    head = "tls: failed to verify certificate: x509: "
    code = getattr(error, "verify_code", 0)
    if code in _UNTRUSTED:
        return f"{head}certificate signed by unknown authority"
    if code in _EXPIRED:
        return f"{head}certificate has expired or is not yet valid"
    if code in _OTHER_NAME or (isinstance(error, ssl.CertificateError) and "match" in str(error)):
        return f"{head}certificate is not valid for any names, but wanted to match {name}"
    return f"{head}{getattr(error, 'verify_message', '') or error}"


def _of_dialing(error: OSError, name: str, address: str) -> str:
    if isinstance(error, ssl.SSLError):
        return "http: server gave HTTP response to HTTPS client" if "WRONG_VERSION" in str(error) else f"tls: {error}"
    if isinstance(error, socket.gaierror):
        return f"dial tcp: lookup {name}: no such host"
    if isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error):
        return f"dial tcp {address}: connect: connection refused"
    return f"dial tcp {address}: {error.strerror or error}"
