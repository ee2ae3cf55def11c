"""What the API server is told at start."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiServerConfig:
    """Settings of one API server; the CLI fills them in."""

    data_dir: Path
    """Directory of the SQLite store."""
    pki_dir: Path
    """Directory of the cluster's keys and certificates, see `pki`."""
    listen: tuple[tuple[str, int], ...] = (("127.0.0.1", 6443),)
    """Addresses to serve on. Loopback, since nothing should be reachable unasked."""
    advertise: tuple[str, int] | None = None
    """Where pods reach this server: the endpoints of the `kubernetes` Service. None: the first of `listen`."""
    service_cidrs: tuple[str, ...] = ("10.96.0.0/16",)
    """Network of ClusterIPs of each address family; the first one's first address is the `kubernetes` Service."""
    node_ports: tuple[int, int] = (30000, 32767)
    """First and last node port, as upstream's default range."""
    cluster_domain: str = "cluster.local"
    """DNS domain; names the issuer of service account tokens."""
    token_file: Path | None = None
    """Static tokens, one `token,user,uid,"group1,group2"` a line, as upstream's --token-auth-file."""
    max_body_bytes: int = 3 * 1024 * 1024
    """Largest request body, upstream's limit."""
    watch_send_seconds: float = 30.0
    """How long a watcher may refuse to read before it is cut off."""
    shutdown_seconds: float = 5.0
    """How long requests in flight get to finish at shutdown."""

    @property
    def advertised(self) -> tuple[str, int]:
        """The address that goes into the endpoints of the `kubernetes` Service."""
        return self.advertise or self.listen[0]
