"""Sub-paths: found inside of the volume or not at all, whoever moves links meanwhile."""

from __future__ import annotations

import contextlib
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparsam.agent.mounts import is_mounted, unmount_below
from sparsam.agent.references import ConfigFault
from sparsam.agent.subpaths import hold, relative

pytestmark = pytest.mark.needs_root


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "volume").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("")
    yield tmp_path
    unmount_below(tmp_path)


def found(place: Path, sub_path: str) -> Path:
    return hold(place / "volume", sub_path, "v", place / "held" / "c" / "0")


def test_directories_are_made_and_files_are_taken_as_they_are(place: Path):
    target = found(place, "a/b")
    (target / "f").write_text("x")
    assert (place / "volume/a/b/f").read_text() == "x"
    assert is_mounted(target)
    assert stat.S_IMODE((place / "volume/a").stat().st_mode) == 0o755
    (place / "volume" / "file").write_text("y")
    other = hold(place / "volume", "file", "v", place / "held" / "c" / "1")
    assert other.read_text() == "y"


def test_a_container_that_starts_anew_gets_what_is_there_now(place: Path):
    first = found(place, "a")
    (place / "volume/a").rename(place / "volume/old")
    assert found(place, "a") == first
    assert first.samefile(place / "volume/a")


def test_links_inside_are_followed_and_those_that_lead_out_are_not(place: Path):
    volume = place / "volume"
    (volume / "real").mkdir()
    (volume / "inside").symlink_to("real")
    (volume / "out").symlink_to(place / "outside")
    (volume / "up").symlink_to("../outside")
    (volume / "loop").symlink_to("loop")
    assert found(place, "inside").samefile(volume / "real")
    for name in ("out", "up", "out/x", "loop", "up/secret"):
        with pytest.raises(ConfigFault, match=f'subPath "{name}" not within volume path "v"'):
            found(place, name)
    assert sorted(each.name for each in (place / "outside").iterdir()) == ["secret"]


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc"])
def test_paths_that_name_the_outside_are_refused(name: str):
    with pytest.raises(ConfigFault, match="must be relative"):
        relative(name)


def test_a_link_that_moves_all_the_time_never_leads_out(place: Path):
    link, stop = place / "volume" / "moving", threading.Event()

    def move() -> None:
        spare = place / "volume" / "spare"
        while not stop.is_set():
            for goal in ("real", "../outside"):
                spare.symlink_to(goal)
                spare.rename(link)

    (place / "volume" / "real").mkdir()
    mover = threading.Thread(target=move)
    mover.start()
    try:
        for _ in range(40):
            with contextlib.suppress(ConfigFault, OSError):
                assert not (found(place, "moving") / "secret").exists()
    finally:
        stop.set()
        mover.join()
