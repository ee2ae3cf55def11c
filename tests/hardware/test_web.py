import asyncio

import aiohttp
import pytest
import yarl

from sparsam.hardware.guards import Verdict
from sparsam.hardware.meter import Fault
from sparsam.hardware.web import Answer, decode_json, fetch_json, items, mapping, number


async def answer_to(raw: bytes, timeout_seconds: float = 5.0) -> Answer | Verdict:
    """What becomes of these bytes, sent by a server that then closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        if raw:
            writer.close()
        else:
            await reader.read()
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = yarl.URL(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    async with server, aiohttp.ClientSession() as session:
        return await fetch_json(session, "GET", url, timeout_seconds=timeout_seconds)


def response(body: bytes, status: str = "200 OK", extra: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{extra}\r\n".encode() + body


async def test_json_is_decoded_and_headers_are_kept():
    answer = await answer_to(response(b'{"a": NaN}', extra="Retry-After: 7\r\n"))
    assert isinstance(answer, Answer)
    assert answer.verdict is None
    assert answer.retry_after_seconds == 7.0
    assert str(answer.body["a"]) == "nan"


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        ("401 No", Fault.UNAUTHORIZED),
        ("404 No", Fault.ABSENT),
        ("429 No", Fault.THROTTLED),
        ("500 No", Fault.UNREACHABLE),
        ("302 Away", Fault.UNREACHABLE),
    ],
)
async def test_a_status_has_a_meaning_and_a_redirect_is_not_followed(status, fault):
    answer = await answer_to(response(b"<html>", status, "Location: http://127.0.0.1:1/\r\n"))
    assert isinstance(answer, Answer)
    assert answer.verdict is not None and answer.verdict.fault is fault


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        (response(b"<html>"), Fault.MALFORMED),
        (response(b"\xff\xfe\x00"), Fault.MALFORMED),
        (b"not http at all\r\n\r\n", Fault.UNREACHABLE),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", Fault.UNREACHABLE),
        (response(b"[" * 300_000), Fault.MALFORMED),
    ],
)
async def test_broken_answers_are_verdicts(raw, fault):
    verdict = await answer_to(raw)
    assert isinstance(verdict, Verdict) and verdict.fault is fault


async def test_silence_is_a_timeout():
    verdict = await answer_to(b"", timeout_seconds=0.2)
    assert isinstance(verdict, Verdict) and verdict.fault is Fault.TIMEOUT


@pytest.mark.parametrize(
    ("value", "expected"),
    [(3, 3.0), ("4.5", 4.5), (True, None), (None, None), ("x", None), ([], None), (10**400, None)],
)
def test_numbers_are_numbers_or_nothing(value, expected):
    assert number(value) == expected


def test_shapes_are_forgiven():
    assert mapping([1]) == {}
    assert items({"a": 1}) == [{"a": 1}]
    assert items([{"a": 1}, 2, None]) == [{"a": 1}]
    assert items("x") == []


def test_deep_nesting_is_refused():
    with pytest.raises(ValueError, match="nested"):
        decode_json(b"[" * 300_000)
