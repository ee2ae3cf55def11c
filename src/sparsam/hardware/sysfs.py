"""Small kernel files: read in one call, and what may go wrong with them as a value."""

from __future__ import annotations

import os
from pathlib import Path

from sparsam.hardware.guards import Verdict
from sparsam.hardware.meter import Fault

LONGEST_BYTES = 4096


def read_text(path: Path) -> str | Verdict:
    """The file's text without its line end.

    One open and one read, since the kernel renders an attribute anew for each: a second read would be of another
    moment.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return os.read(descriptor, LONGEST_BYTES).decode("utf-8", "replace").strip()
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        return Verdict(Fault.ABSENT, f"{path} does not exist")
    except PermissionError:
        return Verdict(Fault.DENIED, f"{path} may be read by root alone")
    except OSError as error:
        # ENODATA, EIO, EAGAIN and ETIMEDOUT are what drivers answer while the device is busy or asleep.
        return Verdict(Fault.INACTIVE, f"{path}: {error.strerror}")


def read_number(path: Path) -> float | Verdict:
    """The file's number, unscaled."""
    text = read_text(path)
    if isinstance(text, Verdict):
        return text
    try:
        return float(int(text))
    except ValueError:
        return Verdict(Fault.MALFORMED, f"{path} holds {text[:40]!r}")


def read_label(path: Path, default: str = "") -> str:
    """The file's text, or the default where it cannot be had."""
    text = read_text(path)
    return default if isinstance(text, Verdict) else text


def entries(path: Path) -> list[Path]:
    """The folder's entries by name; none where it cannot be listed."""
    try:
        return sorted(path.iterdir())
    except OSError:
        return []
