"""Name resolution of a pod: `resolv.conf` and the managed hosts file, as upstream writes them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sparsam.agent.podspec import Obj, uses_host_network
from sparsam.agent.references import ConfigFault

_MAX_NAMESERVERS = 3
_MAX_SEARCHES = 32
_MAX_LABEL, _MAX_KERNEL_HOSTNAME = 63, 64
_LOCAL_HOSTS = (
    ("127.0.0.1", "localhost"),
    ("::1", "localhost ip6-localhost ip6-loopback"),
    ("fe00::0", "ip6-localnet"),
    ("fe00::0", "ip6-mcastprefix"),
    ("fe00::1", "ip6-allnodes"),
    ("fe00::2", "ip6-allrouters"),
)


@dataclass(frozen=True, slots=True)
class Resolver:
    """Contents of a `resolv.conf`."""

    servers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def parse_resolv_conf(text: str) -> Resolver:
    """Read a `resolv.conf`; the last search line counts."""
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        words = line.split("#", 1)[0].split(";", 1)[0].split()
        if len(words) < 2:
            continue
        if words[0] == "nameserver":
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            searches = [word.rstrip(".") for word in words[1:] if word != "."]
        elif words[0] == "options":
            options = words[1:]
    return Resolver(tuple(servers), tuple(searches), tuple(options))


def pod_resolver(pod: Obj, host: Resolver, cluster_dns: str, cluster_domain: str) -> Resolver:
    """What the pod's `dnsPolicy` and `dnsConfig` come to."""
    policy = pod["spec"].get("dnsPolicy") or "ClusterFirst"
    if policy == "ClusterFirst" and uses_host_network(pod):
        policy = "Default"
    if policy == "None":
        base = Resolver()
    elif policy == "Default":
        base = host
    else:
        namespace = pod["metadata"]["namespace"]
        own = (f"{namespace}.svc.{cluster_domain}", f"svc.{cluster_domain}", cluster_domain)
        base = Resolver((cluster_dns,), (*own, *host.searches), ("ndots:5",))
    return _with_config(base, pod["spec"].get("dnsConfig") or {})


def hostname(pod: Obj, node_name: str) -> str:
    """The host name inside the pod."""
    if uses_host_network(pod):
        return node_name
    override = pod["spec"].get("hostnameOverride")
    return str(override) if override else _short_name(pod)


def kernel_hostname(pod: Obj, node_name: str, cluster_domain: str) -> str:
    """The host name that the pod's kernel knows: in full where the pod wants that. Raises ConfigFault."""
    name, domain = hostname(pod, node_name), pod_domain(pod, cluster_domain)
    if not pod["spec"].get("setHostnameAsFQDN") or not domain or uses_host_network(pod):
        return name
    full = f"{name}.{domain}"
    if len(full) > _MAX_KERNEL_HOSTNAME:
        raise ConfigFault(
            f"failed to construct FQDN from pod hostname and cluster domain, FQDN {full} is too long "
            f"({_MAX_KERNEL_HOSTNAME} characters is the max, {len(full)} characters requested)"
        )
    return full


def _short_name(pod: Obj) -> str:
    return str(pod["spec"].get("hostname") or pod["metadata"]["name"])[:_MAX_LABEL].rstrip("-.")


def pod_domain(pod: Obj, cluster_domain: str) -> str:
    """The pod's domain below its subdomain's headless Service; empty without a subdomain."""
    subdomain = "" if pod["spec"].get("hostnameOverride") else pod["spec"].get("subdomain")
    return f"{subdomain}.{pod['metadata']['namespace']}.svc.{cluster_domain}" if subdomain else ""


def hosts_file(pod: Obj, ips: Iterable[str], name: str, domain: str, host_file: str) -> str:
    """`/etc/hosts` of a pod: of its own, or the node's with the pod's aliases."""
    if uses_host_network(pod):
        text = "# Kubernetes-managed hosts file (host network).\n" + host_file
    else:
        lines = ["# Kubernetes-managed hosts file.", *(f"{ip}\t{names}" for ip, names in _LOCAL_HOSTS)]
        names = f"{name}.{domain}\t{name}" if domain else name
        lines += [f"{ip}\t{names}" for ip in ips]
        text = "\n".join(lines) + "\n"
    aliases = pod["spec"].get("hostAliases") or []
    if aliases:
        text += "\n# Entries added by HostAliases.\n"
        text += "".join(f"{alias['ip']}\t{chr(9).join(alias.get('hostnames') or ())}\n" for alias in aliases)
    return text


def _with_config(base: Resolver, config: Obj) -> Resolver:
    servers = _unique((*base.servers, *(config.get("nameservers") or ())))
    searches = _unique((*base.searches, *(config.get("searches") or ())))
    options = {option.partition(":")[0]: option for option in base.options}
    for option in config.get("options") or ():
        name, value = option["name"], option.get("value")
        options[name] = f"{name}:{value}" if value else name
    return Resolver(servers[:_MAX_NAMESERVERS], searches[:_MAX_SEARCHES], tuple(options.values()))


def _unique(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))
