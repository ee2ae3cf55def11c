"""The mount calls that the agent needs, and the kernel's list of mounts."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_MNT_DETACH = 2
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_SHARED = 2, 4, 4096, 16384, 1 << 20
_TABLE = Path("/proc/self/mountinfo")


def mount_tmpfs(path: Path, size_bytes: int | None = None, mode: int = 0o755) -> None:
    """Mount memory at a directory; raises OSError."""
    options = f"mode={mode:o}" + (f",size={size_bytes}" if size_bytes else "")
    _mount(b"tmpfs", path, b"tmpfs", _MS_NOSUID | _MS_NODEV, options.encode())


def bind(source: Path, target: Path) -> None:
    """Show what `source` is, without what is mounted below it, at `target` too; raises OSError."""
    _mount(os.fsencode(source), target, None, _MS_BIND, None)


def share(path: Path) -> None:
    """Let containers that ask for it see what is mounted below a directory, and mount there themselves.

    That takes a shared mount. Where systemd is at work all are; elsewhere the directory is mounted on itself, as the
    kubelet does with its own. Raises OSError.
    """
    if _is_shared(path):
        return
    _mount(os.fsencode(path), path, None, _MS_BIND | _MS_REC, None)
    _mount(b"none", path, None, _MS_SHARED | _MS_REC, None)


def _is_shared(path: Path) -> bool:
    """Whether the mount that a directory lies on hands its mounts on to its peers."""
    whole, best, shared = str(path.resolve()), "", False
    for line in _TABLE.read_text().splitlines():
        fields = line.split()
        point = _unescaped(fields[4])
        below = point in ("/", whole) or whole.startswith(point + "/")
        if below and len(point) >= len(best):
            best, shared = point, any(each.startswith("shared:") for each in fields[6 : fields.index("-")])
    return shared


def _mount(source: bytes, target: Path, kind: bytes | None, flags: int, options: bytes | None) -> None:
    if _libc.mount(source, os.fsencode(target), kind, flags, options) != 0:
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


def mounts_below(root: Path, table: Path = _TABLE) -> list[str]:
    """Mount points at or below `root`, innermost and newest first."""
    prefix = str(root.resolve())
    points = []
    for line in table.read_text().splitlines():
        point = _unescaped(line.split()[4])
        if point == prefix or point.startswith(prefix + "/"):
            points.append(point)
    return points[::-1]


def _unescaped(point: str) -> str:
    return point.encode().decode("unicode_escape")


def is_mounted(path: Path) -> bool:
    """Whether something is mounted exactly there."""
    # The cheap look does not see a directory that is mounted on another one of the same file system.
    return os.path.ismount(path) or str(path.resolve()) in mounts_below(path)
