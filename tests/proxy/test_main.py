"""The whole proxy in a namespace of its own, against an API server that serves two lists and their watches."""

import asyncio
import json
import socket

import dnslib
import pytest
from aiohttp import web

from sparsam.client.config import ClusterConfig
from sparsam.proxy.config import ProxyConfig
from sparsam.proxy.main import purge, run
from tests.support.netns import namespaces
from tests.support.proxy import endpoint_slice, has_nft, service

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_nft,
    pytest.mark.skipif(not has_nft(), reason="nftables needs root and a kernel that has it"),
]


class Api:
    """Just enough of an API server."""

    def __init__(self):
        self.version = 1
        self.objects = {"services": {}, "endpointslices": {}}
        self.watchers = {"services": [], "endpointslices": []}

    async def __aenter__(self):
        app = web.Application()
        app.router.add_get("/{group:.*}/{plural:services|endpointslices}", self.serve)
        self.runner = web.AppRunner(app, shutdown_timeout=0)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 8001).start()
        return self

    async def __aexit__(self, *_):
        for queues in self.watchers.values():
            for queue in queues:
                queue.put_nowait(None)
        await self.runner.cleanup()

    def put(self, plural, obj):
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        self.objects[plural][obj["metadata"]["name"]] = obj
        for queue in self.watchers[plural]:
            queue.put_nowait({"type": "MODIFIED", "object": obj})

    async def serve(self, request):
        plural = request.match_info["plural"]
        if "watch" not in request.query:
            items = list(self.objects[plural].values())
            return web.json_response({"metadata": {"resourceVersion": str(self.version)}, "items": items})
        queue = asyncio.Queue()
        self.watchers[plural].append(queue)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        while event := await queue.get():
            await response.write(json.dumps(event).encode() + b"\n")
        return response


def resolve(name):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(5)
        sock.connect(("10.96.0.10", 53))
        sock.send(dnslib.DNSRecord.question(name).pack())
        return dnslib.DNSRecord.parse(sock.recv(512))


def address(name):
    return [str(record.rdata) for record in resolve(name).rr]


async def eventually(check):
    async with asyncio.timeout(20):
        while True:
            try:
                if await asyncio.to_thread(check):
                    return
            except OSError:
                pass
            await asyncio.sleep(0.02)


def test_services_are_served_while_the_api_comes_and_goes():
    with namespaces(1) as (node,):
        node.serve("pod", "127.0.0.1", 8080)
        node.ip("addr add 10.244.1.1/32 dev lo")
        node.serve("pod", "10.244.1.1", 8080)
        before = node.ip("-o link") + node.ip("-o route") + node.run("nft", "list", "ruleset")

        def reachable():
            with socket.create_connection(("10.96.0.5", 80), timeout=2) as connection:
                connection.sendall(b"x")
                return connection.recv(100).startswith(b"pod")

        async def scenario():
            config = ProxyConfig(
                client=ClusterConfig(server="http://127.0.0.1:8001"),
                node_name="n1",
                node_ips=("10.244.1.1",),
                upstream_resolvers=("127.0.0.1",),
            )
            proxy = asyncio.create_task(run(config))
            name = "web.default.svc.cluster.local"
            await eventually(lambda: resolve(name).header.rcode == dnslib.RCODE.SERVFAIL)
            async with Api() as api:
                api.put("services", service())
                api.put("endpointslices", endpoint_slice("10.244.1.1"))
                await eventually(lambda: address(name) == ["10.96.0.5"])
                await eventually(reachable)
                api.put("services", service("late", ip="10.96.0.6"))
                await eventually(lambda: address("late.default.svc.cluster.local") == ["10.96.0.6"])
            await eventually(reachable)
            assert await asyncio.to_thread(address, name) == ["10.96.0.5"]
            proxy.cancel()
            await asyncio.gather(proxy, return_exceptions=True)
            assert await asyncio.to_thread(reachable)
            await purge()

        node.call(lambda: asyncio.run(scenario()))
        assert node.ip("-o link") + node.ip("-o route") + node.run("nft", "list", "ruleset") == before
