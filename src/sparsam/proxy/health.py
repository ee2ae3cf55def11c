"""Answers load balancers that ask whether a node has endpoints of a Service: `spec.healthCheckNodePort`.

Each such Service has a port of its own on every node. The answer and its codes are those of upstream's kube-proxy.
"""

from __future__ import annotations

import asyncio
import json
import logging

from aiohttp import web

from sparsam.proxy.services import Fragment, HealthCheck
from sparsam.proxy.view import ServiceKey

log = logging.getLogger(__name__)


def answer(key: ServiceKey, check: HealthCheck, *, healthy: bool) -> tuple[int, str]:
    """Status and body: 200 while there are endpoints here and the rules are in the kernel, else 503."""
    namespace, name = key
    said = {
        "service": {"namespace": namespace, "name": name},
        "localEndpoints": check.endpoints,
        "serviceProxyHealthy": healthy,
    }
    return 200 if check.endpoints and healthy else 503, json.dumps(said, indent=4)


class HealthChecks:
    """One listener for each port that some Service wants, on the addresses of one family."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._wanted: dict[ServiceKey, HealthCheck] = {}
        self._listeners: dict[tuple[ServiceKey, int], asyncio.Server] = {}
        self._said: set[tuple[ServiceKey, int]] = set()
        self._healthy = False

    def put(self, key: ServiceKey, fragment: Fragment) -> None:
        """Note the check of a Service, or that it has none."""
        if fragment.health_check is None:
            self._wanted.pop(key, None)
        else:
            self._wanted[key] = fragment.health_check

    async def settle(self, *, healthy: bool) -> bool:
        """Listen where it is wanted, and nowhere else; False if a port cannot be had."""
        self._healthy = healthy
        wanted = {(key, check.port) for key, check in self._wanted.items()}
        for each in self._listeners.keys() - wanted:
            self._listeners.pop(each).close()
        for each in sorted(wanted - self._listeners.keys()):
            await self._listen(each)
        self._said &= wanted
        return wanted == self._listeners.keys()

    async def _listen(self, where: tuple[ServiceKey, int]) -> None:
        key, port = where

        async def handle(_request: web.BaseRequest) -> web.StreamResponse:
            # A request may still come over an open connection when the Service has just lost its check.
            check = self._wanted.get(key, HealthCheck(port, 0))
            status, text = answer(key, check, healthy=self._healthy)
            headers = {
                "X-Content-Type-Options": "nosniff",
                "X-Load-Balancing-Endpoint-Weight": str(check.endpoints),
            }
            return web.Response(status=status, text=text, headers=headers, content_type="application/json")

        try:
            server = web.Server(handle, access_log=None)
            self._listeners[where] = await asyncio.get_running_loop().create_server(server, self._address, port)
        except OSError as error:
            if where not in self._said:
                log.warning("no health check service=%s/%s port=%d error=%s", *key, port, error)
                self._said.add(where)
