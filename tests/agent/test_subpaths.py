"""Parts of volumes: shown where they are, made where they are missing, and never outside the volume."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparsam.agent import subpaths
from sparsam.agent.mounts import is_mounted, mounts_below, unmount
from sparsam.agent.subpaths import LeadsOutside, read_within, show

pytestmark = pytest.mark.needs_root


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "volume").mkdir()
    yield tmp_path
    for point in mounts_below(tmp_path):
        unmount(point)


def test_files_and_directories_are_shown_and_missing_ones_made_with_the_mode_of_the_volume(place: Path):
    volume, shown = place / "volume", place / "shown"
    volume.chmod(0o2770)
    (volume / "file").write_text("x")
    show(volume, "file", shown / "0")
    assert (shown / "0").read_text() == "x"
    show(volume, "new/deep", shown / "1")
    (shown / "1" / "made").touch()
    assert (volume / "new" / "deep" / "made").exists()
    assert stat.S_IMODE((volume / "new").stat().st_mode) == 0o2770
    assert is_mounted(shown / "0")
    assert is_mounted(shown / "1")
    # A later run of the container may want something of another kind at the same place.
    show(volume, "new", shown / "0")
    assert (shown / "0" / "deep").is_dir()


def test_links_are_followed_within_the_volume_only(place: Path):
    volume, outside = place / "volume", place / "outside"
    outside.mkdir()
    (volume / "real").mkdir()
    (volume / "inside").symlink_to("real")
    show(volume, "inside", place / "shown")
    (place / "shown" / "f").touch()
    assert (volume / "real" / "f").exists()
    (volume / "out").symlink_to(outside)
    (volume / "up").symlink_to("../outside")
    (volume / "round").symlink_to("round")
    for path in ("out", "out/new", "up/new", "round", "../outside"):
        with pytest.raises(LeadsOutside):
            show(volume, path, place / "other")
    assert list(outside.iterdir()) == []


def test_a_link_put_in_the_way_after_the_check_leads_nowhere(place: Path, monkeypatch: pytest.MonkeyPatch):
    volume, outside = place / "volume", place / "outside"
    (volume / "dir").mkdir()
    outside.mkdir()
    resolved = subpaths._resolved

    def then_swapped(base: Path, path: str) -> object:
        answer = resolved(base, path)
        (volume / "dir").rmdir()
        (volume / "dir").symlink_to(outside)
        return answer

    monkeypatch.setattr(subpaths, "_resolved", then_swapped)
    with pytest.raises(OSError, match=r"dir|Not a directory"):
        show(volume, "dir/new", place / "shown")
    assert list(outside.iterdir()) == []


def test_files_are_read_within_the_volume_and_up_to_a_size(place: Path):
    volume = place / "volume"
    (place / "secret").write_text("hidden")
    (volume / "plain").write_text("content")
    (volume / "link").symlink_to("plain")
    (volume / "out").symlink_to("../secret")
    assert read_within(volume, "link", 100) == b"content"
    with pytest.raises(LeadsOutside):
        read_within(volume, "out", 100)
    with pytest.raises(LeadsOutside, match="no plain file"):
        read_within(volume, ".", 100)
    with pytest.raises(FileNotFoundError):
        read_within(volume, "none/such", 100)
    with pytest.raises(OSError, match="File too large"):
        read_within(volume, "plain", 3)
    assert sorted(path.name for path in volume.iterdir()) == ["link", "out", "plain"]
