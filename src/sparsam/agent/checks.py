"""Single attempts that probes and lifecycle hooks make: a command, an HTTP request, a TCP connection."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

from sparsam.agent.cri import Cri
from sparsam.agent.podspec import Obj
from sparsam.agent.probing import Attempt
from sparsam.agent.runtime import RuntimeFault, RuntimeTimeout

_MAX_BODY_BYTES = 10 * 1024
_MAX_OUTPUT_BYTES = 10 * 1024
_MAX_REDIRECTS = 10
USER_AGENT = "kube-probe/1.37"


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
