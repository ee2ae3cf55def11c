"""What the node knows of its CSI volumes, in a file beside each mount: whatever dies, the next agent reads on.

A record is written before the driver is called and removed after it is done, so that there is none too few.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from sparsam.agent.csi.plan import FOLDER, RECORD, CsiVolume


class Record(msgspec.Struct, frozen=True):
    """The fields that upstream's node agent writes, so that tools which read them find them."""

    driverName: str  # noqa: N815
    volumeHandle: str  # noqa: N815
    specVolID: str = ""  # noqa: N815
    nodeName: str = ""  # noqa: N815
    attachmentID: str = ""  # noqa: N815
    volumeLifecycleMode: str = "Persistent"  # noqa: N815
    block: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Which volume of which driver."""
        return self.driverName, self.volumeHandle

    @property
    def is_ephemeral(self) -> bool:
        """Whether it came with its pod."""
        return self.volumeLifecycleMode == "Ephemeral"


def record_of(volume: CsiVolume, node: str, attachment: str) -> Record:
    """What is written down for a volume."""
    mode = "Ephemeral" if volume.ephemeral else "Persistent"
    return Record(volume.driver, volume.handle, volume.name, node, attachment, mode, volume.block)


def write(folder: Path, record: Record) -> None:
    """Write a record, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o750)
    temporary = folder / f"{RECORD}.new"
    temporary.write_bytes(msgspec.json.encode(record))
    temporary.rename(folder / RECORD)


def read(folder: Path) -> Record | None:
    """The record of a folder; None where there is none that can be read."""
    try:
        return msgspec.json.decode((folder / RECORD).read_bytes(), type=Record)
    except (OSError, msgspec.DecodeError):
        return None


def remove(folder: Path, target: Path) -> None:
    """Forget a volume that is not mounted any more; raises OSError rather than delete what is in a directory."""
    with contextlib.suppress(FileNotFoundError):
        if target.is_dir():
            target.rmdir()
        else:
            target.unlink()
    for name in (RECORD, f"{RECORD}.new"):
        (folder / name).unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        folder.rmdir()


def of_pod(pod_path: Path) -> Iterator[tuple[Path, Record | None]]:
    """The folders of a pod's CSI volumes with their records."""
    parent = pod_path / "volumes" / FOLDER
    for folder in sorted(parent.iterdir()) if parent.is_dir() else ():
        yield folder, read(folder)


def of_pods(pods_dir: Path) -> Iterator[Record]:
    """The records of all pods."""
    for pod_path in list(pods_dir.iterdir()) if pods_dir.is_dir() else ():
        yield from (record for _, record in of_pod(pod_path) if record is not None)


def staged(plugins_dir: Path) -> Iterator[tuple[Path, Record]]:
    """The folders of what is staged, with their records."""
    for path in sorted((plugins_dir / "kubernetes.io" / "csi").glob(f"*/*/{RECORD}")):
        record = read(path.parent)
        if record is not None:
            yield path.parent, record
