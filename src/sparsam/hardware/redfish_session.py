"""One BMC over HTTPS: signed in once, asked gently, left alone after failures.

BMCs are small computers. They allow a handful of sessions, so ours is reused and deleted at the end; some lock an
account after a few wrong passwords, so a refused one is not tried again soon; and all of them slow down under load,
so failures double the pause up to five minutes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import yarl

from sparsam.clock import Clock
from sparsam.hardware.guards import Verdict
from sparsam.hardware.meter import Fault
from sparsam.hardware.web import Answer, fetch_json, mapping, tls_context

ROOT = "/redfish/v1/"
DEFAULT_SESSIONS = "/redfish/v1/SessionService/Sessions"
MOST_REDIRECTS = 4
MOST_TORN = 2
LONGEST_PAUSE_SECONDS = 300.0
REFUSED_PAUSE_SECONDS = 60.0

TRANSPORT = (Fault.TIMEOUT, Fault.TLS, Fault.UNREACHABLE, Fault.UNAUTHORIZED, Fault.THROTTLED)
"""Faults that concern the whole BMC: after one of these it is left alone for a while."""


@dataclass(frozen=True, slots=True)
class RedfishConfig:
    """How to reach one BMC."""

    url: str
    """`https://bmc.example`; `http://` only with `insecure`."""
    username: str
    password: str = field(repr=False)
    ca_file: str = ""
    """What the BMC's certificate is verified with; empty: the system's authorities."""
    insecure: bool = False
    """Do not verify. BMCs come with certificates of their own; giving their CA is better."""
    chassis: str = ""
    """The chassis' Id, needed where one service shows several nodes."""
    timeout_seconds: float = 10.0
    min_interval_seconds: float = 5.0
    """BMCs refresh their power once in one to sixty seconds; asking more often yields the same number."""

    def __post_init__(self) -> None:
        url = yarl.URL(self.url)
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError(f"Redfish address {self.url!r} is not an https:// address")
        if url.scheme == "http" and not self.insecure:
            raise ValueError(f"Redfish address {self.url!r} would send the password in clear; use https://")


class RedfishSession:
    """Authenticated GETs on one BMC."""

    def __init__(self, config: RedfishConfig, clock: Clock) -> None:
        try:
            self._tls = tls_context(config.ca_file, insecure=config.insecure)
        except OSError as error:
            raise ValueError(f"CA file {config.ca_file!r}: {error}") from error
        self._config = config
        self._clock = clock
        self._origin = yarl.URL(config.url).origin()
        self._http: aiohttp.ClientSession | None = None
        self._headers: dict[str, str] | None = None
        self._session_path = ""
        self._pause_seconds = 0.0
        self._not_before = 0.0
        self._refusal: Verdict | None = None
        self._one_at_a_time = asyncio.Lock()

    async def get(self, path: str) -> Mapping[str, Any] | Verdict:
        """The resource at a path of this BMC."""
        async with self._one_at_a_time:
            return await self._get(path)

    async def close(self) -> None:
        """Give the session back to the BMC, which has few."""
        if self._http is None:
            return
        if self._session_path:
            await self._request("DELETE", self._session_path, self._headers or {})
        await self._http.close()
        self._http, self._headers, self._session_path = None, None, ""

    async def _get(self, path: str) -> Mapping[str, Any] | Verdict:
        if self._refusal is not None and self._clock.monotonic() < self._not_before:
            return self._refusal
        answer = await self._authenticated(path)
        verdict = answer if isinstance(answer, Verdict) else answer.verdict
        if verdict is not None and verdict.fault in TRANSPORT:
            self._leave_alone(verdict, 0.0 if isinstance(answer, Verdict) else answer.retry_after_seconds)
            return verdict
        self._refusal, self._pause_seconds = None, 0.0
        if isinstance(answer, Verdict) or verdict is not None:
            return verdict or Verdict(Fault.MALFORMED)
        if not isinstance(answer.body, dict):
            return Verdict(Fault.MALFORMED, f"{path} is no JSON object")
        return answer.body

    def _leave_alone(self, verdict: Verdict, asked_seconds: float) -> None:
        shortest = REFUSED_PAUSE_SECONDS if verdict.fault is Fault.UNAUTHORIZED else self._config.min_interval_seconds
        self._pause_seconds = min(max(2.0 * self._pause_seconds, shortest, asked_seconds), LONGEST_PAUSE_SECONDS)
        self._not_before = self._clock.monotonic() + self._pause_seconds
        self._refusal = verdict

    async def _authenticated(self, path: str) -> Answer | Verdict:
        """One GET; signs in first where needed, and once more when the BMC has forgotten us."""
        for attempt in range(2):
            if self._headers is None and (wrong := await self._sign_in()):
                return wrong
            answer = await self._request("GET", path, self._headers or {})
            if isinstance(answer, Verdict) or answer.status != 401 or attempt:
                return answer
            self._headers, self._session_path = None, ""
        return Verdict(Fault.UNAUTHORIZED)

    async def _sign_in(self) -> Verdict | None:
        """Open a session; where the service has none, send the password along each time."""
        root = await self._request("GET", ROOT, {})
        if isinstance(root, Verdict):
            return root
        link = mapping(mapping(mapping(root.body).get("Links")).get("Sessions")).get("@odata.id")
        sessions = link if isinstance(link, str) and link.startswith("/") else DEFAULT_SESSIONS
        account = {"UserName": self._config.username, "Password": self._config.password}
        answer = await self._request("POST", sessions, {}, json=account)
        if isinstance(answer, Verdict):
            return answer
        if answer.verdict is not None and answer.verdict.fault is Fault.UNAUTHORIZED:
            return Verdict(Fault.UNAUTHORIZED, f"the BMC refuses {self._config.username!r}")
        token = answer.headers.get("X-Auth-Token", "")
        if answer.verdict is None and token:
            self._headers = {"X-Auth-Token": token}
            self._session_path = self._own_path(answer.headers.get("Location", "")) or ""
        else:
            basic = aiohttp.BasicAuth(self._config.username, self._config.password)
            self._headers = {"Authorization": basic.encode()}
        return None

    async def _request(self, method: str, path: str, headers: Mapping[str, str], **body: Any) -> Answer | Verdict:
        """One request, again after a torn connection, and on to where this same BMC redirects."""
        if self._http is None:
            connector = aiohttp.TCPConnector(ssl=self._tls, limit=2)
            self._http = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        seconds, torn = self._config.timeout_seconds, 0
        for _ in range(MOST_REDIRECTS):
            own = self._own_path(path)
            if own is None:
                return Verdict(Fault.MALFORMED, f"{path[:80]!r} is not an address of this BMC")
            url = self._origin.join(yarl.URL(own, encoded=True))
            answer = await fetch_json(self._http, method, url, timeout_seconds=seconds, headers=headers, **body)
            if isinstance(answer, Verdict):
                torn += 1
                if answer.fault is not Fault.UNREACHABLE or torn == MOST_TORN:
                    return answer
            elif answer.status not in (301, 302, 307, 308):
                return answer
            else:
                path = answer.headers.get("Location", "")
        return Verdict(Fault.MALFORMED, "redirected in circles")

    def _own_path(self, link: str) -> str | None:
        """A link's path if it stays on this BMC: tokens go nowhere else."""
        try:
            url = yarl.URL(link.partition("#")[0], encoded=True)
            own = not url.absolute or url.origin() == self._origin
        except (ValueError, IndexError):  # The latter of a host that is empty brackets and no more.
            return None
        path = url.raw_path_qs
        return path if own and path.startswith("/") and not path.startswith("//") else None
