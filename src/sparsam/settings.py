"""What the operator chose: read once from TOML, environment and flags into one frozen dataclass.

Only the CLI imports this module; every other package has a config of its own, which the CLI fills from here.
Precedence: flag, then `SPARSAM_<NAME>` in the environment, then the TOML file, then the default.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from ipaddress import IPv4Network, ip_address
from itertools import combinations
from pathlib import Path
from typing import Any

from sparsam.errors import SparsamError

PARTS = ("api", "control", "node")
DEFAULT_DATA_DIR = Path("/var/lib/sparsam")
_PREFIX = "SPARSAM_"
_ELSEWHERE = frozenset({"SPARSAM_DATA", "SPARSAM_REQUIRE"})


class SettingsError(SparsamError):
    """A setting that cannot be used; the message names it."""


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """One node of this machine, derived from the cluster's settings."""

    name: str
    ip: str
    pod_cidr: str
    netns: str | None
    """Network namespace the node lives in; None is the machine's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A cluster on this machine. Every field is also a TOML key and, upper-cased, an environment variable."""

    data_dir: str = str(DEFAULT_DATA_DIR)
    """Where everything durable lives."""
    run_dir: str = "/run/sparsam"
    """Sockets and pid files; short, since a socket path holds 108 bytes at most."""
    parts: str = ",".join(PARTS)
    """Which parts run here, comma-separated."""
    nodes: int = 1
    """Real nodes on this machine; more than one gives each a network namespace and a containerd of its own."""
    node_name: str = ""
    """Name of the only node, or prefix of several; the host name by default."""
    node_ip: str = ""
    """Address of the only node; by default the one on the interface with the default route."""
    listen: str = "127.0.0.1"
    """Address of the API server for clients. Loopback, since nothing should be reachable unasked."""
    port: int = 6443
    """Port of the API server."""
    scheduler_port: int = 10259
    """Port of the scheduler's metrics, on loopback; 0 for none."""
    cluster_cidr: str = "10.244.0.0/16"
    """Network of all pods; each node gets a /24 of it."""
    service_cidr: str = "10.96.0.0/16"
    """Network of ClusterIPs; .1 is the API server, .10 is DNS."""
    machine_cidr: str = "10.245.0.0/24"
    """Machine-internal network between the API server (.1) and this machine's nodes (.11 on)."""
    load_balancer_cidr: str = "10.245.1.0/24"
    """Addresses for Services of type LoadBalancer, this machine's own; empty leaves them to another controller."""
    cluster_domain: str = "cluster.local"
    """DNS domain of the cluster."""
    cri_socket: str = ""
    """Socket of a container engine that runs already; empty starts a containerd of our own."""
    static_pods: str = ""
    """Folder of pod manifests that each node of this machine runs, also without an API server."""
    shutdown_grace_period: int = 30
    """Seconds that pods may take to end when their node goes down."""
    shutdown_grace_period_critical_pods: int = 10
    """The last seconds of those, for critical and static pods."""
    pod_pids_limit: int = 4096
    """Processes and threads of one pod; -1 for no limit."""
    hollow: str = ""
    """A fleet of modelled nodes beside the real ones: a YAML file, or a built-in fleet such as rise-215."""
    server: str = ""
    """URL of the API server on another machine; `sparsam node join` sets it."""
    pod_cidr: str = ""
    """Network of the only node's pods; by default the first /24 of `cluster_cidr`."""

    def __post_init__(self) -> None:
        """Refuse what cannot work; raises SettingsError naming the field."""
        for part in self.part_list:
            if part not in PARTS:
                raise SettingsError(f"parts: unknown part {part!r}; known are {', '.join(PARTS)}")
        if not 1 <= self.nodes <= 100:
            raise SettingsError(f"nodes: {self.nodes} is not between 1 and 100")
        if not 1 <= self.port <= 65535:
            raise SettingsError(f"port: {self.port} is not between 1 and 65535")
        if self.cri_socket and self.nodes > 1:
            raise SettingsError("cri_socket: one engine cannot serve several nodes; leave it out with nodes > 1")
        if not 0 <= self.scheduler_port <= 65535:
            raise SettingsError(f"scheduler_port: {self.scheduler_port} is not between 0 and 65535")
        for name in ("listen", "node_ip"):
            _address(name, getattr(self, name))
        self._check_networks()
        self._check_node_of_another()
        self._check_shutdown()

    def _check_networks(self) -> None:
        optional = {"load_balancer_cidr": 32} if self.load_balancer_cidr else {}
        narrowest = _NETWORKS | optional
        networks = {name: _network(name, getattr(self, name)) for name in narrowest}
        for name, longest in narrowest.items():
            if networks[name].prefixlen > longest:
                raise SettingsError(f"{name}: {networks[name]} is too small; use a /{longest} or wider")
        for (first, one), (second, other) in combinations(networks.items(), 2):
            if one.overlaps(other):
                raise SettingsError(f"{first}: {one} overlaps {second} {other}")

    def _check_shutdown(self) -> None:
        critical, grace = self.shutdown_grace_period_critical_pods, self.shutdown_grace_period
        if not 0 <= critical <= grace <= 86_400:
            least = f"shutdown_grace_period_critical_pods ({critical})"
            raise SettingsError(f"shutdown_grace_period: {grace} is not between {least} and 86400")

    def _check_node_of_another(self) -> None:
        cluster = _network("cluster_cidr", self.cluster_cidr)
        if self.pod_cidr and not _network("pod_cidr", self.pod_cidr).subnet_of(cluster):
            raise SettingsError(f"pod_cidr: {self.pod_cidr} is not within cluster_cidr {self.cluster_cidr}")
        if self.server and (self.part_list != ("node",) or self.nodes != 1):
            raise SettingsError("server: with an API server on another machine, one node alone runs here")

    @property
    def part_list(self) -> tuple[str, ...]:
        """The parts as a tuple."""
        return tuple(part.strip() for part in self.parts.split(",") if part.strip())

    @property
    def data_path(self) -> Path:
        """`data_dir` as a path."""
        return Path(self.data_dir)

    @property
    def run_path(self) -> Path:
        """`run_dir` as a path."""
        return Path(self.run_dir)

    @property
    def pki_dir(self) -> Path:
        """Certificates and keys."""
        return self.data_path / "pki"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; on a machine that joined, which has none, its node's."""
        return self.data_path / (f"node-{self.node_name}.kubeconfig" if self.server else "kubeconfig")

    @property
    def machine_ip(self) -> str:
        """The API server's machine-internal address, which pods reach through the `kubernetes` Service."""
        return str(_network("machine_cidr", self.machine_cidr)[1])

    @property
    def dns_ip(self) -> str:
        """The cluster DNS address."""
        return str(_network("service_cidr", self.service_cidr)[10])

    @property
    def api_service_ip(self) -> str:
        """ClusterIP of the `kubernetes` Service."""
        return str(_network("service_cidr", self.service_cidr)[1])

    @property
    def client_host(self) -> str:
        """Where a client on this machine finds the API server."""
        return "127.0.0.1" if self.listen in ("", "0.0.0.0") else self.listen

    @property
    def server_url(self) -> str:
        """The API server as processes of this machine reach it."""
        return self.server or f"https://{self.client_host}:{self.port}"

    def node_list(self, hostname: str, primary_ip: str | None) -> list[NodeSettings]:
        """The nodes of this machine, given its host name and its address (None without a default route)."""
        base = self.node_name or hostname
        pods = _network("cluster_cidr", self.cluster_cidr).subnets(new_prefix=24)
        if self.nodes == 1:
            ip = self.node_ip or primary_ip or self.machine_ip
            return [NodeSettings(base, ip, self.pod_cidr or str(next(pods)), None)]
        machine = _network("machine_cidr", self.machine_cidr)
        return [
            NodeSettings(f"{base}-{number}", str(machine[10 + number]), str(next(pods)), f"sparsam-{base}-{number}")
            for number in range(1, self.nodes + 1)
        ]

    def write(self, path: Path) -> None:
        """Keep the settings for the processes that `up` starts."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")


_PATHS = frozenset({"data_dir", "run_dir", "cri_socket", "static_pods", "hollow"})
_NETWORKS = {"cluster_cidr": 22, "service_cidr": 24, "machine_cidr": 24}


def read_settings(path: Path) -> Settings:
    """The settings that `write` kept; raises SettingsError when there are none."""
    try:
        return Settings(**json.loads(path.read_text()))
    except FileNotFoundError:
        raise SettingsError(
            f"no cluster in {path.parent}; start one with: sparsam up --data-dir {path.parent}"
        ) from None
    except (ValueError, TypeError) as error:
        raise SettingsError(f"{path} is damaged: {error}") from error


def load_settings(
    flags: Mapping[str, Any],
    *,
    config: Path | None,
    environ: Mapping[str, str] = os.environ,
    kept: Settings | None = None,
) -> Settings:
    """Merge flags (None means not given), environment and TOML file, over what was kept from an earlier start.

    Raises SettingsError naming what is wrong. Relative paths are made absolute, since processes start elsewhere.
    """
    known = {field.name: field.type for field in fields(Settings)}
    chosen: dict[str, Any] = _read_toml(config) if config else {}
    unknown = sorted(set(chosen) - set(known))
    if unknown:
        raise SettingsError(f"{config}: unknown setting {unknown[0]!r}; known are {', '.join(sorted(known))}")
    for variable, value in environ.items():
        name = variable.removeprefix(_PREFIX).lower()
        if variable.startswith(_PREFIX) and variable not in _ELSEWHERE and name in known:
            chosen[name] = value
    chosen.update({name: value for name, value in flags.items() if value is not None})
    for name, value in chosen.items():
        chosen[name] = _as_type(name, value, known[name])
        if name in _PATHS and chosen[name] and (name != "hollow" or Path(chosen[name]).exists()):
            chosen[name] = str(Path(chosen[name]).absolute())
    return Settings(**(asdict(kept) if kept else {}) | chosen)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"cannot read {path}: {error}") from error


def _as_type(name: str, value: Any, wanted: Any) -> Any:
    if wanted in (int, "int"):
        try:
            return int(value)
        except (TypeError, ValueError):
            raise SettingsError(f"{name}: {value!r} is not a whole number") from None
    if not isinstance(value, str):
        raise SettingsError(f"{name}: {value!r} is not text")
    return value


def _network(name: str, text: str) -> IPv4Network:
    try:
        return IPv4Network(text)
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from None


def _address(name: str, text: str) -> None:
    if text:
        try:
            ip_address(text)
        except ValueError as error:
            raise SettingsError(f"{name}: {error}") from None
