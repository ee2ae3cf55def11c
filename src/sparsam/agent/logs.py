"""Rotation of container logs: by size, a fixed number kept, the engine told to open the file anew."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from pathlib import Path

from sparsam.agent.cri import Cri
from sparsam.agent.pods import Pods
from sparsam.agent.runtime import RuntimeFault

log = logging.getLogger(__name__)

_ROUND_SECONDS = 10.0
_FLOOD_SECONDS = 1.0
"""Pause after a round that had something to rotate: who writes that much will do so again."""


def rotated_files(path: Path) -> list[Path]:
    """Older parts of a log, oldest first."""
    return sorted(path.parent.glob(f"{path.name}.*"))


def rotate(path: Path, moment: datetime, max_files: int) -> None:
    """Move a log aside and keep the newest `max_files`, the new one included."""
    path.rename(path.with_name(f"{path.name}.{moment.astimezone(UTC):%Y%m%d-%H%M%S}"))
    parts = rotated_files(path)
    for old in parts[: max(0, len(parts) - (max_files - 1))]:
        old.unlink(missing_ok=True)


async def keep_rotating(pods: Pods, cri: Cri, *, max_bytes: int, max_files: int) -> None:
    """Rotate the logs of running containers until cancelled."""
    pause = _ROUND_SECONDS
    while True:
        await asyncio.sleep(pause)
        large = [run for run in pods.running_containers() if _size(run.log_path) > max_bytes]
        pause = _FLOOD_SECONDS if large else _ROUND_SECONDS
        for run in large:
            try:
                rotate(Path(run.log_path), datetime.now(UTC), max_files)
                await cri.reopen_log(run.id)
            except (OSError, RuntimeFault) as error:
                log.warning("log not rotated container=%s error=%s", run.id, error)


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0
