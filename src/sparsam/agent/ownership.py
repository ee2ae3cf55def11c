"""A pod's fsGroup on the files of a volume: group, its right to read and write, and directories that hand the group on.

Links are never followed, and what a container changes meanwhile cannot lead outside: each file is opened within its
directory and changed through what was opened.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from sparsam.agent.podspec import Obj

_FILE_BITS, _READ_ONLY_FILE_BITS = 0o660, 0o440
_DIRECTORY_BITS, _READ_ONLY_DIRECTORY_BITS = 0o2770, 0o2550
ON_MISMATCH = "OnRootMismatch"


def group_of(pod: Obj) -> int | None:
    """The group that the pod's volumes are to belong to."""
    group = (pod["spec"].get("securityContext") or {}).get("fsGroup")
    return None if group is None else int(group)


def give_group(pod: Obj, root: Path, *, read_only: bool = False) -> None:
    """Give a volume's files to the pod's fsGroup, if it has one; raises OSError.

    With the policy `OnRootMismatch` all is left alone when the root looks as if that was done before.
    """
    group = group_of(pod)
    if group is None:
        return
    bits = (_READ_ONLY_DIRECTORY_BITS, _READ_ONLY_FILE_BITS) if read_only else (_DIRECTORY_BITS, _FILE_BITS)
    policy = (pod["spec"].get("securityContext") or {}).get("fsGroupChangePolicy")
    if policy == ON_MISMATCH and _matches(root, group, bits[0]):
        return
    # Bottom up: the root is changed last, so that a walk cut short does not look complete.
    for _, directories, files, folder in os.fwalk(root, topdown=False, follow_symlinks=False):
        for name in (*directories, *files):
            _give(name, folder, group, bits)
        _apply(folder, group, bits[0])


def _matches(root: Path, group: int, bits: int) -> bool:
    found = root.stat()
    return found.st_gid == group and found.st_mode & bits == bits


def _give(name: str, folder: int, group: int, bits: tuple[int, int]) -> None:
    """One entry; directories come with their own turn of the walk, and what vanished meanwhile needs nothing."""
    with contextlib.suppress(FileNotFoundError):
        mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
        if stat.S_ISREG(mode):
            opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
            try:
                _apply(opened, group, bits[1])
            finally:
                os.close(opened)
        elif not stat.S_ISDIR(mode):
            os.chown(name, -1, group, dir_fd=folder, follow_symlinks=False)


def _apply(opened: int, group: int, bits: int) -> None:
    found = os.fstat(opened)
    if found.st_gid != group:
        os.fchown(opened, -1, group)
    # After the group: changing that takes set-group-ID away.
    if found.st_mode & bits != bits or found.st_gid != group:
        os.fchmod(opened, stat.S_IMODE(found.st_mode) | bits)
