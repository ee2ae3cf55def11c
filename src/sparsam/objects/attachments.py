"""How attached CSI volumes are named by the controller that wants them attached and the node that mounts them. Pure."""

from __future__ import annotations

from hashlib import sha256


def attachment_name(driver: str, handle: str, node: str) -> str:
    """The VolumeAttachment of a volume on a node, as attachers and nodes compute it."""
    return f"csi-{sha256((handle + driver + node).encode()).hexdigest()}"


def volume_name(driver: str, handle: str) -> str:
    """What a Node's `volumesInUse` calls a volume."""
    return f"kubernetes.io/csi/{driver}^{handle}"
