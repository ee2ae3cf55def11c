"""What the cluster's DNS knows: Services and their endpoints by name and by address. Pure.

Follows the DNS-based service discovery of Kubernetes, version 1.1.0, and answers as CoreDNS does where that leaves a
choice. A Service is replaced as a whole; a question costs a few dictionary look-ups.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from sparsam.proxy.dns import Answer, Authority, Code, Location, Name, Record, Type, address_record, parse_name
from sparsam.proxy.endpoints import Endpoint, is_ready
from sparsam.proxy.services import cluster_ips

Obj = dict[str, Any]
VERSION = "1.1.0"
_REVERSE: Name = ("in-addr", "arpa")
_REVERSE6: Name = ("ip6", "arpa")
_NIBBLES = 32


@dataclass(frozen=True, slots=True)
class Port:
    """A named port of a Service, or of one of its endpoints."""

    name: str
    protocol: str
    number: int


@dataclass(frozen=True, slots=True)
class ServiceRecords:
    """What the DNS needs to know of one Service."""

    cluster_ips: tuple[str, ...] = ()
    external_name: Name | None = None
    ports: tuple[Port, ...] = ()
    endpoints: tuple[tuple[Endpoint, tuple[Port, ...]], ...] = ()
    """Ready endpoints, each once, with the ports it serves."""

    @property
    def is_headless(self) -> bool:
        """Whether the name stands for the endpoints themselves."""
        return not self.cluster_ips and self.external_name is None


def compile_records(service: Obj, slices: Iterable[Obj]) -> ServiceRecords:
    """The DNS side of one Service."""
    spec = service.get("spec") or {}
    if spec.get("type") == "ExternalName":
        return ServiceRecords(external_name=parse_name(spec.get("externalName") or ""))
    ports = tuple(
        Port(each.get("name") or "", each.get("protocol", "TCP").lower(), each["port"])
        for each in spec.get("ports") or ()
    )
    return ServiceRecords(cluster_ips(service), None, ports, _ready_endpoints(slices))


class Zone:
    """The cluster's domain and the reverse names of its networks."""

    def __init__(self, domain: str, dns_ip: str, networks: Iterable[str] = ()) -> None:
        self.domain = parse_name(domain)
        self._dns_ip = dns_ip
        self._networks = tuple(map(ip_network, networks))
        self._services: dict[tuple[str, str], ServiceRecords] = {}
        self._namespaces: dict[str, int] = {}
        self._names: dict[str, dict[tuple[str, str], Name]] = {}
        self._serial = 1
        self.complete = False
        """Whether every Service is known. Until then a missing name is a failure of ours, not a wrong name."""

    def replace(self, namespace: str, name: str, records: ServiceRecords | None) -> None:
        """Take over a Service's records; None forgets it."""
        key = (namespace, name)
        old = self._services.pop(key, None)
        if old:
            self._namespaces[namespace] -= 1
            if not self._namespaces[namespace]:
                del self._namespaces[namespace]
            for ip in {ip for ip, _ in self._reverse_names(key, old)}:
                del self._names[ip][key]
                if not self._names[ip]:
                    del self._names[ip]
        if records:
            self._services[key] = records
            self._namespaces[namespace] = self._namespaces.get(namespace, 0) + 1
            for ip, full_name in self._reverse_names(key, records):
                self._names.setdefault(ip, {}).setdefault(key, full_name)
        self._serial = (self._serial + 1) & 0xFFFFFFFF

    def lookup(self, name: Name, kind: int) -> Answer | None:
        """What the cluster says to a question; None leaves it to other resolvers."""
        if name[-2:] in (_REVERSE, _REVERSE6):
            return self._lookup_address(name, kind)
        depth = len(self.domain)
        if name[-depth:] != self.domain:
            return None
        found = self._find(name, name[:-depth], kind)
        if found is None:
            return self._no_such_name()
        records, additional = found
        chosen = tuple(each for each in records if kind in (each.type, Type.ANY) or each.type == Type.CNAME)
        if not chosen:
            return Answer(authority=(self._authority(),))
        return Answer(answers=chosen, additional=additional if kind in (Type.SRV, Type.NS, Type.ANY) else ())

    def _find(self, name: Name, path: Name, kind: int) -> tuple[tuple[Record, ...], tuple[Record, ...]] | None:
        """The records of a name and what goes with them; None if the name does not exist."""
        match path:
            case ():
                server = address_record(("ns", "dns", *self.domain), self._dns_ip)
                return (self._authority(), Record(name, Type.NS, server.name)), (server,)
            case ("dns-version",):
                return (Record(name, Type.TXT, VERSION),), ()
            case ("ns", "dns"):
                return (address_record(name, self._dns_ip),), ()
            case ("dns",) | ("svc",) | ("pod",):
                return (), ()
            case (namespace, "svc") | (namespace, "pod"):
                return ((), ()) if namespace in self._namespaces else None
            case (dashed, _, "pod"):
                ip = _dashed_address(dashed)
                return ((address_record(name, ip),), ()) if ip else None
            case (*rest, service, namespace, "svc"):
                records = self._services.get((namespace, service))
                return _service_records(name, tuple(rest), records, kind) if records else None
            case _:
                return None

    def _lookup_address(self, name: Name, kind: int) -> Answer | None:
        ip = _reversed_address(name)
        known = self._names.get(ip or "")
        if known:
            target = known[min(known)]
            if kind in (Type.PTR, Type.ANY):
                return Answer(answers=(Record(name, Type.PTR, target),))
            return Answer(authority=(self._authority(),))
        if ip and any(ip_address(ip) in network for network in self._networks):
            return self._no_such_name()
        return None

    def _reverse_names(self, key: tuple[str, str], records: ServiceRecords) -> Iterable[tuple[str, Name]]:
        full_name = (key[1], key[0], "svc", *self.domain)
        for ip in records.cluster_ips:
            yield ip, full_name
        if records.is_headless:
            for endpoint, _ in records.endpoints:
                yield endpoint.ip, (_label(endpoint), *full_name)

    def _no_such_name(self) -> Answer:
        if not self.complete:
            return Answer(Code.SERVER_FAILURE)
        return Answer(Code.NAME_ERROR, authority=(self._authority(),))

    def _authority(self) -> Record:
        return Record(
            self.domain,
            Type.SOA,
            Authority(("ns", "dns", *self.domain), ("hostmaster", *self.domain), self._serial),
        )


