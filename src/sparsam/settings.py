"""What the operator chose: read once from TOML, environment and flags into one frozen dataclass.

Only the CLI imports this module; every other package has a config of its own, which the CLI fills from here.
Precedence: flag, then `SPARSAM_<NAME>` in the environment, then the TOML file, then the default.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from itertools import combinations, islice
from pathlib import Path
from typing import Any

from sparsam.errors import SparsamError

PARTS = ("api", "control", "node")
DEFAULT_DATA_DIR = Path("/var/lib/sparsam")
Network = IPv4Network | IPv6Network
_PREFIX = "SPARSAM_"
_ELSEWHERE = frozenset({"SPARSAM_DATA", "SPARSAM_REQUIRE"})


class SettingsError(SparsamError):
    """A setting that cannot be used; the message names it."""


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """One node of this machine, derived from the cluster's settings."""

    name: str
    ips: tuple[str, ...]
    """Its address in each family that the cluster has, the first one's first."""
    pod_cidrs: tuple[str, ...]
    """Networks of its pods, in the same order."""
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
    """Address of the only node, or one of each family; by default those on the interface with the default route."""
    listen: str = "127.0.0.1"
    """Address of the API server for clients. Loopback, since nothing should be reachable unasked."""
    port: int = 6443
    """Port of the API server."""
    scheduler_port: int = 10259
    """Port of the scheduler's metrics, on loopback; 0 for none."""
    cluster_cidr: str = "10.244.0.0/16"
    """Network of all pods, or one of each family; each node gets a /24 (IPv6: a /64) of it."""
    service_cidr: str = "10.96.0.0/16"
    """Network of ClusterIPs, or one of each family, the default one's first; .1 is the API server, .10 is DNS (IPv6:
    ::1 and ::a)."""
    machine_cidr: str = "10.245.0.0/24"
    """Machine-internal network between the API server (.1) and this machine's nodes (.11 on), or one of each family."""
    load_balancer_cidr: str = "10.245.1.0/24"
    """Addresses for Services of type LoadBalancer, this machine's own, of one family or both; empty leaves them to
    another controller."""
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
    """Network of the only node's pods, or one of each family; by default the first parts of `cluster_cidr`."""

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
        _address("listen", self.listen)
        self._check_networks()
        self._check_node_of_another()
        self._check_shutdown()

    def _check_networks(self) -> None:
        networks = [
            (name, each)
            for name, found in {
                "cluster_cidr": _networks("cluster_cidr", self.cluster_cidr),
                "service_cidr": _networks("service_cidr", self.service_cidr),
                "machine_cidr": self.machine_networks,
                "load_balancer_cidr": map(ip_network, self.balancer_cidrs),
            }.items()
            for each in found
        ]
        for name, network in networks:
            longest = _NARROWEST[name][network.version]
            if network.prefixlen > longest:
                raise SettingsError(f"{name}: {network} is too small; use a /{longest} or wider")
        for (first, one), (second, other) in combinations(networks, 2):
            if one.overlaps(other):
                raise SettingsError(f"{first}: {one} overlaps {second} {other}")
        if not self.versions:
            raise SettingsError("service_cidr: there is no network")
        if self.listen == "0.0.0.0" and self.versions[0] == 6:
            raise SettingsError(f"listen: {self.listen} is no address of the cluster's first family, IPv6; use ::")
        if tuple(each.version for each in _networks("cluster_cidr", self.cluster_cidr)) != self.versions:
            both = f"cluster_cidr {self.cluster_cidr} and service_cidr {self.service_cidr}"
            raise SettingsError(f"{both} are not of the same IP families, in the same order")
        self._check_addresses()

    def _check_addresses(self) -> None:
        """Node address and pod network are one of each family, or left out."""
        if self.node_ip:
            found = tuple(_address("node_ip", each) for each in _parts(self.node_ip))
            if found not in (self.versions, self.versions[:1]):
                raise SettingsError(f"node_ip: {self.node_ip} is not an address of each family of service_cidr")
        missing = set(self.versions) - {each.version for each in self.machine_networks}
        if missing:
            raise SettingsError(f"machine_cidr: {self.machine_cidr} has no network of IPv{missing.pop()}")
        room = len(self._pod_networks())
        if room < self.nodes:
            raise SettingsError(f"cluster_cidr: {self.cluster_cidr} has room for {room} nodes, not for {self.nodes}")

    def _check_shutdown(self) -> None:
        critical, grace = self.shutdown_grace_period_critical_pods, self.shutdown_grace_period
        if not 0 <= critical <= grace <= 86_400:
            least = f"shutdown_grace_period_critical_pods ({critical})"
            raise SettingsError(f"shutdown_grace_period: {grace} is not between {least} and 86400")

    def _check_node_of_another(self) -> None:
        clusters = {each.version: each for each in _networks("cluster_cidr", self.cluster_cidr)}
        for pods in _networks("pod_cidr", self.pod_cidr):
            cluster: Any = clusters.get(pods.version)
            if cluster is None or not pods.subnet_of(cluster):
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
    def versions(self) -> tuple[int, ...]:
        """The IP versions of the cluster, the default one first."""
        return tuple(each.version for each in _networks("service_cidr", self.service_cidr))

    @property
    def cluster_cidrs(self) -> tuple[str, ...]:
        """Networks of all pods, one of each family."""
        return _parts(self.cluster_cidr)

    @property
    def service_cidrs(self) -> tuple[str, ...]:
        """Networks of ClusterIPs, one of each family."""
        return _parts(self.service_cidr)

    @property
    def machine_networks(self) -> tuple[Network, ...]:
        """Machine-internal networks, one of each family; one that was not given is a private one."""
        return _completed(_networks("machine_cidr", self.machine_cidr), self.versions, _MACHINE_IPV6)

    @property
    def balancer_cidrs(self) -> tuple[str, ...]:
        """Pools of load-balancer addresses; one that was not given is a private one, unless there is to be none."""
        given = _networks("load_balancer_cidr", self.load_balancer_cidr)
        return tuple(map(str, _completed(given, self.versions, _BALANCER_IPV6))) if given else ()

    @property
    def machine_ips(self) -> tuple[str, ...]:
        """The API server's machine-internal addresses, the first of which pods reach by the `kubernetes` Service."""
        return tuple(str(each[1]) for each in self.machine_networks)

    @property
    def machine_ip(self) -> str:
        """The first of those."""
        return self.machine_ips[0]

    @property
    def dns_ip(self) -> str:
        """The cluster DNS address."""
        return str(_networks("service_cidr", self.service_cidr)[0][10])

    @property
    def api_service_ip(self) -> str:
        """ClusterIP of the `kubernetes` Service."""
        return str(_networks("service_cidr", self.service_cidr)[0][1])

    @property
    def client_host(self) -> str:
        """Where a client on this machine finds the API server."""
        return "127.0.0.1" if self.listen in ("", "0.0.0.0", "::") else self.listen

    @property
    def server_url(self) -> str:
        """The API server as processes of this machine reach it."""
        return self.server or api_url(self.client_host, self.port)

    def node_list(self, hostname: str, primary_ips: Mapping[int, str]) -> list[NodeSettings]:
        """The nodes of this machine, given its host name and its addresses by IP version, as far as it has any."""
        base = self.node_name or hostname
        pods = self._pod_networks()
        if self.nodes == 1:
            given: dict[int, str] = {ip_address(each).version: each for each in _parts(self.node_ip)}
            own: dict[int, str] = dict(zip(self.versions, self.machine_ips, strict=True))
            own |= {**primary_ips, **given}
            ips = tuple(own[version] for version in self.versions)
            return [NodeSettings(base, ips, _parts(self.pod_cidr) or pods[0], None)]
        return [
            NodeSettings(
                f"{base}-{number}",
                tuple(str(machine[10 + number]) for machine in self.machine_networks),
                pods[number - 1],
                f"sparsam-{base}-{number}",
            )
            for number in range(1, self.nodes + 1)
        ]

    def _pod_networks(self) -> list[tuple[str, ...]]:
        """One network of each family for every node."""
        parts = (node_networks(each) for each in self.cluster_cidrs)
        return list(islice(zip(*(map(str, each) for each in parts), strict=False), self.nodes))

    def write(self, path: Path) -> None:
        """Keep the settings for the processes that `up` starts."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")


_PATHS = frozenset({"data_dir", "run_dir", "cri_socket", "static_pods", "hollow"})
_NARROWEST = {
    "cluster_cidr": {4: 22, 6: 64},
    "service_cidr": {4: 24, 6: 120},
    "machine_cidr": {4: 24, 6: 120},
    "load_balancer_cidr": {4: 32, 6: 128},
}
"""How long a network's prefix may be, by IP version."""
_NODE_PREFIX = {4: 24, 6: 64}
"""Upstream's --node-cidr-mask-size-ipv4 and -ipv6."""
_MACHINE_IPV6, _BALANCER_IPV6 = IPv6Network("fd00:10:245::/64"), IPv6Network("fd00:10:245:1::/112")
"""What goes with the defaults of IPv4 when the cluster has both families."""


