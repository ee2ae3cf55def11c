"""Directories of local volumes: made below one root, deleted with all that is in them, and nothing else ever.

Names are single path components; links are never followed, neither the root nor what a container put into its volume;
a directory below which something is mounted is not touched, since that would delete somebody else's files.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from sparsam.agent.mounts import mounts_below

_GOING = ".deleted-"


def make_directory(root: Path, name: str) -> Path:
    """Make a volume that every user of a container may write; one that is there stays as it is. Raises OSError."""
    root.mkdir(parents=True, exist_ok=True, mode=0o711)
    with _opened(root) as folder:
        try:
            os.mkdir(_component(name), 0o700, dir_fd=folder)
        except FileExistsError:
            if not _is_directory(name, folder):
                raise
        else:
            os.chmod(name, 0o777, dir_fd=folder)
    return root / name


def delete_directory(root: Path, name: str) -> None:
    """Delete a volume; one that is gone is fine. Raises OSError.

    It is renamed first, so that what is half deleted is nobody's volume.
    """
    going = _GOING + _component(name)
    for each in (name, going):
        if mounts_below(root / each):
            raise OSError(errno.EBUSY, "something is mounted in it", str(root / each))
    with contextlib.suppress(FileNotFoundError), _opened(root) as folder:
        if _is_directory(going, folder):
            shutil.rmtree(going, dir_fd=folder)
        if _is_directory(name, folder):
            os.rename(name, going, src_dir_fd=folder, dst_dir_fd=folder)
            shutil.rmtree(going, dir_fd=folder)


def _component(name: str) -> str:
    if not name or name in (".", "..") or "/" in name or name.startswith(_GOING):
        raise OSError(errno.EINVAL, "not the name of a volume", name)
    return name


@contextlib.contextmanager
def _opened(root: Path) -> Iterator[int]:
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield folder
    finally:
        os.close(folder)


def _is_directory(name: str, folder: int) -> bool:
    """Whether it is there; anything but a directory raises OSError."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(found.st_mode):
        raise OSError(errno.ENOTDIR, "not a directory", name)
    return True
