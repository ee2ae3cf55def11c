"""A thin asynchronous client of the Container Runtime Interface, v1: values in, values out, errors translated."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import grpc
import grpc.aio
import msgspec
from cri_api.v1 import api_pb2 as pb
from cri_api.v1 import api_pb2_grpc

from sparsam.agent.resources import CPU_PERIOD_MICROSECONDS, ContainerResources
from sparsam.agent.runtime import (
    CONTAINER_NAME,
    NODE_LABEL,
    POD_UID,
    Container,
    ContainerState,
    ExecResult,
    Image,
    RuntimeFault,
    RuntimeNotFound,
    RuntimeTimeout,
    RuntimeUnavailable,
    RuntimeUnsupported,
    Sandbox,
)

_CALL_SECONDS = 120.0
_STOP_SECONDS = 45.0
"""Beyond the grace period. An engine that lost a container's shim while it started itself waits for an end that nobody
tells it of; asked anew, it finds out.
"""
_MAX_MESSAGE_BYTES = 16 << 20
_NANOSECONDS = 1e9
_STATES = {
    pb.CONTAINER_CREATED: ContainerState.CREATED,
    pb.CONTAINER_RUNNING: ContainerState.RUNNING,
    pb.CONTAINER_EXITED: ContainerState.EXITED,
}
_FAULTS = {
    grpc.StatusCode.NOT_FOUND: RuntimeNotFound,
    grpc.StatusCode.UNAVAILABLE: RuntimeUnavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: RuntimeTimeout,
    grpc.StatusCode.UNIMPLEMENTED: RuntimeUnsupported,
}


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn gRPC's errors into ours, chained."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise _FAULTS.get(error.code(), RuntimeFault)(error.details() or str(error.code())) from error


class Cri:
    """The engine behind one socket. Use as an async context manager."""

    def __init__(self, socket: str) -> None:
        options = [
            ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
            ("grpc.enable_http_proxy", 0),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 1000),
        ]
        self.channel = grpc.aio.insecure_channel(f"unix://{socket}", options=options)
        self._runtime: Any = api_pb2_grpc.RuntimeServiceStub(self.channel)  # type: ignore[no-untyped-call]
        self._images: Any = api_pb2_grpc.ImageServiceStub(self.channel)  # type: ignore[no-untyped-call]
        self._exited: dict[str, Container] = {}

    async def __aenter__(self) -> Cri:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.channel.close()

    async def _call(self, method: Any, request: Any, seconds: float = _CALL_SECONDS) -> Any:
        with translated():
            return await method(request, timeout=seconds)

    # -- the engine -----------------------------------------------------------------------------------------

    async def version(self) -> tuple[str, str]:
        """Name and version, such as `containerd` and `1.6.20`."""
        answer = await self._call(self._runtime.Version, pb.VersionRequest(), 10.0)
        return answer.runtime_name, answer.runtime_version

    async def conditions(self) -> dict[str, tuple[bool, str]]:
        """`RuntimeReady` and `NetworkReady`, each with its message."""
        answer = await self._call(self._runtime.Status, pb.StatusRequest(), 10.0)
        return {c.type: (c.status, c.message or c.reason) for c in answer.status.conditions}

    async def events(self) -> AsyncIterator[str]:
        """Pod uids as their containers change; raises RuntimeUnsupported on engines older than this call."""
        with translated():
            async for event in self._runtime.GetContainerEvents(pb.GetEventsRequest()):
                yield event.pod_sandbox_status.metadata.uid

    # -- sandboxes ------------------------------------------------------------------------------------------

    async def run_sandbox(self, config: Any, handler: str = "") -> str:
        """Create and start a sandbox under one of the engine's handlers; returns its id."""
        request = pb.RunPodSandboxRequest(config=config, runtime_handler=handler)
        answer = await self._call(self._runtime.RunPodSandbox, request)
        return str(answer.pod_sandbox_id)

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """Stop a sandbox with all it holds and give its network back; a missing one is fine."""
        with contextlib.suppress(RuntimeNotFound):
            request = pb.StopPodSandboxRequest(pod_sandbox_id=sandbox_id)
            await self._call(self._runtime.StopPodSandbox, request, _STOP_SECONDS)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Remove a stopped sandbox and its containers; a missing one is fine."""
        with contextlib.suppress(RuntimeNotFound):
            await self._call(self._runtime.RemovePodSandbox, pb.RemovePodSandboxRequest(pod_sandbox_id=sandbox_id))

    async def list_sandboxes(self, uid: str = "") -> list[Sandbox]:
        """Sandboxes without their addresses, newest first; of one pod if asked."""
        selector = {POD_UID: uid} if uid else {}
        answer = await self._call(
            self._runtime.ListPodSandbox,
            pb.ListPodSandboxRequest(filter=pb.PodSandboxFilter(label_selector=selector)),
        )
        found = [_sandbox(item) for item in answer.items]
        return sorted(found, key=lambda sandbox: (-sandbox.attempt, -sandbox.created_seconds))

    async def sandbox(self, sandbox_id: str) -> Sandbox:
        """One sandbox with its addresses."""
        answer = await self._call(self._runtime.PodSandboxStatus, pb.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id))
        status = answer.status
        ips = tuple(ip for ip in (status.network.ip, *(a.ip for a in status.network.additional_ips)) if ip)
        return _sandbox(status, ips, status.linux.namespaces.options.network == pb.NODE)

    async def sandbox_info(self, sandbox_id: str) -> dict[str, str]:
        """The engine's verbose words on a sandbox (containerd: JSON under `info` with pid and netns)."""
        answer = await self._call(
            self._runtime.PodSandboxStatus, pb.PodSandboxStatusRequest(pod_sandbox_id=sandbox_id, verbose=True)
        )
        return dict(answer.info)

    # -- containers -----------------------------------------------------------------------------------------

    async def create_container(self, sandbox_id: str, config: Any, sandbox_config: Any) -> str:
        """Create a container; returns its id."""
        request = pb.CreateContainerRequest(pod_sandbox_id=sandbox_id, config=config, sandbox_config=sandbox_config)
        answer = await self._call(self._runtime.CreateContainer, request)
        return str(answer.container_id)

    async def start_container(self, container_id: str) -> None:
        """Start a created container."""
        await self._call(self._runtime.StartContainer, pb.StartContainerRequest(container_id=container_id))

    async def stop_container(self, container_id: str, grace_seconds: int) -> None:
        """Ask the process to end, kill it after the grace; a missing one is fine."""
        request = pb.StopContainerRequest(container_id=container_id, timeout=grace_seconds)
        with contextlib.suppress(RuntimeNotFound):
            await self._call(self._runtime.StopContainer, request, grace_seconds + _STOP_SECONDS)

    async def remove_container(self, container_id: str) -> None:
        """Remove a container; a missing one is fine."""
        self._exited.pop(container_id, None)
        with contextlib.suppress(RuntimeNotFound):
            await self._call(self._runtime.RemoveContainer, pb.RemoveContainerRequest(container_id=container_id))

    async def update_resources(self, container_id: str, resources: ContainerResources) -> None:
        """Change what a running container may use."""
        linux = pb.LinuxContainerResources(
            cpu_shares=resources.cpu_shares,
            cpu_period=CPU_PERIOD_MICROSECONDS,
            cpu_quota=resources.cpu_quota_microseconds or -1,
            memory_limit_in_bytes=resources.memory_bytes or -1,
        )
        request = pb.UpdateContainerResourcesRequest(container_id=container_id, linux=linux)
        await self._call(self._runtime.UpdateContainerResources, request)

    async def list_containers(self, uid: str = "") -> list[Container]:
        """Containers with full status, newest first; of one pod if asked."""
        selector = {POD_UID: uid} if uid else {}
        answer = await self._call(
            self._runtime.ListContainers, pb.ListContainersRequest(filter=pb.ContainerFilter(label_selector=selector))
        )
        found = []
        for item in answer.containers:
            with contextlib.suppress(RuntimeNotFound):
                found.append(await self._detailed(item))
        return sorted(found, key=lambda container: (-container.attempt, -container.created_seconds))

    async def container_states(self) -> dict[str, tuple[str, ContainerState]]:
        """Of every container its pod's uid and state, in one cheap call."""
        answer = await self._call(self._runtime.ListContainers, pb.ListContainersRequest())
        return {
            c.id: (c.labels.get(POD_UID, ""), _STATES.get(c.state, ContainerState.UNKNOWN)) for c in answer.containers
        }

    async def container(self, container_id: str, sandbox_id: str) -> Container:
        """One container's status."""
        answer = await self._call(self._runtime.ContainerStatus, pb.ContainerStatusRequest(container_id=container_id))
        return _container(answer.status, sandbox_id)

    async def container_pid(self, container_id: str) -> int | None:
        """The process of a container as the node sees it, where the engine tells."""
        request = pb.ContainerStatusRequest(container_id=container_id, verbose=True)
        answer = await self._call(self._runtime.ContainerStatus, request)
        info = msgspec.json.decode(answer.info.get("info") or "{}")
        return int(info.get("pid") or 0) or None

    async def _detailed(self, item: Any) -> Container:
        """Status of a listed container; an exited one never changes, so it is asked for once."""
        known = self._exited.get(item.id)
        if known is not None:
            return known
        container = await self.container(item.id, item.pod_sandbox_id)
        if container.state is ContainerState.EXITED:
            self._exited[item.id] = container
        return container

    async def exec(self, container_id: str, command: Iterable[str], seconds: float) -> ExecResult:
        """Run a command to its end; raises RuntimeTimeout when it takes longer than that."""
        request = pb.ExecSyncRequest(container_id=container_id, cmd=list(command), timeout=max(1, int(seconds)))
        answer = await self._call(self._runtime.ExecSync, request, seconds + 5.0)
        return ExecResult(answer.exit_code, answer.stdout + answer.stderr)

    async def reopen_log(self, container_id: str) -> None:
        """Have the engine open the log path anew, after a rotation."""
        await self._call(
            self._runtime.ReopenContainerLog, pb.ReopenContainerLogRequest(container_id=container_id), 10.0
        )

    # -- images ---------------------------------------------------------------------------------------------

    async def image(self, reference: str) -> Image | None:
        """An image by name or id, or None."""
        answer = await self._call(
            self._images.ImageStatus, pb.ImageStatusRequest(image=pb.ImageSpec(image=reference)), 30.0
        )
        return _image(answer.image) if answer.HasField("image") else None

    async def list_images(self) -> list[Image]:
        """All images, largest first."""
        answer = await self._call(self._images.ListImages, pb.ListImagesRequest(), 30.0)
        return sorted((_image(image) for image in answer.images), key=lambda image: -image.size_bytes)

    async def remove_image(self, image_id: str) -> None:
        """Remove an image with all its names; a missing one is fine."""
        request = pb.RemoveImageRequest(image=pb.ImageSpec(image=image_id))
        with contextlib.suppress(RuntimeNotFound):
            await self._call(self._images.RemoveImage, request)

    async def pull(self, reference: str, auth: dict[str, str] | None, seconds: float) -> str:
        """Pull an image within so many seconds; returns its id."""
        request = pb.PullImageRequest(image=pb.ImageSpec(image=reference), auth=pb.AuthConfig(**auth) if auth else None)
        return str((await self._call(self._images.PullImage, request, seconds)).image_ref)


