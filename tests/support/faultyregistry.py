"""A small OCI registry on loopback whose images can be private, spoilt, for another machine, or never come."""

from __future__ import annotations

import base64
import hashlib
import io
import tarfile
import threading
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from sparsam.agent.images import add_entries, busybox_entries, go_architecture

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
USER, PASSWORD = "me", "open sesame"


@dataclass(frozen=True)
class Blob:
    media_type: str
    content: bytes

    @property
    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(self.content).hexdigest()

    def descriptor(self, **more: Any) -> dict[str, Any]:
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.content), **more}


@dataclass
class Registry:
    """Use as a context manager. The first word of a repository says what is wrong with it."""

    manifests: dict[str, Blob] = field(default_factory=dict)
    """By `repository:tag` and `repository@digest`."""
    blobs: dict[str, Blob] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    """How often each manifest was asked for."""
    closing: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Registry:
        registry = self

        class Handler(_Handler):
            shop = registry

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server.server_address[1]}"

    def add(self, repository: str, *, architecture: str = "", index: bool = False, word: str = "") -> str:
        """A shell image that differs by `word`; returns its name with the tag 1."""
        layer = Blob(LAYER, _layer(word or repository))
        architecture = architecture or go_architecture()
        config = Blob(CONFIG, _config(layer, architecture))
        body = {"schemaVersion": 2, "config": config.descriptor(), "layers": [layer.descriptor()]}
        manifest = Blob(MANIFEST, msgspec.json.encode({**body, "mediaType": MANIFEST}))
        for blob in (layer, config):
            self.blobs[blob.digest] = blob
        self.manifests[f"{repository}@{manifest.digest}"] = top = manifest
        if index:
            entry = manifest.descriptor(platform={"os": "linux", "architecture": architecture})
            top = Blob(INDEX, msgspec.json.encode({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}))
            self.manifests[f"{repository}@{top.digest}"] = top
        self.manifests[f"{repository}:1"] = top
        return f"{self.host}/{repository}:1"

    def by_digest(self, repository: str) -> str:
        return f"{self.host}/{repository}@{self.manifests[f'{repository}:1'].digest}"

    def secret(self, name: str, password: str = PASSWORD) -> dict[str, Any]:
        auths = {self.host: {"username": USER, "password": password}}
        text = base64.b64encode(msgspec.json.encode({"auths": auths})).decode()
        data = {".dockerconfigjson": text}
        kind = "kubernetes.io/dockerconfigjson"
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "type": kind, "data": data}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    shop: Registry

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        words = self.path.partition("?")[0].removeprefix("/v2/").split("/")
        if len(words) < 3:
            self._send(200, b"{}", "application/json", body)
            return
        repository, kind, reference = "/".join(words[:-2]), words[-2], words[-1]
        fault = words[0]
        if fault == "private" and self.headers.get("Authorization") != _basic():
            self._send(401, b"{}", "application/json", body)
        elif kind == "manifests":
            self._manifest(repository, reference, fault, body)
        else:
            self._blob(reference, fault, body)

    def _manifest(self, repository: str, reference: str, fault: str, body: bool) -> None:
        separator = "@" if reference.startswith("sha256:") else ":"
        self.shop.asked[f"{repository}{separator}{reference}"] += 1
        if fault == "hangs":
            self.shop.closing.wait()
        found = self.shop.manifests.get(f"{repository}{separator}{reference}")
        if found is None:
            self._send(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN"}]}', "application/json", body)
        else:
            self._send(200, found.content, found.media_type, body, found.digest)

    def _blob(self, digest: str, fault: str, body: bool) -> None:
        blob = self.shop.blobs[digest]
        content = blob.content
        if fault == "changed" and blob.media_type == LAYER:
            content = content[:-1] + b"x"
        cut = fault == "cut" and blob.media_type == LAYER
        self._send(200, content, "application/octet-stream", body, sent=len(content) // 2 if cut else None)

    def _send(
        self, status: int, content: bytes, media_type: str, body: bool, digest: str = "", sent: int | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(content)))
        if digest:
            self.send_header("Docker-Content-Digest", digest)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="registry"')
        self.end_headers()
        if body:
            self.wfile.write(content[:sent])
        if sent is not None:
            self.close_connection = True


def _basic() -> str:
    return "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


def _layer(word: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as layer:
        add_entries(layer, busybox_entries())
        info = tarfile.TarInfo("word")
        info.size = len(word.encode())
        layer.addfile(info, io.BytesIO(word.encode()))
    return packed.getvalue()


def _config(layer: Blob, architecture: str) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [layer.digest]}
    runtime = {"Cmd": ["/bin/sh"], "Env": ["PATH=/bin"]}
    return msgspec.json.encode({"architecture": architecture, "os": "linux", "config": runtime, "rootfs": rootfs})
