"""Files that are either as they were or as they shall be, whenever the machine dies."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file's content once the new one is on the disk; raises OSError and leaves the old one then."""
    beside = path.with_suffix(".new")
    path.parent.mkdir(parents=True, exist_ok=True)
    with beside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
