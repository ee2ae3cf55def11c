"""Sub-paths of volumes, found without leaving the volume and held by a mount of the pod's own.

A container may change links in its volume at any moment, also between our look and the engine's mount. So the kernel
itself walks the path and refuses to step outside (`openat2`, Linux 5.6), and what it found is mounted to a place where
no container can reach. Where the kernel has no such call, the path is checked by its real name, as far as that goes.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from sparsam.agent.mounts import bind, is_mounted, unmount
from sparsam.agent.references import ConfigFault

FOLDER = "volume-subpaths"
_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS, _RESOLVE_BENEATH = 0x02, 0x08
_UNKNOWN = (errno.ENOSYS, errno.EPERM)
_libc = ctypes.CDLL(None, use_errno=True)


def hold(root: Path, sub_path: str, volume: str, target: Path) -> Path:
    """The path to mount for a sub-path: it is made as a directory when missing. Raises ConfigFault and OSError."""
    parts = relative(sub_path).parts
    base = root.resolve()
    try:
        with _opened(base, parts, open_to_all=bool(stat.S_IMODE(base.stat().st_mode) & 0o002)) as found:
            _show(found, target)
    except OSError as error:
        if error.errno in _UNKNOWN:
            return _checked(base, parts, volume)
        if error.errno in (errno.EXDEV, errno.ELOOP):
            raise ConfigFault(f'subPath "{sub_path}" not within volume path "{volume}"') from error
        raise
    return target


def relative(name: str) -> PurePosixPath:
    """A path inside of something; raises ConfigFault for others."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ConfigFault(f"path {name!r} must be relative and must not contain '..'")
    return path


def _show(found: int, target: Path) -> None:
    """Mount what was opened; what an earlier run of the container had there goes first."""
    if is_mounted(target):
        unmount(target)
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
    if stat.S_ISDIR(os.fstat(found).st_mode):
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    bind(f"/proc/self/fd/{found}", target)


@contextlib.contextmanager
def _opened(base: Path, parts: tuple[str, ...], *, open_to_all: bool) -> Iterator[int]:
    """The sub-path, opened beneath the base; directories that are missing are made on the way."""
    with contextlib.ExitStack() as stack:
        root = os.open(base, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, root)
        found = root
        for depth in range(1, len(parts) + 1):
            path = "/".join(parts[:depth])
            try:
                inner = _open_beneath(root, path)
            except FileNotFoundError:
                os.mkdir(parts[depth - 1], 0o750, dir_fd=found)
                inner = _open_beneath(root, path)
                Path(f"/proc/self/fd/{inner}").chmod(0o777 if open_to_all else 0o755)
            stack.callback(os.close, inner)
            found = inner
        yield found


def _open_beneath(root: int, path: str) -> int:
    how = struct.pack("QQQ", os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
    opened = _libc.syscall(_OPENAT2, root, os.fsencode(path), how, len(how))
    if opened < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return int(opened)


def _checked(base: Path, parts: tuple[str, ...], volume: str) -> Path:
    target = base.joinpath(*parts).resolve()
    if target != base and base not in target.parents:
        raise ConfigFault(f'subPath "{"/".join(parts)}" not within volume path "{volume}"')
    if not target.exists():
        target.mkdir(parents=True, mode=0o750)
        target.chmod(0o755 if stat.S_IMODE(base.stat().st_mode) & 0o002 == 0 else 0o777)
    return target
