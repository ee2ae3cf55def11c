"""What the agent sees of a container engine: sandboxes, containers and images as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from sparsam.errors import SparsamError

POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_UID = "io.kubernetes.pod.uid"
NODE_LABEL = "sparsam.dev/node"
"""Which agent made a sandbox: an engine may serve others too."""
CONTAINER_NAME = "io.kubernetes.container.name"
CONTAINER_HASH = "io.kubernetes.container.hash"
MESSAGE_PATH = "io.kubernetes.container.terminationMessagePath"
MESSAGE_POLICY = "io.kubernetes.container.terminationMessagePolicy"
GRACE_SECONDS = "io.kubernetes.pod.terminationGracePeriod"


class RuntimeFault(SparsamError):
    """The engine refused or failed; the message is its own."""


class RuntimeNotFound(RuntimeFault):
    """The engine does not know this sandbox, container or image."""


class RuntimeUnavailable(RuntimeFault):
    """The engine does not answer."""


class RuntimeTimeout(RuntimeFault):
    """The call took longer than it was given."""


class RuntimeUnsupported(RuntimeFault):
    """The engine is too old for this call."""


class ContainerState(Enum):
    """Life of a container."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A pod's sandbox: its namespaces and address."""

    id: str
    uid: str
    name: str
    namespace: str
    attempt: int
    ready: bool
    created_seconds: float
    ips: tuple[str, ...] = ()
    host_network: bool = False
    node: str = ""


@dataclass(frozen=True, slots=True)
class Container:
    """One run of a container; `attempt` counts the restarts before it."""

    id: str
    sandbox_id: str
    uid: str
    name: str
    attempt: int
    state: ContainerState
    created_seconds: float
    started_seconds: float = 0.0
    finished_seconds: float = 0.0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    image: str = ""
    image_id: str = ""
    log_path: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self.state is ContainerState.RUNNING

    @property
    def exited(self) -> bool:
        """Whether its process ended (or is lost, which ends the same way)."""
        return self.state in (ContainerState.EXITED, ContainerState.UNKNOWN)

    @property
    def succeeded(self) -> bool:
        """Whether its process ended with 0."""
        return self.state is ContainerState.EXITED and self.exit_code == 0


@dataclass(frozen=True, slots=True)
class Image:
    """An image in the engine's store."""

    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    size_bytes: int
    user_id: int | None = None
    user_name: str = ""


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What a command in a container gave back."""

    exit_code: int
    output: bytes
