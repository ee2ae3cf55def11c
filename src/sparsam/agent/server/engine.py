"""CRI calls that only the node's server makes: streaming addresses and statistics."""

from __future__ import annotations

from typing import Any

from cri_api.v1 import api_pb2 as pb

from sparsam.agent.cri import Cri, translated
from sparsam.agent.server.exec import ExecRequest

_SERVICE = "/runtime.v1.RuntimeService"
_IMAGE_SERVICE = "/runtime.v1.ImageService"
_CALL_SECONDS = 10.0


async def exec_address(cri: Cri, container_id: str, request: ExecRequest) -> str:
    """Where the engine waits for an exec's streams; raises RuntimeFault."""
    message = pb.ExecRequest(
        container_id=container_id,
        cmd=request.command,
        tty=request.tty,
        stdin=request.stdin,
        stdout=request.stdout,
        stderr=request.stderr,
    )
    return str((await _call(cri, "Exec", message, pb.ExecResponse)).url)


async def attach_address(cri: Cri, container_id: str, request: ExecRequest) -> str:
    """Where the engine waits for an attach's streams; raises RuntimeFault."""
    message = pb.AttachRequest(
        container_id=container_id,
        tty=request.tty,
        stdin=request.stdin,
        stdout=request.stdout,
        stderr=request.stderr,
    )
    return str((await _call(cri, "Attach", message, pb.AttachResponse)).url)


async def container_stats(cri: Cri) -> list[Any]:
    """The engine's statistics of all running containers; raises RuntimeFault."""
    answer = await _call(cri, "ListContainerStats", pb.ListContainerStatsRequest(), pb.ListContainerStatsResponse)
    return list(answer.stats)


async def image_file_systems(cri: Cri) -> list[Any]:
    """What images take on the file systems that they are on; raises RuntimeFault."""
    answer = await _call(cri, "ImageFsInfo", pb.ImageFsInfoRequest(), pb.ImageFsInfoResponse, _IMAGE_SERVICE)
    return list(answer.image_filesystems)


async def _call(cri: Cri, method: str, message: Any, answer: Any, service: str = _SERVICE) -> Any:
    call = cri.channel.unary_unary(
        f"{service}/{method}",
        request_serializer=type(message).SerializeToString,
        response_deserializer=answer.FromString,
    )
    with translated():
        return await call(message, timeout=_CALL_SECONDS)
