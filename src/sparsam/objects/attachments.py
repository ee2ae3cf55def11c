"""How attached CSI volumes are named by the controller that wants them attached and the node that mounts them. Pure."""

from __future__ import annotations

import re
from hashlib import sha256

_NAME = re.compile(r"csi-[0-9a-f]{64}")


def attachment_name(driver: str, handle: str, node: str) -> str:
    """The VolumeAttachment of a volume on a node, as attachers and nodes compute it."""
    return f"csi-{sha256((handle + driver + node).encode()).hexdigest()}"


def is_attachment_name(name: str) -> bool:
    """Whether the controller made it; any other VolumeAttachment is the business of whoever did."""
    return _NAME.fullmatch(name) is not None


def volume_name(driver: str, handle: str) -> str:
    """What a Node's `volumesInUse` calls a volume."""
    return f"kubernetes.io/csi/{driver}^{handle}"
