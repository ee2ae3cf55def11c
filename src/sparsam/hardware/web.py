"""HTTP as meters need it: JSON out, trouble as a value, nothing unbounded.

Redirects are not followed here: a client that sends credentials must look where they would go.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import yarl

from sparsam.hardware.guards import Verdict
from sparsam.hardware.meter import Fault

LONGEST_BYTES = 8 * 2**20
"""A service root has a kilobyte and ten thousand Prometheus series two megabytes; more is a fault or an attack."""

FAULT_BY_STATUS = {
    401: Fault.UNAUTHORIZED,
    403: Fault.UNAUTHORIZED,
    404: Fault.ABSENT,
    405: Fault.ABSENT,
    410: Fault.ABSENT,
    429: Fault.THROTTLED,
    501: Fault.ABSENT,
    503: Fault.THROTTLED,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer: `body` is the decoded JSON of a success, else None."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def verdict(self) -> Verdict | None:
        """Why it is no success; None for one."""
        if 200 <= self.status < 300:
            return None
        return Verdict(FAULT_BY_STATUS.get(self.status, Fault.UNREACHABLE), f"HTTP {self.status}")

    @property
    def retry_after_seconds(self) -> float:
        """What the server asks for; zero where it says nothing usable."""
        text = self.headers.get("Retry-After", "")
        return float(text) if text.isdecimal() else 0.0


def tls_context(ca_file: str = "", *, insecure: bool = False) -> ssl.SSLContext:
    """Verify against the given CA, or the system's; or, only when told so, not at all."""
    context = ssl.create_default_context(cafile=ca_file or None)
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


async def fetch_json(
    session: aiohttp.ClientSession, method: str, url: yarl.URL, *, timeout_seconds: float, **arguments: Any
) -> Answer | Verdict:
    """One request. The time covers all of it, the last byte included."""
    try:
        async with (
            asyncio.timeout(timeout_seconds),
            session.request(method, url, allow_redirects=False, **arguments) as response,
        ):
            raw = await _read_bounded(response)
            body = decode_json(raw) if 200 <= response.status < 300 and raw.strip() else None
            return Answer(response.status, response.headers, body)
    except TimeoutError:
        return Verdict(Fault.TIMEOUT, f"no answer within {timeout_seconds:g} s")
    except (aiohttp.ClientSSLError, ssl.SSLError) as error:
        return Verdict(Fault.TLS, str(error)[:200])
    except (aiohttp.ClientError, OSError) as error:
        return Verdict(Fault.UNREACHABLE, str(error)[:200] or type(error).__name__)
    except ValueError as error:
        return Verdict(Fault.MALFORMED, str(error)[:200])


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    chunks, size = [], 0
    async for chunk in response.content.iter_chunked(65536):
        size += len(chunk)
        if size > LONGEST_BYTES:
            raise ValueError(f"the answer is longer than {LONGEST_BYTES} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def decode_json(raw: bytes) -> Any:
    """Decode as the standard library does, which lets NaN through: firmware writes it, and the guards name it."""
    try:
        return json.loads(raw)
    except RecursionError:
        raise ValueError("the answer is nested too deeply") from None


def number(value: Any) -> float | None:
    """A JSON number, or one that firmware wrote as a string; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> list[Mapping[str, Any]]:
    """The objects of a list; some firmware writes a single object where a list belongs."""
    if isinstance(value, dict):
        return [value]
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
