"""Termination messages: what an ended container wrote for its status, or the tail of its log."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sparsam.agent.runtime import MESSAGE_POLICY, Container
from sparsam.agent.volumes import PodDirectory

MAX_MESSAGE_BYTES = 4096
_MAX_POD_BYTES = 12 * 1024
"""What the messages of all containers of a pod may take together, in equal shares."""
_MAX_LOG_BYTES = 2048
_MAX_LOG_LINES = 80


class MessageReader:
    """Completes ended containers with their messages; each is read once."""

    def __init__(self, directory: PodDirectory, containers: int) -> None:
        self._directory = directory
        self._share = _MAX_POD_BYTES // max(containers, 1)
        self._read: dict[str, Container] = {}

    def complete(self, container: Container) -> Container:
        """The container, with its message if it ended."""
        if not container.exited:
            return container
        known = self._read.get(container.id)
        if known is None:
            known = self._read[container.id] = replace(container, message=self._message(container))
        return known

    def _message(self, container: Container) -> str:
        text = _tail(self._directory.message_file(container.name, container.attempt), MAX_MESSAGE_BYTES)
        fall_back = container.annotations.get(MESSAGE_POLICY) == "FallbackToLogsOnError"
        if not text and fall_back and container.exit_code != 0 and container.log_path:
            text = log_tail(Path(container.log_path))
        return (text or container.message).encode()[: self._share].decode(errors="ignore")


def log_tail(path: Path) -> str:
    """The last lines of a CRI log without their prefixes: at most 80 lines and 2 KiB."""
    lines = _tail(path, 8 * _MAX_LOG_BYTES).splitlines()[-_MAX_LOG_LINES:]
    return "".join(map(_text, lines))[-_MAX_LOG_BYTES:]


def _text(line: str) -> str:
    """What a line of the log says; a part (`P`) of a longer line does not end it."""
    _, _, tag, text = [*line.split(" ", 3), "", "", "", ""][:4]
    return text if tag.startswith("P") else f"{text}\n"


def _tail(path: Path, size: int) -> str:
    try:
        with path.open("rb") as source:
            source.seek(0, 2)
            source.seek(max(0, source.tell() - size))
            return source.read(size).decode(errors="replace")
    except OSError:
        return ""
