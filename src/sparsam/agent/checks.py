"""Single attempts that probes and lifecycle hooks make: a command, an HTTP or gRPC request, a TCP connection."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

import aiohttp
import grpc
import grpc.aio
from yarl import URL

from sparsam.agent.cri import Cri
from sparsam.agent.podspec import Obj
from sparsam.agent.probing import Attempt
from sparsam.agent.runtime import RuntimeFault, RuntimeTimeout

_MAX_BODY_BYTES = 10 * 1024
_MAX_OUTPUT_BYTES = 10 * 1024
_MAX_REDIRECTS = 10
USER_AGENT = "kube-probe/1.37"
_HEALTH_CHECK = "/grpc.health.v1.Health/Check"
_SERVING = "SERVING"
_HEALTH_STATES = {0: "UNKNOWN", 1: _SERVING, 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}


def port_number(port: int | str, spec: Obj) -> int:
    """A port by number or by the name of a container port; raises ValueError."""
    if isinstance(port, int) or port.isdigit():
        return int(port)
    for entry in spec.get("ports") or ():
        if entry.get("name") == port:
            return int(entry["containerPort"])
    raise ValueError(f"couldn't find port: {port}")


async def check(probe: Obj, spec: Obj, *, cri: Cri, container_id: str, ip: str, timeout_seconds: float) -> Attempt:
    """Run a probe's handler once."""
    try:
        if "exec" in probe:
            return await check_exec(cri, container_id, list(probe["exec"].get("command") or ()), timeout_seconds)
        if "httpGet" in probe:
            return await check_http(probe["httpGet"], spec, ip, timeout_seconds)
        if "grpc" in probe:
            return await check_grpc(probe["grpc"], ip, timeout_seconds)
        return await check_tcp(probe["tcpSocket"], spec, ip, timeout_seconds)
    except ValueError as error:
        return Attempt(False, str(error))


async def check_exec(cri: Cri, container_id: str, command: list[str], timeout_seconds: float) -> Attempt:
    """Success is exit code 0; an engine that cannot run the command says nothing about the container."""
    try:
        result = await cri.exec(container_id, command, timeout_seconds)
    except RuntimeTimeout:
        words = " ".join(command)
        return Attempt(False, f'command timed out: "{words}" timed out after {int(timeout_seconds)}s')
    except RuntimeFault as error:
        return Attempt(None, str(error))
    return Attempt(result.exit_code == 0, result.output[:_MAX_OUTPUT_BYTES].decode(errors="replace"))


async def check_http(action: Obj, spec: Obj, ip: str, timeout_seconds: float) -> Attempt:
    """Success is a status from 200 to 399; redirects to the same host are followed."""
    scheme = (action.get("scheme") or "HTTP").lower()
    host = action.get("host") or ip
    port = port_number(action["port"], spec)
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/{(action.get('path') or '/').lstrip('/')}"
    try:
        status, body = await _get(url, _headers(action), timeout_seconds)
    except TimeoutError:
        message = f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)'
        return Attempt(False, message)
    except (aiohttp.ClientError, OSError) as error:
        return Attempt(False, f'Get "{url}": {_reason(error, host, port)}')
    if 200 <= status < 400:
        return Attempt(True, body)
    return Attempt(False, f"HTTP probe failed with statuscode: {status}")


async def check_tcp(action: Obj, spec: Obj, ip: str, timeout_seconds: float) -> Attempt:
    """Success is a connection."""
    host, port = action.get("host") or ip, port_number(action["port"], spec)
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), timeout_seconds)
    except TimeoutError:
        return Attempt(False, f"dial tcp {host}:{port}: i/o timeout")
    except OSError as error:
        return Attempt(False, _reason(error, host, port))
    writer.close()
    return Attempt(True)


async def check_grpc(action: Obj, ip: str, timeout_seconds: float) -> Attempt:
    """Success is SERVING from the server's grpc.health.v1.Health service."""
    address = f"{f'[{ip}]' if ':' in ip else ip}:{action['port']}"
    options = [("grpc.primary_user_agent", USER_AGENT), ("grpc.enable_http_proxy", 0)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        call = channel.unary_unary(
            _HEALTH_CHECK, request_serializer=_health_request, response_deserializer=_health_answer
        )
        try:
            status = await call(action.get("service") or "", timeout=timeout_seconds)
        except grpc.aio.AioRpcError as error:
            return Attempt(False, _grpc_reason(error, address, timeout_seconds))
    if status == _SERVING:
        return Attempt(True, "service healthy")
    return Attempt(False, f'service unhealthy (responded with "{status}")')


def _health_request(service: str) -> bytes:
    """HealthCheckRequest: the service's name is field 1."""
    name = service.encode()
    return b"\x0a" + bytes([len(name)]) + name if name else b""


def _health_answer(message: bytes) -> str:
    """The status of a HealthCheckResponse, which is field 1, an enumeration; zero is left out."""
    number = message[1] if message[:1] == b"\x08" and len(message) > 1 else 0
    return _HEALTH_STATES.get(number, str(number))


def _grpc_reason(error: grpc.aio.AioRpcError, address: str, timeout_seconds: float) -> str:
    code = error.code()
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return (
            f"error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {error.details()}"
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"timeout: health rpc did not complete within {timeout_seconds:g}s"
    if code is grpc.StatusCode.UNAVAILABLE:
        return f'timeout: failed to connect service "{address}" within {timeout_seconds:g}s: {error.details()}'
    return f"error: health rpc probe failed: {error.details()}"


async def _get(url: str, headers: Mapping[str, str], timeout_seconds: float) -> tuple[int, str]:
    # No certificate check, as upstream: a probe asks for health, not for identity.
    connector = aiohttp.TCPConnector(ssl=False, force_close=True)
    timeout = aiohttp.ClientTimeout(total=timeout_seconds)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as session:
        for _ in range(_MAX_REDIRECTS):
            async with session.get(url, headers=headers, allow_redirects=False) as answer:
                target = answer.headers.get("Location", "")
                if answer.status // 100 == 3 and target:
                    following = answer.url.join(URL(target))
                    if urlsplit(str(following)).hostname == urlsplit(url).hostname:
                        url = str(following)
                        continue
                return answer.status, (await answer.content.read(_MAX_BODY_BYTES)).decode(errors="replace")
    return 310, ""


def _headers(action: Obj) -> dict[str, str]:
    headers = {"User-Agent": USER_AGENT, "Accept": "*/*"}
    headers.update({header["name"]: header.get("value", "") for header in action.get("httpHeaders") or ()})
    return headers


def _reason(error: Exception, host: str, port: int) -> str:
    cause = getattr(error, "os_error", error)
    if isinstance(cause, ConnectionRefusedError):
        return f"dial tcp {host}:{port}: connect: connection refused"
    return str(error) or type(error).__name__
