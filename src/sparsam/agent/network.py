"""The pod network of one node: a CNI bridge with host-local addresses, and the kernel settings it needs.

Masquerading of what leaves the pod network is the proxy's business (`ipMasq` is off): it keeps all rules in one
nftables table, while the bridge plugin would need iptables.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
from collections.abc import Iterable, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import msgspec
from pyroute2.iproute.linux import IPRoute

log = logging.getLogger(__name__)

PLUGIN_DIR = Path("/usr/lib/cni")
NETWORK_NAME = "sparsam"
_CONFIG_NAME = "10-sparsam.conflist"
_RESULTS_DIR = Path("/var/lib/cni/results")
"""Where the engine's CNI library notes what it was given."""
_FORWARDING6 = "net/ipv6/conf/all/forwarding"
_SYSCTLS = {
    4: {
        "net/ipv4/ip_forward": "1",
        # Traffic between pods of one bridge must pass the Service rules too, and that of IPv6, which links have of
        # themselves, the rules of network policies.
        "net/bridge/bridge-nf-call-iptables": "1",
        "net/bridge/bridge-nf-call-ip6tables": "1",
    },
    6: {_FORWARDING6: "1", "net/bridge/bridge-nf-call-ip6tables": "1"},
}
_LISTEN_ALL_THE_SAME = "2"
"""Of `accept_ra`: learn routes from routers although this is one (Documentation/networking/ip-sysctl.rst)."""
_IFA_F_NODAD = 0x02
"""No detection of duplicates (rtnetlink(7))."""
_EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}


def network_config(pod_cidrs: Iterable[str], bridge: str, state_dir: Path) -> bytes:
    """The CNI configuration list; pods get an address of each of `pod_cidrs`, the bridge the first ones."""
    networks = [ip_network(each) for each in pod_cidrs]
    plugins = [
        {
            "type": "bridge",
            "bridge": bridge,
            "isGateway": True,
            "ipMasq": False,
            "hairpinMode": True,
            "ipam": {
                "type": "host-local",
                "dataDir": str(state_dir),
                "ranges": [[{"subnet": str(each), "gateway": str(next(each.hosts()))}] for each in networks],
                "routes": [{"dst": _EVERYWHERE[each.version]} for each in networks],
            },
        },
        {"type": "portmap", "capabilities": {"portMappings": True}},
    ]
    return msgspec.json.format(
        msgspec.json.encode({"cniVersion": "1.0.0", "name": NETWORK_NAME, "plugins": plugins}), indent=2
    )


async def detach(conf_dir: Path, sandbox_id: str, plugin_dir: Path = PLUGIN_DIR) -> None:
    """Have every plugin take back what it gave to a sandbox that the engine has forgotten (CNI's DEL)."""
    config = msgspec.json.decode((conf_dir / _CONFIG_NAME).read_bytes())
    environment = {
        "CNI_COMMAND": "DEL",
        "CNI_CONTAINERID": sandbox_id,
        "CNI_NETNS": "",
        "CNI_IFNAME": "eth0",
        "CNI_PATH": str(plugin_dir),
        "PATH": os.environ.get("PATH", ""),
    }
    for plugin in reversed(config["plugins"]):
        request = {**plugin, "cniVersion": config["cniVersion"], "name": config["name"]}
        process = await asyncio.create_subprocess_exec(
            str(plugin_dir / plugin["type"]), env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate(msgspec.json.encode(request))
        if process.returncode != 0:
            log.warning("not detached sandbox=%s plugin=%s error=%s", sandbox_id, plugin["type"], output.decode())
    (_RESULTS_DIR / f"{config['name']}-{sandbox_id}-eth0").unlink(missing_ok=True)


def attached(state_dir: Path) -> set[str]:
    """Sandboxes that were given an address and did not give it back."""
    found = set()
    for path in (state_dir / NETWORK_NAME).glob("[0-9a-f]*[.:]*"):
        with contextlib.suppress(OSError):
            found.update(path.read_text().split()[:1])
    return found


def write_network_config(conf_dir: Path, pod_cidrs: Iterable[str], bridge: str, state_dir: Path) -> None:
    """Put the configuration where the engine looks; leaves an equal file alone, since the engine reloads on change."""
    conf_dir.mkdir(parents=True, exist_ok=True)
    path = conf_dir / _CONFIG_NAME
    content = network_config(pod_cidrs, bridge, state_dir)
    if not path.exists() or path.read_bytes() != content:
        path.write_bytes(content)


def ensure_gateways(pod_cidrs: Iterable[str], bridge: str) -> None:
    """Give the bridge its addresses of IPv6 before the plugin does.

    The plugin's would be of no use to the first pods, as long as the kernel looks for duplicates of them: for a second.
    """
    constructor: Any = IPRoute
    for network in map(ip_network, pod_cidrs):
        if network.version != 6:
            continue
        with constructor() as netlink:
            if not netlink.link_lookup(ifname=bridge):
                netlink.link("add", ifname=bridge, kind="bridge")
            (index,) = netlink.link_lookup(ifname=bridge)
            gateway = {"address": str(next(network.hosts())), "prefixlen": network.prefixlen}
            netlink.addr("replace", index=index, flags=_IFA_F_NODAD, **gateway)
            netlink.link("set", index=index, state="up")


def apply_sysctls(pod_cidrs: Iterable[str], root: Path = Path("/proc/sys")) -> dict[str, str]:
    """Let this network namespace route between pods; returns the previous value of each setting that changed."""
    changed = {}
    for name, value in _wanted_sysctls(pod_cidrs, root).items():
        path = root / name
        if not path.exists():
            continue  # br_netfilter is not there: bridge traffic is then never filtered
        previous = path.read_text().strip()
        if previous != value:
            path.write_text(value)
            changed[name] = previous
    return changed


def restore_sysctls(previous: Mapping[str, str], root: Path = Path("/proc/sys")) -> None:
    """Put settings back that nobody else changed since."""
    ours = {**_SYSCTLS[4], **_SYSCTLS[6]}
    for name, value in previous.items():
        path = root / name
        if path.exists() and path.read_text().strip() == ours.get(name, _LISTEN_ALL_THE_SAME):
            path.write_text(value)


def _wanted_sysctls(pod_cidrs: Iterable[str], root: Path) -> dict[str, str]:
    versions = [ip_network(each).version for each in pod_cidrs]
    wanted: dict[str, str] = {}
    if 6 in versions and (root / _FORWARDING6).read_text().strip() != "1":
        # A router forgets the routes that other routers told it of, unless it is asked to listen to them all the same.
        # Links to come and our own are left out: on those, pods could pose as routers.
        for path in sorted(root.glob("net/ipv6/conf/*/accept_ra")):
            if path.parent.name not in ("all", "default", "lo") and path.read_text().strip() == "1":
                wanted[str(path.relative_to(root))] = _LISTEN_ALL_THE_SAME
    for version in versions:
        wanted.update(_SYSCTLS[version])
    return wanted
