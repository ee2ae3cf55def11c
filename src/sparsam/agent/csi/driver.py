"""A driver behind its socket, as the node calls it. Errors of gRPC become `CsiFault`s with the driver's own words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from sparsam.agent.csi.messages import CSI, MESSAGES
from sparsam.agent.diskuse import VolumeUse
from sparsam.errors import SparsamError

CALL_SECONDS = 120.0
STATS_SECONDS = 10.0
_BYTES, _INODES = 1, 2
_SOCKET_BYTES = 107


class Ability(IntEnum):
    """What the node service of a driver can do beyond publishing."""

    STAGE = 1
    STATS = 2
    EXPAND = 3
    SINGLE_NODE_MULTI_WRITER = 5
    MOUNT_GROUP = 6


class CsiFault(SparsamError):
    """A driver refused, failed or did not answer; `code` is gRPC's, in upstream's spelling, where there is one."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """What a driver says of this node."""

    node_id: str
    most_volumes: int = 0
    """How many volumes can be used here at once; 0 for as many as one likes."""
    topology: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mount:
    """How a volume is to be mounted."""

    access_mode: int
    fs_type: str = ""
    flags: tuple[str, ...] = ()
    group: str = ""
    block: bool = False

    def message(self) -> Any:
        """CSI's VolumeCapability."""
        mode = MESSAGES["AccessMode"](mode=self.access_mode)
        if self.block:
            return MESSAGES["VolumeCapability"](block=MESSAGES["BlockVolume"](), access_mode=mode)
        mount = MESSAGES["MountVolume"](fs_type=self.fs_type, mount_flags=self.flags, volume_mount_group=self.group)
        return MESSAGES["VolumeCapability"](mount=mount, access_mode=mode)


class Endpoint:
    """One gRPC service at a Unix socket."""

    def __init__(self, socket: Path, service: str, links: Path) -> None:
        """`links` is a directory with a short path, for sockets whose own is too long to connect to."""
        options = [("grpc.enable_http_proxy", 0), ("grpc.max_reconnect_backoff_ms", 1000)]
        self._channel = grpc.aio.insecure_channel(f"unix://{reachable(socket, links)}", options=options)
        self._service = service

    async def call(self, method: str, request: Any, answer: str, seconds: float = CALL_SECONDS) -> Any:
        """Call a method; raises CsiFault."""
        stub = self._channel.unary_unary(
            f"/{self._service}/{method}",
            request_serializer=type(request).SerializeToString,
            response_deserializer=MESSAGES[answer].FromString,
        )
        try:
            return await stub(request, timeout=seconds)
        except grpc.aio.AioRpcError as error:
            code = error.code().name.title().replace("_", "")
            raise CsiFault(f"rpc error: code = {code} desc = {error.details()}", code) from error

    async def close(self) -> None:
        """Hang up."""
        await self._channel.close()


class Driver:
    """The node service of one driver."""

    def __init__(self, name: str, socket: Path, links: Path) -> None:
        self.name = name
        self.abilities: frozenset[int] = frozenset()
        self._endpoint = Endpoint(socket, f"{CSI}.Node", links)

    async def learn(self) -> NodeInfo:
        """Ask what the driver can do, and what it says of this node; raises CsiFault."""
        able = await self._call("NodeGetCapabilities")
        self.abilities = frozenset(each.rpc.type for each in able.capabilities)
        info = await self._call("NodeGetInfo")
        if not info.node_id:
            raise CsiFault(f"driver {self.name} gave no node ID")
        return NodeInfo(info.node_id, info.max_volumes_per_node, dict(info.accessible_topology.segments))

    async def stage(self, **request: Any) -> None:
        """Make a volume ready on the node; raises CsiFault."""
        await self._call("NodeStageVolume", **request)

    async def unstage(self, volume_id: str, path: Path) -> None:
        """Undo that; raises CsiFault."""
        await self._call("NodeUnstageVolume", volume_id=volume_id, staging_target_path=str(path))

    async def publish(self, **request: Any) -> None:
        """Mount a volume for a pod; raises CsiFault."""
        await self._call("NodePublishVolume", **request)

    async def unpublish(self, volume_id: str, path: Path) -> None:
        """Undo that; raises CsiFault."""
        await self._call("NodeUnpublishVolume", volume_id=volume_id, target_path=str(path))

    async def expand(self, **request: Any) -> None:
        """Grow a volume that is mounted; raises CsiFault."""
        await self._call("NodeExpandVolume", **request)

    async def usage(self, **request: Any) -> VolumeUse:
        """The room in a volume that is mounted; raises CsiFault."""
        answer = await self._call("NodeGetVolumeStats", STATS_SECONDS, **request)
        by_unit = {each.unit: each for each in answer.usage}
        room, inodes = (by_unit.get(unit, MESSAGES["VolumeUsage"]()) for unit in (_BYTES, _INODES))
        return VolumeUse(room.total, room.available, room.used, inodes.total, inodes.available, inodes.used)

    async def close(self) -> None:
        """Hang up."""
        await self._endpoint.close()

    async def _call(self, method: str, seconds: float = CALL_SECONDS, **fields: Any) -> Any:
        return await self._endpoint.call(method, MESSAGES[f"{method}Request"](**fields), f"{method}Response", seconds)


def reachable(socket: Path, links: Path) -> Path:
    """A path to a socket that fits into an address: itself, or a link from a shorter place."""
    if len(str(socket).encode()) <= _SOCKET_BYTES:
        return socket
    link = links / f"csi-{sha256(str(socket).encode()).hexdigest()[:12]}"
    if not link.is_symlink():
        link.symlink_to(socket)
    return link
