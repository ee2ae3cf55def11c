"""Directories of volumes: made, deleted, and nothing beside them touched."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

import pytest

from sparsam.agent.directories import delete_directory, make_directory
from sparsam.agent.mounts import mount_tmpfs, unmount


def test_a_volume_is_made_once_for_every_user(tmp_path: Path):
    root = tmp_path / "new" / "root"
    path = make_directory(root, "pvc-1")
    (path / "data").write_text("kept")
    assert make_directory(root, "pvc-1") == path == root / "pvc-1"
    assert stat.S_IMODE(path.stat().st_mode) == 0o777
    assert (path / "data").read_text() == "kept"


def test_deletion_takes_the_content_and_leaves_what_links_point_to(tmp_path: Path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("here")
    root = tmp_path / "root"
    path = make_directory(root, "pvc-1")
    make_directory(root, "pvc-2")
    (path / "sub").mkdir()
    (path / "sub" / "file").write_text("")
    (path / "up").symlink_to(outside)
    (path / "sub" / "abs").symlink_to("/etc")
    delete_directory(root, "pvc-1")
    delete_directory(root, "pvc-1")
    assert [each.name for each in root.iterdir()] == ["pvc-2"]
    assert (outside / "precious").read_text() == "here"
    assert Path("/etc/passwd").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../outside", "/etc", ".deleted-a"])
def test_nothing_but_a_plain_name_is_taken(tmp_path: Path, name: str):
    (tmp_path / "outside").mkdir()
    (tmp_path / "root").mkdir()
    for act in (make_directory, delete_directory):
        with pytest.raises(OSError) as caught:
            act(tmp_path / "root", name)
        assert caught.value.errno == errno.EINVAL
    assert (tmp_path / "outside").is_dir()


def test_a_link_in_the_place_of_a_volume_or_of_the_root_is_refused(tmp_path: Path):
    outside = tmp_path / "outside"
    (outside / "pvc-1").mkdir(parents=True)
    root = tmp_path / "root"
    root.mkdir()
    (root / "pvc-1").symlink_to(outside)
    linked = tmp_path / "linked"
    linked.symlink_to(outside)
    for place in (root, linked):
        with pytest.raises(OSError):
            delete_directory(place, "pvc-1")
        with pytest.raises(OSError):
            make_directory(place, "pvc-1")
    assert (outside / "pvc-1").is_dir()


def test_what_was_cut_short_is_finished_the_next_time(tmp_path: Path):
    half = tmp_path / ".deleted-pvc-1"
    half.mkdir()
    (half / "rest").write_text("")
    delete_directory(tmp_path, "pvc-1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.needs_root
def test_a_mount_inside_is_somebody_elses(tmp_path: Path):
    path = make_directory(tmp_path, "pvc-1")
    inner = path / "inner"
    inner.mkdir()
    mount_tmpfs(inner)
    try:
        (inner / "foreign").write_text("")
        with pytest.raises(OSError) as caught:
            delete_directory(tmp_path, "pvc-1")
        assert caught.value.errno == errno.EBUSY
        assert (inner / "foreign").exists()
    finally:
        unmount(inner)
    delete_directory(tmp_path, "pvc-1")
    assert not path.exists()
