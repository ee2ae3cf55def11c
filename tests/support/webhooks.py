"""A webhook server over TLS on loopback with an authority of its own, and configurations that lead to it.

`async with WebhookServer() as hooks` answers each path by the function that `hooks.on(path)` registered: it gets the
review and gives the response (or a whole aiohttp answer). What was asked is kept in `hooks.asked`.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Obj = dict[str, Any]
Answer = Callable[[Obj], Any]
T = TypeVar("T", bound=contextlib.AbstractAsyncContextManager[Any])

CONFIGURATIONS = "/apis/admissionregistration.k8s.io/v1"
POLL_SECONDS = 0.05


class WebhookServer:
    """See the module. `names` are those in the server's certificate."""

    def __init__(self, names: tuple[str, ...] = ("127.0.0.1", "hook.default.svc"), *, host: str = "127.0.0.1") -> None:
        self._names, self._host = names, host
        self._answers: dict[str, Answer] = {}
        self.asked: list[Obj] = []
        self.versions: list[str] = []
        self.port = 0
        self.ca_bundle = ""
        self.client_certificate: Any = None

    async def __aenter__(self) -> WebhookServer:
        with tempfile.TemporaryDirectory() as directory:
            authority, chain = certify(self._names, Path(directory))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(chain)
        self.ca_bundle = base64.b64encode(authority).decode()
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, 0, ssl_context=context, shutdown_timeout=0.1)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def on(self, path: str, answer: Answer) -> None:
        """Answer reviews at `path`."""
        self._answers[path] = answer

    def client(self, path: str) -> Obj:
        """A clientConfig by URL."""
        return {"url": f"https://127.0.0.1:{self.port}{path}", "caBundle": self.ca_bundle}

    def service_client(self, path: str, *, name: str = "hook", port: int = 443) -> Obj:
        """A clientConfig by Service in the namespace default."""
        return {
            "service": {"namespace": "default", "name": name, "path": path, "port": port},
            "caBundle": self.ca_bundle,
        }

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        review = json.loads(raw) if raw else {}
        self.asked.append(review.get("request", review))
        self.versions.append(review.get("apiVersion", ""))
        found = self._answers[request.path](review.get("request", review))
        if asyncio.iscoroutine(found):
            found = await found
        if isinstance(found, web.StreamResponse):
            return found
        response = {"uid": review.get("request", {}).get("uid"), **found}
        return web.json_response(
            {"kind": "AdmissionReview", "apiVersion": review.get("apiVersion"), "response": response}
        )


def allow(_review: Obj) -> Obj:
    return {"allowed": True}


def deny(_review: Obj) -> Obj:
    return {"allowed": False, "status": {"message": "the webhook says no", "reason": "Forbidden", "code": 403}}


def patch(*operations: Obj) -> Answer:
    """Allow, with a JSON patch."""
    encoded = base64.b64encode(json.dumps(list(operations)).encode()).decode()
    return lambda _review: {"allowed": True, "patchType": "JSONPatch", "patch": encoded}


def hook(
    client: Obj, *, name: str = "hook.example.com", resources: tuple[str, ...] = ("configmaps",), **more: Any
) -> Obj:
    """One webhook on resources of the core group; `more` are further fields."""
    rule = {
        "apiGroups": more.pop("groups", [""]),
        "apiVersions": more.pop("versions", ["v1"]),
        "resources": list(resources),
        "operations": more.pop("operations", ["CREATE"]),
        "scope": more.pop("scope", "*"),
    }
    known = {"sideEffects": "None", "admissionReviewVersions": ["v1"]}
    return {"name": name, "clientConfig": client, "rules": [rule], **known, **more}


@contextlib.contextmanager
def in_thread(server: T) -> Iterator[T]:
    """A server with an event loop of its own, beside a synchronous test."""
    up, stop = threading.Event(), threading.Event()

    async def main() -> None:
        async with server:
            up.set()
            while not stop.is_set():
                await asyncio.sleep(0.02)

    thread = threading.Thread(target=lambda: asyncio.run(main()), daemon=True)
    thread.start()
    assert up.wait(20)
    try:
        yield server
    finally:
        stop.set()
        thread.join(20)


async def configure(http: Any, kind: str, name: str, *hooks: Obj) -> None:
    """Create a configuration (`mutating` or `validating`) and wait until the server calls by it.

    The last webhook is one of the wait's own: it refuses a Lease that nobody else creates.
    """
    path = f"{CONFIGURATIONS}/{kind}webhookconfigurations"
    code, body = await http("POST", path, {"metadata": {"name": name}, "webhooks": [*hooks, _marker(name)]})
    assert code == 201, body
    body = {"metadata": {"name": f"marker-{name}", "labels": {"marker": name}}}
    while True:
        code, told = await http("POST", "/apis/coordination.k8s.io/v1/namespaces/default/leases?dryRun=All", body)
        if code == 500 and f"marker-{name}.example.com" in told["message"]:
            return
        await asyncio.sleep(POLL_SECONDS)


def _marker(name: str) -> Obj:
    # Nothing listens there: the call fails at once, by the name of this webhook.
    nowhere = {"url": "https://127.0.0.1:1/"}
    selected = {"objectSelector": {"matchLabels": {"marker": name}}, "groups": ["coordination.k8s.io"]}
    return hook(nowhere, name=f"marker-{name}.example.com", resources=("leases",), **selected)


def certify(names: tuple[str, ...], directory: Path, *, valid: timedelta = timedelta(days=1)) -> tuple[bytes, Path]:
    """A fresh authority's certificate, and a file with a server's key and certificate signed by it."""
    now = datetime.now(UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test-webhook-ca")])
    authority = (
        x509.CertificateBuilder()
        .subject_name(ca_name)
        .issuer_name(ca_name)
        .public_key(ca_key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])]))
        .issuer_name(ca_name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + valid)
        .add_extension(x509.SubjectAlternativeName([_general_name(each) for each in names]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    pem, path = serialization.Encoding.PEM, directory / "server.pem"
    form = serialization.PrivateFormat.TraditionalOpenSSL
    path.write_bytes(key.private_bytes(pem, form, serialization.NoEncryption()) + leaf.public_bytes(pem))
    return authority.public_bytes(pem), path


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
