"""Container logs: parts of them, over rotation, while they grow."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.agent.server.logfile import BLOCK_BYTES, Formatter, LogOptions, fixed_stamp, read_log

START = datetime(2026, 1, 1, tzinfo=UTC)


def stamp(second: int) -> str:
    return (START + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S.5Z")


def line(second: int, text: str, stream: str = "stdout", tag: str = "F") -> str:
    return f"{stamp(second)} {stream} {tag} {text}\n"


async def read(path: Path, **options: object) -> str:
    return b"".join([chunk async for chunk in read_log(path, LogOptions(**options), lambda: True)]).decode()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "0.log"
    path.with_name("0.log.20260101-000000").write_text("".join(line(n, f"old {n}") for n in range(5)))
    path.write_text("".join(line(n, f"new {n}") for n in range(5, 10)))
    return path


async def test_a_whole_log_begins_with_its_oldest_part(log: Path):
    assert (await read(log)).splitlines() == [f"old {n}" for n in range(5)] + [f"new {n}" for n in range(5, 10)]


async def test_a_log_that_does_not_exist_is_empty(tmp_path: Path):
    assert await read(tmp_path / "nothing.log") == ""


@pytest.mark.parametrize("count", [0, 1, 5, 6, 10, 11])
async def test_a_tail_reaches_into_older_parts(log: Path, count: int):
    assert len((await read(log, tail_lines=count)).splitlines()) == min(count, 10)


async def test_lines_since_a_moment_are_found_in_any_part(log: Path):
    for second in range(12):
        lines = (await read(log, since=START + timedelta(seconds=second))).splitlines()
        assert [int(each.split()[1]) for each in lines] == list(range(second, 10))


async def test_tail_and_since_together_give_the_shorter(log: Path):
    assert await read(log, since=START + timedelta(seconds=8), tail_lines=5) == "new 8\nnew 9\n"
    assert await read(log, since=START + timedelta(seconds=2), tail_lines=1) == "new 9\n"


async def test_times_have_nine_digits(log: Path):
    assert await read(log, tail_lines=1, timestamps=True) == "2026-01-01T00:00:09.500000000Z new 9\n"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        (b"2026-01-01T00:00:00Z", b"2026-01-01T00:00:00.000000000Z"),
        (b"2026-01-01T00:00:00.123456789Z", b"2026-01-01T00:00:00.123456789Z"),
        (b"2026-01-01T00:00:00.5+02:00", b"2026-01-01T00:00:00.500000000+02:00"),
        (b"2026-01-01T00:00:00+02:00", b"2026-01-01T00:00:00.000000000+02:00"),
    ],
)
def test_times_keep_their_zone(written: bytes, shown: bytes):
    assert fixed_stamp(written) == shown


async def test_partial_lines_are_joined_under_one_time(tmp_path: Path):
    path = tmp_path / "0.log"
    path.write_text(line(1, "before") + line(2, "one ", tag="P") + line(3, "two ", tag="P") + line(4, "three"))
    assert await read(path) == "before\none two three\n"
    assert await read(path, timestamps=True, tail_lines=1) == "2026-01-01T00:00:02.500000000Z one two three\n"


async def test_a_limit_cuts_in_the_middle_of_a_line(log: Path):
    assert await read(log, limit_bytes=8) == "old 0\nol"


async def test_one_stream_can_be_read_alone(tmp_path: Path):
    path = tmp_path / "0.log"
    path.write_text(line(1, "a") + line(2, "b", "stderr") + line(3, "c") + line(4, "d", "stderr"))
    assert await read(path, stream=b"stderr") == "b\nd\n"
    assert await read(path, stream=b"stdout", tail_lines=1) == "c\n"


async def test_a_tail_of_a_long_log_is_found_over_blocks(tmp_path: Path):
    path = tmp_path / "0.log"
    path.write_text("".join(line(n % 60, f"{n} " + "x" * 100) for n in range(3 * BLOCK_BYTES // 100)))
    lines = (await read(path, tail_lines=1500)).splitlines()
    assert len(lines) == 1500
    assert lines[-1].startswith(f"{3 * BLOCK_BYTES // 100 - 1} ")


async def test_a_followed_log_is_read_over_a_rotation_to_the_end_of_the_container(tmp_path: Path):
    path = tmp_path / "0.log"
    path.write_text(line(1, "one"))
    ended = False
    got: list[bytes] = []
    came = asyncio.Event()

    async def follow() -> None:
        async for chunk in read_log(path, LogOptions(follow=True), lambda: ended):
            got.append(chunk)
            came.set()

    async def until(text: bytes) -> None:
        async with asyncio.timeout(10):
            while not b"".join(got).endswith(text):
                came.clear()
                await came.wait()

    following = asyncio.create_task(follow())
    await until(b"one\n")
    with path.open("a") as file:
        file.write(line(2, "two"))
    await until(b"two\n")
    with path.open("a") as file:
        file.write(line(3, "three"))
    path.rename(tmp_path / "0.log.20260101-000001")
    path.write_text(line(4, "four"))
    await until(b"four\n")
    with path.open("a") as file:
        file.write(line(5, "five"))
    ended = True
    await asyncio.wait_for(following, 10)
    assert b"".join(got) == b"one\ntwo\nthree\nfour\nfive\n"


async def test_a_log_is_followed_before_it_exists(tmp_path: Path):
    path = tmp_path / "0.log"
    lines = read_log(path, LogOptions(follow=True), lambda: False)
    first = asyncio.ensure_future(anext(lines))
    await asyncio.sleep(0)
    path.write_text(line(1, "at last"))
    assert await asyncio.wait_for(first, 10) == b"at last\n"
    await lines.aclose()


texts = st.text(st.characters(codec="ascii", exclude_characters="\n\r"), max_size=20)


@given(st.lists(texts, max_size=30), st.integers(1, 40), st.data())
def test_lines_come_out_whole_however_the_blocks_are_cut(lines: list[str], size: int, data: st.DataObject):
    raw = "".join(line(n, text) for n, text in enumerate(lines)).encode()
    formatter = Formatter(LogOptions())
    out = b"".join(formatter.feed(raw[at : at + size]) for at in range(0, len(raw), size))
    assert out == "".join(f"{text}\n" for text in lines).encode()
