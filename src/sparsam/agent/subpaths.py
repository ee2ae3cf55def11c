"""Parts of volumes for containers, shown without ever leaving the volume, whatever links a pod plants meanwhile.

A path is resolved once, then walked again from the volume's root by descriptors that follow no link. What the last
descriptor stands for is bind-mounted at a place of the agent's own, and only that place is named to the engine: a
link that is put in the way after the walk leads nobody anywhere.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path, PurePosixPath

from sparsam.agent.mounts import bind, is_mounted, unmount

SUB_PATHS = "subpaths"
"""Where a pod's directory holds them."""
_OPEN = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class LeadsOutside(OSError):
    """A path that is not within its volume, or not to be walked without links."""


def show(root: Path, sub_path: str, target: Path) -> None:
    """Bind-mount `root/sub_path` at `target`; directories that are missing are made. Raises OSError."""
    base = root.resolve(strict=True)
    descriptor = _walk(base, _resolved(base, sub_path))
    try:
        _prepare(target, stat.S_ISDIR(os.fstat(descriptor).st_mode))
        bind(Path(f"/proc/self/fd/{descriptor}"), target)
    finally:
        os.close(descriptor)


def read_within(root: Path, path: str, most_bytes: int) -> bytes:
    """The content of a plain file in a volume, links within it followed; raises OSError."""
    base = root.resolve(strict=True)
    (base / path).stat()  # nothing is made on the way to a file that is not there
    walked = _walk(base, _resolved(base, path))
    try:
        if not stat.S_ISREG(os.fstat(walked).st_mode):
            raise LeadsOutside(f"{path!r} is no plain file")
        with Path(f"/proc/self/fd/{walked}").open("rb") as source:
            content = source.read(most_bytes + 1)
    finally:
        os.close(walked)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    return content


def _resolved(base: Path, sub_path: str) -> PurePosixPath:
    """The path below `base` with its links followed, as far as they stay there."""
    try:
        return PurePosixPath((base / sub_path).resolve().relative_to(base))
    except (ValueError, RuntimeError) as error:  # elsewhere, or in circles
        raise LeadsOutside(f"{sub_path!r} is not within the volume") from error


def _walk(base: Path, path: PurePosixPath) -> int:
    """A descriptor of `base/path`; missing directories get the mode of `base`."""
    descriptor = os.open(base, _OPEN)
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    for part in path.parts:
        parent = descriptor
        try:
            descriptor = _step(parent, part, mode)
        finally:
            os.close(parent)
    return descriptor


def _step(parent: int, part: str, mode: int) -> int:
    try:
        descriptor = os.open(part, _OPEN, dir_fd=parent)
    except FileNotFoundError:
        os.mkdir(part, mode, dir_fd=parent)
        descriptor = os.open(part, _OPEN, dir_fd=parent)
        if not stat.S_ISLNK(os.fstat(descriptor).st_mode):
            os.chmod(f"/proc/self/fd/{descriptor}", mode)  # noqa: PTH101
    if stat.S_ISLNK(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise LeadsOutside(f"{part!r} became a link")
    return descriptor


def _prepare(target: Path, directory: bool) -> None:
    """Something of the right kind to mount on; what an earlier run had mounted there goes, its container keeps it."""
    if is_mounted(target):
        unmount(target)
    if target.exists() and target.is_dir() != directory:
        target.rmdir() if target.is_dir() else target.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    if directory:
        target.mkdir(exist_ok=True)
    else:
        target.touch()
