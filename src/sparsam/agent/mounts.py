"""The two mount calls that the agent needs, and the kernel's list of mounts."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_MNT_DETACH = 2
_MS_NOSUID, _MS_NODEV = 2, 4
_MS_BIND, _MS_REC = 4096, 16384


def mount_tmpfs(path: Path, size_bytes: int | None = None, mode: int = 0o755) -> None:
    """Mount memory at a directory; raises OSError."""
    options = f"mode={mode:o}" + (f",size={size_bytes}" if size_bytes else "")
    target = os.fsencode(path)
    if _libc.mount(b"tmpfs", target, b"tmpfs", _MS_NOSUID | _MS_NODEV, options.encode()) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))


def bind(source: str | Path, target: Path) -> None:
    """Show a file or directory, with what is mounted below it, at another place too; raises OSError."""
    if _libc.mount(os.fsencode(source), os.fsencode(target), None, _MS_BIND | _MS_REC, None) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


def unmount(path: str | Path) -> None:
    """Detach a mount, even a busy one; raises OSError."""
    if _libc.umount2(os.fsencode(path), _MNT_DETACH) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(path))


def unmount_below(root: Path) -> None:
    """Detach everything at or below a directory, as far as the kernel lets us."""
    for point in mounts_below(root):
        with contextlib.suppress(OSError):
            unmount(point)


def mounts_below(root: Path, table: Path = Path("/proc/self/mountinfo")) -> list[str]:
    """Mount points at or below `root`, innermost and newest first."""
    prefix = str(root.resolve())
    points = []
    for line in table.read_text().splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if point == prefix or point.startswith(prefix + "/"):
            points.append(point)
    return points[::-1]


def is_mounted(path: Path) -> bool:
    """Whether something is mounted exactly there."""
    # The cheap look does not see a directory that is mounted on another one of the same file system.
    return os.path.ismount(path) or str(path.resolve()) in mounts_below(path)