def _sandbox(item: Any, ips: tuple[str, ...] = (), host_network: bool = False) -> Sandbox:
    return Sandbox(
        id=item.id,
        uid=item.metadata.uid,
        name=item.metadata.name,
        namespace=item.metadata.namespace,
        attempt=item.metadata.attempt,
        ready=item.state == pb.SANDBOX_READY,
        created_seconds=item.created_at / _NANOSECONDS,
        ips=ips,
        host_network=host_network,
        node=item.labels.get(NODE_LABEL, ""),
    )


def _container(status: Any, sandbox_id: str) -> Container:
    return Container(
        id=status.id,
        sandbox_id=sandbox_id,
        uid=status.labels.get(POD_UID, ""),
        name=status.labels.get(CONTAINER_NAME, status.metadata.name),
        attempt=status.metadata.attempt,
        state=_STATES.get(status.state, ContainerState.UNKNOWN),
        created_seconds=status.created_at / _NANOSECONDS,
        started_seconds=status.started_at / _NANOSECONDS,
        finished_seconds=status.finished_at / _NANOSECONDS,
        exit_code=status.exit_code,
        reason=status.reason,
        message=status.message,
        image=status.image.image,
        image_id=status.image_ref,
        log_path=status.log_path,
        labels=dict(status.labels),
        annotations=dict(status.annotations),
    )


def _image(image: Any) -> Image:
    return Image(
        id=image.id,
        tags=tuple(image.repo_tags),
        digests=tuple(image.repo_digests),
        size_bytes=image.size,
        user_id=image.uid.value if image.HasField("uid") else None,
        user_name=image.username,
    )
