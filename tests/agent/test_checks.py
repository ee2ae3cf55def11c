"""Probe attempts against real servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import grpc.aio
import pytest

from sparsam.agent.checks import check_grpc

pytestmark = pytest.mark.asyncio
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"


class Health(grpc.GenericRpcHandler):
    """grpc.health.v1.Health that knows one service."""

    def __init__(self, answers: dict[bytes, bytes]) -> None:
        self.answers = answers

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        async def answer(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
            if request[2:] not in self.answers:
                await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
            return self.answers[request[2:]]

        known = handler_call_details.method == "/grpc.health.v1.Health/Check"
        return grpc.unary_unary_rpc_method_handler(answer) if known else None


@asynccontextmanager
async def serving(**answers: bytes) -> AsyncIterator[int]:
    server = grpc.aio.server()
    if answers:
        server.add_generic_rpc_handlers([Health({name.strip("_").encode(): state for name, state in answers.items()})])
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)


async def test_a_grpc_server_says_whether_it_serves():
    async with serving(_=SERVING, sick=NOT_SERVING) as port:
        assert (await check_grpc({"port": port}, "127.0.0.1", 5)).success
        sick = await check_grpc({"port": port, "service": "sick"}, "127.0.0.1", 5)
        assert (sick.success, sick.message) == (False, 'service unhealthy (responded with "NOT_SERVING")')
        unknown = await check_grpc({"port": port, "service": "other"}, "127.0.0.1", 5)
        assert unknown.message == "error: health rpc probe failed: unknown service"


async def test_a_server_without_health_or_no_server_at_all_is_told_apart():
    async with serving() as port:
        plain = await check_grpc({"port": port}, "127.0.0.1", 5)
        assert not plain.success
        assert plain.message.startswith("error: this server does not implement the grpc health protocol")
    gone = await check_grpc({"port": port}, "127.0.0.1", 5)
    assert not gone.success
    assert gone.message.startswith(f'timeout: failed to connect service "127.0.0.1:{port}" within 5s')
