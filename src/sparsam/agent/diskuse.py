"""What trees of files take on the disk."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TreeUse:
    """Room that a tree takes on its file system."""

    bytes: int = 0
    inodes: int = 0


@dataclass(frozen=True, slots=True)
class VolumeUse:
    """Room of one volume; `claim` names the claim behind it."""

    capacity_bytes: int
    available_bytes: int
    used_bytes: int
    inodes: int
    inodes_free: int
    inodes_used: int
    claim: str = ""


def tree_use(root: Path) -> TreeUse:
    """What a tree takes, links and other file systems aside; nothing where there is no tree."""
    try:
        device = root.stat().st_dev
    except OSError:
        return TreeUse()
    total, inodes, pending = 0, 1, [root]
    while pending:
        try:
            entries = list(os.scandir(pending.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                stat = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            total += stat.st_blocks * 512
            inodes += 1
            if entry.is_dir(follow_symlinks=False) and stat.st_dev == device:
                pending.append(Path(entry.path))
    return TreeUse(total, inodes)


def disk_usage(root: Path) -> int:
    """Bytes that a tree takes."""
    return tree_use(root).bytes
