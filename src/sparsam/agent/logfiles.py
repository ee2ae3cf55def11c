"""Log files of one run: the current one, and older parts beside it as `<name>.<time>`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path


def rotated_files(path: Path) -> list[Path]:
    """Older parts of a log, oldest first."""
    return sorted(path.parent.glob(f"{path.name}.*"))


def rotate(path: Path, moment: datetime, max_files: int) -> None:
    """Move a log aside and keep the newest `max_files`, the new one included."""
    path.rename(path.with_name(f"{path.name}.{moment.astimezone(UTC):%Y%m%d-%H%M%S}"))
    parts = rotated_files(path)
    for old in parts[: max(0, len(parts) - (max_files - 1))]:
        old.unlink(missing_ok=True)