def api_url(host: str, port: int) -> str:
    """The URL of an API server at an address."""
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def node_networks(cluster_cidr: str) -> Iterator[Network]:
    """The networks that nodes get of a network of all pods, in order."""
    network = ip_network(cluster_cidr)
    return network.subnets(new_prefix=_NODE_PREFIX[network.version])


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


def _parts(text: str) -> tuple[str, ...]:
    """What stands between commas."""
    return tuple(part for each in text.split(",") if (part := each.strip()))


def _networks(name: str, text: str) -> tuple[Network, ...]:
    """One network, or one of each family; raises SettingsError."""
    try:
        found = tuple(map(ip_network, _parts(text)))
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from None
    if len({each.version for each in found}) != len(found):
        raise SettingsError(f"{name}: {text} has more than one network of a family")
    return found


def _completed(given: Sequence[Network], versions: Iterable[int], default_ipv6: IPv6Network) -> tuple[Network, ...]:
    """The networks in the order of the cluster's families, with a default for IPv6."""
    by_version = {6: default_ipv6} | {each.version: each for each in given}
    return tuple(by_version[version] for version in versions if version in by_version)


def _address(name: str, text: str) -> int:
    """The IP version of an address, 0 for none; raises SettingsError."""
    try:
        return ip_address(text).version if text else 0
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from None
