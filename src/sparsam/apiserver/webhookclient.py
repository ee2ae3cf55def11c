"""Calls to webhooks: a review goes out by POST over TLS, a review comes back.

What hangs is cut off, what is too long is not read to its end, and no redirect is followed: a webhook cannot send this
server elsewhere. Source of the rules: the page "Dynamic Admission Control" (clientConfig, timeouts).
"""

from __future__ import annotations

import asyncio
import math
import ssl
from functools import partial
from urllib.parse import urlsplit

import aiohttp
import msgspec

from sparsam.apiserver import outward
from sparsam.apiserver.admission import Reader
from sparsam.apiserver.endpoints import at, resolve
from sparsam.errors import StatusError
from sparsam.objects.strategies.webhook_clients import SERVICE_PORT
from sparsam.objects.strategy import Obj

LONGEST_ANSWER_BYTES = 16 * 1024 * 1024
"""Several times the largest request, since a patch may carry the whole object."""
MOST_SHOWN = 2048
"""Characters of an answer that is no review, in the error that it becomes."""
_HEADERS = {"content-type": "application/json", "accept": "application/json", "user-agent": "kube-apiserver-admission"}
_WORDS = {
    400: "the server rejected our request for an unknown reason",
    401: "the server has asked for the client to provide credentials",
    404: "the server could not find the requested resource",
    405: "the server does not allow this method on the requested resource",
    409: "the server reported a conflict",
    422: "the server rejected our request due to an error in our request",
    429: "the server has received too many requests and has asked us to try again later",
    503: "the server is currently unable to handle the request",
    504: "the server was unable to return a response in the time allotted, but may still be processing the request",
}


class CallFailed(Exception):
    """No answer, or none that means anything; the message says why in upstream's words."""


class BadClient(CallFailed):
    """The configuration does not lead to a server that could be called."""


class WebhookClient:
    """Connections to webhooks, kept open between calls."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Drop all connections."""
        if self._session is not None:
            await self._session.close()

    async def post(self, client: Obj, review: Obj, seconds: float) -> bytes:
        """The body of a successful answer; raises CallFailed."""
        try:
            trust = outward.trusting(client.get("caBundle") or "")
        except ValueError as error:
            raise BadClient(str(error)) from None
        shown, name = _shown_url(client)
        shown += f"?timeout={math.ceil(seconds)}s"
        address = shown
        try:
            async with asyncio.timeout(seconds):
                address = await self._dialled(client, shown)
                call = partial(
                    self._post,
                    address,
                    msgspec.json.encode(review),
                    host=urlsplit(shown).netloc,
                    trust=trust,
                    name=name,
                )
                try:
                    return await call()
                except aiohttp.ServerDisconnectedError:
                    # Kept open for too long, maybe: once more, over a new connection.
                    return await call()
        except CallFailed:
            raise
        except StatusError as error:
            raise CallFailed(f'Post "{shown}": {error.message}') from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            why = outward.why(error, name, urlsplit(address).netloc)
            raise CallFailed(f'Post "{shown}": {why}') from error

    async def _post(self, address: str, body: bytes, *, host: str, trust: ssl.SSLContext, name: str) -> bytes:
        answer = await self._open().post(
            address,
            data=body,
            headers={**_HEADERS, "host": host},
            ssl=trust,
            server_hostname=name,
            allow_redirects=False,
        )
        try:
            return await _whole(answer)
        finally:
            answer.release()

    async def _dialled(self, client: Obj, shown: str) -> str:
        service = client.get("service")
        if not service:
            return shown
        port = service.get("port") or SERVICE_PORT
        host, port = await resolve(self._reader, service["namespace"], service["name"], port)
        return urlsplit(shown)._replace(netloc=at(host, port)).geturl()

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=None), connector=aiohttp.TCPConnector(limit=0)
            )
        return self._session


def _shown_url(client: Obj) -> tuple[str, str]:
    """The URL without its query, and the name that the server's certificate must carry."""
    service = client.get("service")
    if not service:
        url: str = client["url"]
        return url, urlsplit(url).hostname or ""
    name = f"{service['name']}.{service['namespace']}.svc"
    path = "/" + (service.get("path") or "").lstrip("/")
    return f"https://{name}:{service.get('port') or SERVICE_PORT}{path}", name


async def _whole(answer: aiohttp.ClientResponse) -> bytes:
    """A successful answer, read to its end; raises CallFailed."""
    parts = bytearray()
    async for chunk in answer.content.iter_any():
        parts += chunk
        if len(parts) > LONGEST_ANSWER_BYTES:
            answer.close()
            raise CallFailed(f"the answer is longer than {LONGEST_ANSWER_BYTES} bytes")
    if not 200 <= answer.status <= 206:
        raise CallFailed(_refusal(answer.status, bytes(parts)))
    return bytes(parts)


def _refusal(status: int, body: bytes) -> str:
    """What upstream's client makes of an answer that is no success."""
    try:
        told = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        told = None
    if isinstance(told, dict) and told.get("kind") == "Status" and isinstance(told.get("message"), str):
        return str(told["message"])
    text = body.decode("utf-8", "replace").strip()[:MOST_SHOWN] or "unknown"
    if status == 403:
        return text
    if status in _WORDS:
        return _WORDS[status]
    if status >= 500:
        return f'an error on the server ("{text}") has prevented the request from succeeding'
    return f"the server responded with the status code {status} but did not return more information"
