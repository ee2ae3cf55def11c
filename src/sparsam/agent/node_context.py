"""What all pods of a node share: engine, directories, groups, API, and facts about the node."""

from __future__ import annotations

from dataclasses import dataclass, field

from sparsam.agent.cgroups import Cgroups
from sparsam.agent.config import AgentConfig
from sparsam.agent.containerd import Containerd
from sparsam.agent.cri import Cri
from sparsam.agent.csi.volumes import CsiVolumes
from sparsam.agent.dns import Resolver
from sparsam.agent.podapi import PodApi
from sparsam.clock import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeContext:
    """Handed to every pod worker."""

    config: AgentConfig
    cri: Cri
    api: PodApi
    cgroups: Cgroups
    clock: Clock
    csi: CsiVolumes
    host_resolver: Resolver
    memory_bytes: int
    allocatable: dict[str, str] = field(default_factory=dict)

    @property
    def engine(self) -> Containerd:
        """The engine of our own."""
        return Containerd(self.config.data_dir, self.config.run_dir)

    @property
    def engine_socket(self) -> str:
        """The engine's gRPC socket."""
        return self.config.cri_socket or str(self.engine.socket)

    def now(self) -> float:
        """Unix seconds."""
        return self.clock.now().timestamp()