def _service_records(
    name: Name, rest: Name, service: ServiceRecords, kind: int
) -> tuple[tuple[Record, ...], tuple[Record, ...]] | None:
    match rest:
        case ():
            return _records_of_name(name, service, kind)
        case (port, protocol) if port.startswith("_") and protocol in ("_tcp", "_udp", "_sctp"):
            found = _locations(name, name[2:], service, port[1:], protocol[1:])
            return found if found[0] else None
        case ("_tcp" | "_udp" | "_sctp" as protocol,):
            return ((), ()) if any(port.protocol == protocol[1:] and port.name for port in service.ports) else None
        case (label,):
            ips = dict.fromkeys(each.ip for each, _ in service.endpoints if _label(each) == label)
            return (tuple(address_record(name, ip) for ip in ips), ()) if ips else None
        case _:
            return None


def _records_of_name(
    name: Name, service: ServiceRecords, kind: int
) -> tuple[tuple[Record, ...], tuple[Record, ...]] | None:
    if service.external_name is not None:
        return (Record(name, Type.CNAME, service.external_name),), ()
    # Built on demand only: a headless Service may have a thousand endpoints.
    locations, additional = _locations(name, name, service) if kind in (Type.SRV, Type.ANY) else ((), ())
    if service.cluster_ips:
        return tuple(address_record(name, ip) for ip in service.cluster_ips) + locations, additional
    if not service.endpoints:
        return None
    ips = dict.fromkeys(each.ip for each, _ in service.endpoints)
    return tuple(address_record(name, ip) for ip in ips) + locations, additional


def _locations(
    owner: Name, service_name: Name, service: ServiceRecords, port: str = "", protocol: str = ""
) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """SRV records of one port, or of all, with the addresses of their targets."""
    places: dict[tuple[int, Name], None] = {}
    addresses: dict[Record, None] = {}

    def add(ports: Iterable[Port], target: Name, ips: Iterable[str]) -> None:
        chosen = [each.number for each in ports if not port or (each.name, each.protocol) == (port, protocol)]
        if chosen:
            places.update(dict.fromkeys((number, target) for number in chosen))
            addresses.update(dict.fromkeys(address_record(target, ip) for ip in ips))

    if service.cluster_ips:
        add(service.ports, service_name, service.cluster_ips)
    else:
        for endpoint, ports in service.endpoints:
            add(ports, (_label(endpoint), *service_name), (endpoint.ip,))
    weight = max(1, 100 // (len(places) or 1))
    records = tuple(Record(owner, Type.SRV, Location(number, target, weight)) for number, target in places)
    return records, tuple(addresses)


def _ready_endpoints(slices: Iterable[Obj]) -> tuple[tuple[Endpoint, tuple[Port, ...]], ...]:
    found: dict[Endpoint, tuple[Port, ...]] = {}
    for each in slices:
        if each.get("addressType") not in ("IPv4", "IPv6"):
            continue
        ports = tuple(
            Port(port.get("name") or "", port.get("protocol", "TCP").lower(), port["port"])
            for port in each.get("ports") or ()
            if port.get("port")
        )
        for endpoint in each.get("endpoints") or ():
            if is_ready(endpoint.get("conditions") or {}):
                key = Endpoint(endpoint["addresses"][0], 0, hostname=endpoint.get("hostname") or "")
                found[key] = tuple(dict.fromkeys(found.get(key, ()) + ports))
    return tuple(sorted(found.items(), key=lambda item: item[0]))


def _label(endpoint: Endpoint) -> str:
    return endpoint.hostname.lower() or endpoint.ip.replace(".", "-").replace(":", "-")


def _dashed_address(label: str) -> str | None:
    """The address that a pod's name spells: `10-0-0-1`, or `fd00--1`."""
    if label.count("-") == 3 and (ip := _parse(IPv4Address, label.replace("-", "."))):
        return ip
    return _parse(IPv6Address, label.replace("-", ":"))


def _reversed_address(name: Name) -> str | None:
    """The address that a name below in-addr.arpa or ip6.arpa stands for."""
    labels = name[-3::-1]
    if name[-2:] == _REVERSE:
        return _parse(IPv4Address, ".".join(labels))
    if len(labels) != _NIBBLES or any(len(each) != 1 for each in labels):
        return None
    text = "".join(labels)
    return _parse(IPv6Address, ":".join(text[at : at + 4] for at in range(0, _NIBBLES, 4)))


def _parse(kind: type[IPv4Address | IPv6Address], text: str) -> str | None:
    try:
        return str(kind(text))
    except ValueError:
        return None
