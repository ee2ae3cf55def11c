"""Rotation of one log: parts move aside, the oldest go."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sparsam.agent.logfiles import rotate, rotated_files


def test_a_log_is_moved_aside_and_the_oldest_parts_go(tmp_path: Path):
    log, moment = tmp_path / "0.log", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    for number in range(4):
        log.write_text(f"{number}")
        rotate(log, moment + timedelta(seconds=number), max_files=3)
    assert [path.name for path in rotated_files(log)] == ["0.log.20260102-030407", "0.log.20260102-030408"]
    assert [path.read_text() for path in rotated_files(log)] == ["2", "3"]
    assert not log.exists()
