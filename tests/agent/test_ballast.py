"""Room that is kept for the day on which a pod fills the disk."""

import shutil
from collections import namedtuple
from pathlib import Path

import pytest

from sparsam.agent.ballast import Ballast

Usage = namedtuple("Usage", "total used free")
MB = 1 << 20


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch):
    def has(free_mb: int, total_mb: int = 1000) -> None:
        usage = Usage(total_mb * MB, (total_mb - free_mb) * MB, free_mb * MB)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)

    return has


def test_it_is_taken_when_there_is_room_and_given_back(tmp_path: Path, disk):
    ballast = Ballast(tmp_path / "ballast")
    disk(500)
    ballast.take()
    assert (tmp_path / "ballast").stat().st_blocks * 512 >= ballast.size_bytes == 20 * MB
    ballast.drop()
    assert not (tmp_path / "ballast").exists()
    ballast.drop()


def test_it_is_not_taken_from_a_disk_that_is_nearly_full(tmp_path: Path, disk):
    ballast = Ballast(tmp_path / "ballast")
    disk(99)
    ballast.take()
    assert not (tmp_path / "ballast").exists()
    assert not ballast.is_needed()
    disk(19)
    assert ballast.is_needed()


def test_it_is_small_on_a_large_disk(tmp_path: Path, disk):
    disk(500_000, 1_000_000)
    assert Ballast(tmp_path / "ballast").size_bytes == 64 * MB
