"""Rotation of container logs: by size, a fixed number kept, the engine told to open the file anew."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from sparsam.agent.cri import Cri
from sparsam.agent.logfiles import rotate
from sparsam.agent.pods import Pods
from sparsam.agent.runtime import Container, RuntimeFault

log = logging.getLogger(__name__)

_ROUND_SECONDS = 10.0
_FLOOD_SECONDS = 1.0
"""Pause after a round that had something to rotate: who writes that much will do so again."""


async def keep_rotating(pods: Pods, cri: Cri, *, max_bytes: int, max_files: int) -> None:
    """Rotate the logs of running containers until cancelled."""
    pause = _ROUND_SECONDS
    while True:
        await asyncio.sleep(pause)
        large = await rotate_large(pods.running_containers(), cri, max_bytes=max_bytes, max_files=max_files)
        pause = _FLOOD_SECONDS if large else _ROUND_SECONDS


async def rotate_large(containers: Iterable[Container], cri: Cri, *, max_bytes: int, max_files: int) -> bool:
    """Rotate the logs that have outgrown the limit; whether there were any."""
    large = [run for run in containers if _size(run.log_path) > max_bytes]
    for run in large:
        try:
            rotate(Path(run.log_path), datetime.now(UTC), max_files)
            await cri.reopen_log(run.id)
        except (OSError, RuntimeFault) as error:
            log.warning("log not rotated container=%s error=%s", run.id, error)
    return bool(large)


def _size(path: str) -> int:
    try:
        return Path(path).stat().st_size
    except OSError:
        return 0
