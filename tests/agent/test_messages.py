"""Termination messages out of logs."""

from __future__ import annotations

from pathlib import Path

import pytest

from sparsam.agent.messages import log_tail

STAMP = "2026-01-01T00:00:00.000000000Z"


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([], ""),
        (["stdout F one", "stderr F two"], "one\ntwo\n"),
        (["stdout F one", "stdout P DONE"], "one\nDONE"),
        (["stdout P half", "stdout F  a line"], "half a line\n"),
        (["stdout F "], "\n"),
        ([f"stdout F {number}" for number in range(100)], "".join(f"{number}\n" for number in range(20, 100))),
        (["stdout F " + "x" * 3000], "x" * 2047 + "\n"),
    ],
)
def test_the_end_of_a_log_is_told_as_it_was_written(tmp_path: Path, lines: list[str], text: str):
    path = tmp_path / "0.log"
    path.write_text("".join(f"{STAMP} {line}\n" for line in lines))
    assert log_tail(path) == text


def test_no_log_says_nothing(tmp_path: Path):
    assert log_tail(tmp_path / "none") == ""
