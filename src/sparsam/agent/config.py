"""What a node agent is told at start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from sparsam.agent.eviction import Floors
from sparsam.agent.pulling import PullLimits

if TYPE_CHECKING:
    from sparsam.client.config import ClusterConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTaint:
    """A taint the node registers with."""

    key: str
    effect: str
    value: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentPaths:
    """Directories of one node; also enough to remove everything the node made."""

    node_name: str
    data_dir: Path
    """Durable: images, volumes, logs."""
    run_dir: Path
    """Short, since sockets live here, and not durable."""
    bridge: str = "spc0"
    """Bridge of the pods, in the network namespace the agent runs in."""

    @property
    def pods_dir(self) -> Path:
        """One directory for each pod: volumes, hosts file, termination messages."""
        return self.data_dir / "pods"

    @property
    def plugins_dir(self) -> Path:
        """Sockets of storage drivers, and the node's own mounts of their volumes."""
        return self.data_dir / "plugins"

    @property
    def plugins_registry_dir(self) -> Path:
        """Where storage drivers make themselves known."""
        return self.data_dir / "plugins_registry"

    @property
    def volumes_dir(self) -> Path:
        """Local volumes that claims get, one directory each: data of users."""
        return self.data_dir / "volumes"

    @property
    def seccomp_dir(self) -> Path:
        """Profiles that pods name with `type: Localhost`, relative to here."""
        return self.data_dir / "seccomp"

    @property
    def logs_dir(self) -> Path:
        """Container logs in CRI format."""
        return self.data_dir / "logs" / "pods"

    @property
    def cgroup_base(self) -> str:
        """Parent of all pods' control groups.

        It names the data directory too: clusters of one machine may have nodes of the same name, and taking one down
        ends every process below its base.
        """
        return f"/sparsam/{self.node_name}-{sha256(str(self.data_dir).encode()).hexdigest()[:8]}"

    @property
    def ipam_dir(self) -> Path:
        """Addresses given out."""
        return self.data_dir / "cni" / "networks"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig(AgentPaths):
    """Everything a node agent needs to know."""

    node_ips: tuple[str, ...]
    """The node's address in each family that the cluster has, the first one's first."""
    pod_cidrs: tuple[str, ...]
    """Networks of the node's pods, in the same order."""
    cluster_dns: str
    client: ClusterConfig
    cluster_domain: str = "cluster.local"
    cri_socket: str | None = None
    """Socket of an engine that runs already; None starts a containerd of our own."""
    serving_cert: Path | None = None
    """Certificate of the agent's HTTPS server."""
    serving_key: Path | None = None
    ca: Path | None = None
    """Authority that signed the API server's client certificate."""
    static_pods: Path | None = None
    """Folder of manifests to run without the API; None runs none."""
    port: int = 10250
    """Where logs, exec and statistics are served."""
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    """Registered on the node, for instance its idle and maximal watts."""
    taints: tuple[NodeTaint, ...] = ()
    max_pods: int = 110
    """As many as upstream's default; a /24 holds them twice."""
    pod_pids_limit: int = 4096
    """Processes and threads of one pod; -1 (upstream's default) for no limit, so that one pod can starve the node."""
    reserved_cpu_millicores: int = 100
    """Kept from pods for the node's own processes."""
    reserved_memory_bytes: int = 256 << 20
    """Kept from pods for the node's own processes."""
    lease_seconds: int = 40
    """How long a node counts as alive without a heartbeat; renewed every quarter of it."""
    status_seconds: float = 300.0
    """Longest time between two reports of the node's status."""
    refresh_seconds: float = 60.0
    """How often ConfigMaps and Secrets in use are looked at again."""
    machine_nodes: int = 1
    """Nodes of the same machine, this one included; each of them meters all of it."""
    floors: Floors = field(default_factory=Floors)
    """What must stay free on the node; below that pods are evicted."""
    shutdown_seconds: int = 30
    """How long pods may take to end when the node goes down, all together."""
    shutdown_critical_seconds: int = 10
    """The last part of that time, in which critical pods and static ones end."""
    pulls: PullLimits = field(default_factory=PullLimits)
    """How images are pulled."""
    log_max_bytes: int = 10 << 20
    """Size at which a container's log is rotated."""
    log_max_files: int = 5
    """Log files kept for each container."""

    @property
    def node_ip(self) -> str:
        """The node's address in the cluster's first family."""
        return self.node_ips[0]
