"""Volumes' files given to a pod's group."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sparsam.agent.ownership import give_group
from tests.support.agent import pod

pytestmark = pytest.mark.needs_root


def facts(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_gid, stat.S_IMODE(found.st_mode)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    outside = tmp_path / "outside"
    outside.write_text("")
    outside.chmod(0o600)
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "file").write_text("")
    (root / "sub" / "file").chmod(0o600)
    (root / "link").symlink_to(outside)
    os.mkfifo(root / "pipe")
    return root


def test_every_file_is_given_and_links_lead_nowhere(tree: Path):
    give_group(pod(securityContext={"fsGroup": 777}), tree)
    assert facts(tree / "sub" / "file") == (777, 0o660)
    assert facts(tree / "sub")[0] == 777
    assert facts(tree / "sub")[1] & 0o2770 == 0o2770
    assert facts(tree)[1] & 0o2770 == 0o2770
    assert facts(tree / "link")[0] == 777
    assert facts(tree / "pipe")[0] == 777
    assert facts(tree.parent / "outside") == (0, 0o600)


def test_without_a_group_nothing_changes(tree: Path):
    give_group(pod(), tree)
    assert facts(tree / "sub" / "file") == (0, 0o600)


def test_a_root_that_matches_spares_the_rest_if_the_pod_says_so(tree: Path):
    give_group(pod(securityContext={"fsGroup": 777}), tree)
    (tree / "late").write_text("")
    os.chown(tree / "late", 0, 0)
    give_group(pod(securityContext={"fsGroup": 777, "fsGroupChangePolicy": "OnRootMismatch"}), tree)
    assert facts(tree / "late")[0] == 0
    give_group(pod(securityContext={"fsGroup": 777, "fsGroupChangePolicy": "Always"}), tree)
    assert facts(tree / "late")[0] == 777
    give_group(pod(securityContext={"fsGroup": 778, "fsGroupChangePolicy": "OnRootMismatch"}), tree)
    assert facts(tree / "late")[0] == 778
