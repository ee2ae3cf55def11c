"""A small extension API server for wardle.example.com/v1alpha1, as APIServices lead to one.

It believes who asks by the certificate of the front proxy, which it demands, keeps Flunders in memory, and streams a
watch. `asked` holds the headers of every request.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import tempfile
from pathlib import Path
from typing import Any

from aiohttp import WSMsgType, web

from sparsam.objects import codec
from sparsam.objects.kinds import ENDPOINTSLICES
from sparsam.store.interface import Store
from tests.support.webhooks import certify

Obj = dict[str, Any]
GROUP, VERSION = "wardle.example.com", "v1alpha1"
ROOT = f"/apis/{GROUP}/{VERSION}"
FLUNDERS = f"{ROOT}/namespaces/default/flunders"
APISERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
NAME = f"{VERSION}.{GROUP}"


class ExtensionServer:
    """See the module; `front_proxy` is the authority that signs for those who may pass requests on."""

    def __init__(
        self, front_proxy: Path, *, group: str = GROUP, version: str = VERSION, host: str = "127.0.0.1"
    ) -> None:
        self._front_proxy, self._group, self._version, self._host = front_proxy, group, version, host
        self.asked: list[Any] = []
        self.flunders: dict[str, Obj] = {}
        self.port, self.ca_bundle, self.status = 0, "", 200
        self.hangs = False

    async def __aenter__(self) -> ExtensionServer:
        with tempfile.TemporaryDirectory() as directory:
            authority, chain = certify(("api.default.svc",), Path(directory))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(chain)
        context.load_verify_locations(self._front_proxy)
        context.verify_mode = ssl.CERT_REQUIRED
        self.ca_bundle = base64.b64encode(authority).decode()
        app, root = web.Application(), f"/apis/{self._group}/{self._version}"
        app.router.add_get(root, self._resources)
        app.router.add_get("/openapi/v3", self._openapi)
        app.router.add_get(f"/openapi/v3{root}", self._document)
        app.router.add_route("*", root + "/namespaces/{namespace}/flunders", self._collection)
        app.router.add_route("*", root + "/namespaces/{namespace}/flunders/{name}", self._one)
        app.router.add_get(root + "/namespaces/{namespace}/flunders/{name}/talk", self._talk)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, 0, ssl_context=context, shutdown_timeout=0.1)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Answer nobody any more."""
        await self._runner.cleanup()

    def api_service(self, **spec: Any) -> Obj:
        """The APIService that leads here."""
        return {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"{self._version}.{self._group}"},
            "spec": {
                "group": self._group,
                "version": self._version,
                "groupPriorityMinimum": 2000,
                "versionPriority": 200,
                "caBundle": self.ca_bundle,
                "service": {"namespace": "default", "name": "api", "port": 7443},
                **spec,
            },
        }

    async def expose(self, http: Any, store: Store) -> None:
        """The Service and its endpoints; loopback is refused to clients, so that the slice is put into the store."""
        service = {"metadata": {"name": "api"}, "spec": {"ports": [{"port": 7443, "targetPort": self.port}]}}
        code, body = await http("POST", "/api/v1/namespaces/default/services", service)
        assert code == 201, body
        endpoint_slice = {
            "metadata": {"name": "api-1", "labels": {"kubernetes.io/service-name": "api"}},
            "addressType": "IPv4",
            "ports": [{"port": self.port}],
            "endpoints": [{"addresses": ["127.0.0.1"]}],
        }
        await store.create(ENDPOINTSLICES.key("api-1", "default"), codec.encode(endpoint_slice))

    async def _resources(self, request: web.Request) -> web.Response:
        self.asked.append(request.headers)
        if self.status != 200:
            return web.Response(status=self.status)
        verbs = ["create", "delete", "get", "list", "watch"]
        entry = {"name": "flunders", "singularName": "flunder", "namespaced": True, "kind": "Flunder", "verbs": verbs}
        talk = {"name": "flunders/talk", "singularName": "", "namespaced": True, "kind": "Flunder", "verbs": ["get"]}
        return web.json_response(
            {
                "kind": "APIResourceList",
                "apiVersion": "v1",
                "groupVersion": f"{self._group}/{self._version}",
                "resources": [entry, talk],
            }
        )

    async def _openapi(self, _request: web.Request) -> web.Response:
        path = f"apis/{self._group}/{self._version}"
        return web.json_response({"paths": {path: {"serverRelativeURL": f"/openapi/v3/{path}?hash=1"}}})

    async def _document(self, _request: web.Request) -> web.Response:
        return web.json_response({"openapi": "3.0.0", "info": {"title": "wardle"}})

    async def _collection(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.headers)
        if request.method == "POST":
            obj = await request.json()
            self.flunders[obj["metadata"]["name"]] = obj
            return web.json_response(obj, status=201)
        if "watch" in request.query:
            return await self._watch(request)
        items = list(self.flunders.values())
        return web.json_response(
            {"kind": "FlunderList", "apiVersion": f"{self._group}/{self._version}", "items": items}
        )

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"content-type": "application/json"})
        await answer.prepare(request)
        told: set[str] = set()
        while request.transport is not None and not request.transport.is_closing():
            for name in self.flunders.keys() - told:
                event = {"type": "ADDED", "object": self.flunders[name]}
                await answer.write(web.json_response(event).body + b"\n")  # type: ignore[operator]
                told.add(name)
            await asyncio.sleep(0.02)
        return answer

    async def _one(self, request: web.Request) -> web.Response:
        self.asked.append(request.headers)
        while self.hangs:
            await asyncio.sleep(0.02)
        found = self.flunders.get(request.match_info["name"])
        if found is None:
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
            return web.json_response(status, status=404)
        if request.method == "DELETE":
            del self.flunders[request.match_info["name"]]
        return web.json_response(found)

    async def _talk(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=("chat",))
        await socket.prepare(request)
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                await socket.send_str(f"{request.headers['x-remote-user']}: {message.data}")
        return socket
