"""One process at a time: a lock on a file beside the database, which the kernel drops with the process."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from sparsam.store.interface import StoreUnavailable


class FileLock:
    """Held from construction to `release`."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._file, 32, 0).decode(errors="replace").strip() or "unknown"
            os.close(self._file)
            raise StoreUnavailable(f"{path} is locked: process {holder} has the database open") from error
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let others open the database. The file stays: removing it would race with the next opener."""
        os.close(self._file)
