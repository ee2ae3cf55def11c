"""A slow registry on loopback: every tag is a small image of its own, handed out in pieces."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from sparsam.agent.images import ImageConfig, ImageFile, build_image

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_PIECES = 8


@dataclass
class SlowRegistry:
    """Use as an async context manager; `asked` names the tags whose layers somebody began to fetch."""

    entries: list[ImageFile]
    seconds: float = 0.6
    port: int = 0
    asked: set[str] = field(default_factory=set)
    _manifests: dict[str, bytes] = field(default_factory=dict)
    _blobs: dict[str, tuple[str, bytes]] = field(default_factory=dict)

    async def __aenter__(self) -> SlowRegistry:
        app = web.Application()
        app.router.add_get("/v2/", self._root)
        app.router.add_get("/v2/{name:.+}/manifests/{reference}", self._manifest)
        app.router.add_get("/v2/{name:.+}/blobs/{digest}", self._blob)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def image(self, tag: str) -> str:
        """A new image under this tag; returns its reference."""
        with tempfile.TemporaryDirectory() as scratch:
            entries = [*self.entries, ImageFile("etc/tag", tag.encode(), mode=0o644)]
            archive = build_image(
                f"x:{tag}", entries, Path(scratch) / "i.tar", ImageConfig(env={"PATH": "/bin:/usr/bin"})
            )
            with tarfile.open(archive) as packed:
                (listed,) = json.loads(_read(packed, "manifest.json"))
                config, layer = _read(packed, listed["Config"]), _read(packed, listed["Layers"][0])
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": self._add(tag, "application/vnd.oci.image.config.v1+json", config),
            "layers": [self._add(tag, "application/vnd.oci.image.layer.v1.tar", layer)],
        }
        content = json.dumps(manifest).encode()
        self._manifests[tag] = self._manifests[_digest(content)] = content
        return f"127.0.0.1:{self.port}/slow/image:{tag}"

    def _add(self, tag: str, media_type: str, content: bytes) -> dict[str, object]:
        self._blobs[_digest(content)] = tag, content
        return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}

    async def _root(self, request: web.Request) -> web.Response:
        return web.json_response({})

    async def _manifest(self, request: web.Request) -> web.Response:
        content = self._manifests.get(request.match_info["reference"])
        if content is None:
            return web.json_response({"errors": [{"code": "MANIFEST_UNKNOWN"}]}, status=404)
        headers = {"Content-Type": _MANIFEST, "Docker-Content-Digest": _digest(content)}
        return web.Response(body=content, headers=headers)

    async def _blob(self, request: web.Request) -> web.StreamResponse:
        tag, content = self._blobs[request.match_info["digest"]]
        self.asked.add(tag)
        start = request.http_range.start or 0
        answer = web.StreamResponse(status=206 if start else 200)
        answer.content_length = len(content) - start
        if start:
            answer.headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        await answer.prepare(request)
        if request.method != "HEAD":
            size = max(1, (len(content) - start) // _PIECES + 1)
            for at in range(start, len(content), size):
                with contextlib.suppress(ConnectionError):  # whoever asked was killed
                    await answer.write(content[at : at + size])
                await asyncio.sleep(self.seconds / _PIECES)
        return answer


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _read(archive: tarfile.TarFile, name: str) -> bytes:
    member = archive.extractfile(name)
    assert member is not None
    return member.read()
