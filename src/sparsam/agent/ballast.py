"""A file that takes a little of the disk, to be thrown off when a pod has filled it.

On a full disk the engine cannot note that a container ended and the API server cannot take a write, so nothing could
be ended and no room be made. What the ballast gives back is enough for both.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

_LARGEST_BYTES = 64 << 20
_RATIO = 0.02
_ROOM = 5
"""The ballast is taken on again once so many times its size is free."""


@dataclass(frozen=True, slots=True)
class Ballast:
    """The ballast of one file system."""

    path: Path

    @property
    def size_bytes(self) -> int:
        """At most 64 MiB, and a fiftieth of a small disk."""
        return min(_LARGEST_BYTES, int(shutil.disk_usage(self.path.parent).total * _RATIO))

    def is_needed(self) -> bool:
        """Whether so little is left that the ballast should go."""
        return shutil.disk_usage(self.path.parent).free < self.size_bytes

    def take(self) -> None:
        """Reserve the room if it is ample."""
        if self.path.exists() or shutil.disk_usage(self.path.parent).free < _ROOM * self.size_bytes:
            return
        try:
            with self.path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, self.size_bytes)
        except OSError as error:
            log.info("no ballast path=%s error=%s", self.path, error)
            self.drop()

    def drop(self) -> None:
        """Give the room back."""
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()
            log.warning("ballast dropped path=%s", self.path)
