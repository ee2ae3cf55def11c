"""Tens of thousands of random requests: the API server refuses what it must, and never fails.

A failure names the requests; SPARSAM_FUZZ_SEED and SPARSAM_FUZZ_REQUESTS choose others.
"""

import asyncio
import json
import os
from collections import Counter
from urllib.parse import quote

import aiohttp
import pytest
from yarl import URL

from sparsam.objects.kinds import RESOURCES
from tests.support.fuzz import Fuzzer, Request
from tests.support.liveserver import live_server

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SEED = os.environ.get("SPARSAM_FUZZ_SEED", "1")
REQUESTS = int(os.environ.get("SPARSAM_FUZZ_REQUESTS", "20000"))
CONNECTIONS = 16
WATCH_SECONDS = 0.05
ANSWER_SECONDS = 30
FORMS = ("application/json;as=Table;g=meta.k8s.io;v=v1", "application/yaml")
# Upstream's own answers: what is not offered, and a resource version that the store has not reached.
HONEST = {501: "NotImplemented", 504: "Timeout"}
# What comes of webhooks and APIServices that lead nowhere, when the noise makes some.
ELSEWHERE = ("failed calling webhook", "conversion webhook for", "could not get REST client", "service unavailable")


class Campaign:
    """What was sent and what went wrong."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url
        self.codes: Counter[int] = Counter()
        self.failures: list[str] = []

    async def worker(self, number: int) -> None:
        fuzzer = Fuzzer(f"{SEED}-{number}")
        following: Request | None = None
        for _ in range(REQUESTS // CONNECTIONS):
            request = following or fuzzer.request()
            answer = await self.send(request)
            following = fuzzer.follow_up(request, answer)

    async def send(self, request: Request) -> object:
        """The decoded answer of a success; complaints are collected."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                code, answer = await self._exchange(request)
        except (aiohttp.ClientError, TimeoutError) as error:
            self.failures.append(f"{error!r}: {request}")
            return None
        self.codes[code] += 1
        if complaint := complaint_about(request, code, answer):
            self.failures.append(f"{complaint}: {request}")
        return answer if code < 300 else None

    async def _exchange(self, request: Request) -> tuple[int, object]:
        url = URL(self._url + request.path, encoded=True)
        sent = self._session.request(request.method, url, headers=request.headers, data=request.body)
        async with sent as answer:
            if "watch" in request.path and answer.status == 200:
                # Streams end by themselves only after their time; a client that leaves is part of the game.
                await asyncio.sleep(WATCH_SECONDS)
                return answer.status, None
            raw = await answer.read()
            try:
                return answer.status, json.loads(raw)
            except ValueError:
                return answer.status, raw.decode(errors="replace")


def complaint_about(request: Request, code: int, answer: object) -> str:
    """What is wrong with an answer; empty when it is in order."""
    if code >= 500:
        reason = answer.get("reason") if isinstance(answer, dict) else None
        honest = code in HONEST and (reason == HONEST[code] or request.method == "HEAD")
        elsewhere = any(words in str(answer) for words in ELSEWHERE)
        return "" if honest or elsewhere else f"{code} {answer}"
    if code < 400 or not isinstance(answer, dict) or request.method == "HEAD":
        return ""
    if answer.get("kind") != "Status" or answer.get("code") != code or answer.get("status") != "Failure":
        return f"{code} without a Status of the same code: {answer}"
    return ""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with live_server(tmp_path_factory.mktemp("fuzz")) as running:
        yield running


@pytest.fixture(scope="module")
async def campaign(server):
    connector = aiohttp.TCPConnector(ssl=server.tls(), limit=CONNECTIONS)
    # Neither compression nor cookies nor a content type of the client's own making.
    async with aiohttp.ClientSession(connector=connector, skip_auto_headers=("Content-Type",)) as session:
        campaign = Campaign(session, server.url)
        await asyncio.gather(*(campaign.worker(number) for number in range(CONNECTIONS)))
        yield campaign


@pytest.mark.asyncio(loop_scope="module")
async def test_random_requests_are_answered_and_never_fail(campaign, server):
    assert sum(campaign.codes.values()) + len(campaign.failures) >= REQUESTS - CONNECTIONS
    assert not campaign.failures, f"{len(campaign.failures)} of {campaign.codes}:\n" + "\n".join(campaign.failures[:20])
    # Noise alone would prove little.
    assert sum(count for code, count in campaign.codes.items() if code < 300) > REQUESTS / 10, campaign.codes


async def stored(campaign):
    """What each list holds, in every form, checked against a read of each object."""
    found = {}
    for resource in RESOURCES:
        if "list" not in resource.verbs:
            continue
        listed = await campaign.send(Request("GET", resource.path()))
        assert listed and isinstance(listed["items"], list), resource
        for form in FORMS:
            assert await campaign.send(Request("GET", resource.path(), {"Accept": form})), (resource, form)
        for item in listed["items"]:
            metadata = item["metadata"]
            if "resourceVersion" in metadata:
                path = resource.path(quote(metadata["name"], safe=""), metadata.get("namespace", ""))
                answer = await campaign.send(Request("GET", path))
                assert answer and {key: answer[key] for key in item} == item, path
                found[path] = item
    return found


@pytest.mark.asyncio(loop_scope="module")
async def test_the_log_of_a_server_under_random_requests_has_no_traceback(campaign, server):
    assert await campaign.send(Request("GET", "/readyz")) == "ok"
    assert "Traceback" not in server.log
    assert [line for line in server.log.splitlines() if " ERROR " in line] == []


@pytest.mark.asyncio(loop_scope="module")
async def test_what_random_requests_stored_can_be_read_also_by_the_next_server(campaign, server):
    before = await stored(campaign)
    assert len(before) > len(RESOURCES) / 2
    server.stop()
    server.start()
    after = await stored(campaign)
    # A start only adds: what every cluster has and the noise had deleted.
    assert {path: after.get(path) for path in before} == before
    assert not campaign.failures
    assert "Traceback" not in server.log
