"""Keeps NetworkPolicies in force on one node: watches policies, pods and namespaces, replaces a table for each family.

Rules outlive the process. What matters of a pod is compared at each of its many changes, so that most cost nothing;
the others have the policies compiled, and the tables changed where it came out different.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

from sparsam.client.api import ApiClient
from sparsam.client.informer import Informer
from sparsam.objects.kinds import NAMESPACES, NETWORKPOLICIES, PODS
from sparsam.proxy.config import ProxyConfig
from sparsam.proxy.families import IPV4, IPV6, Family
from sparsam.proxy.nftables import Nftables, NftablesError, has_table
from sparsam.proxy.policies import Cluster, PodFacts, compile_policies, facts_of
from sparsam.proxy.policytable import CLOSED, EMPTY, PolicyTable, Site, build_table, render_change, render_whole

log = logging.getLogger(__name__)

Obj = dict[str, Any]

BRIDGE_FILTERS = {IPV4: "bridge-nf-call-iptables", IPV6: "bridge-nf-call-ip6tables"}
BRIDGE_SETTINGS = Path("/proc/sys/net/bridge")
IPV6_SETTINGS = Path("/proc/sys/net/ipv6")
_RETRY_SECONDS = 1.0


def policy_table(table: str) -> str:
    """The table for policies beside the one for Services."""
    return f"{table}-policy"


class Ward:
    """One address family: its pods, and what the kernel has of its table."""

    def __init__(self, config: ProxyConfig, family: Family) -> None:
        self.site = Site(family, policy_table(config.table), config.pod_link)
        dns = family.of((config.dns_ip,))
        self.cluster = Cluster([_dns(dns)] if dns else [], family=family)
        self.written: PolicyTable | None = None
        """None when it is not known what the kernel has."""

    def wanted(self, policies: list[Obj]) -> PolicyTable:
        """The table for these policies."""
        return build_table(compile_policies(policies, self.cluster), self.site.family) if policies else EMPTY


class Policing:
    """The policies of one node."""

    def __init__(self, config: ProxyConfig, client: ApiClient, nftables: Nftables) -> None:
        self._config, self._nftables = config, nftables
        self._policies = Informer(client, NETWORKPOLICIES)
        self._pods = Informer(client, PODS, transform=_essence)
        self._namespaces = Informer(client, NAMESPACES, transform=_essence)
        self._changed = asyncio.Event()
        self._wards = [Ward(config, family) for family in config.families]
        # Links have addresses of IPv6 in every cluster, as far as the kernel has any.
        self._strays = [] if IPV6 in config.families or not IPV6_SETTINGS.exists() else [Ward(config, IPV6)]
        self._warned = False
        self._policies.add_handler(lambda *_: self._changed.set())
        self._pods.add_handler(self._pod_changed)
        self._namespaces.add_handler(self._namespace_changed)

    async def run(self) -> None:
        """Follow the changes until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in (self._policies, self._pods, self._namespaces):
                group.create_task(informer.run(), name="policies")
            for informer in (self._policies, self._pods, self._namespaces):
                await informer.synced.wait()
            while True:
                self._changed.clear()
                done = await self._bring_up_to_date()
                try:
                    async with asyncio.timeout(self._config.check_seconds if done else _RETRY_SECONDS):
                        await self._changed.wait()
                except TimeoutError:
                    await self._look_for_tables()
                await asyncio.sleep(self._config.batch_seconds)

    def _pod_changed(self, _kind: str, old: Obj | None, new: Obj | None) -> None:
        for ward in self._wards:
            family = ward.site.family
            before, after = (facts_of(pod, self._config.node_name, family) if pod else None for pod in (old, new))
            if ward.cluster.replace_pod(before, after):
                self._changed.set()

    def _namespace_changed(self, _kind: str, old: Obj | None, new: Obj | None) -> None:
        name = (new or old or {})["metadata"]["name"]
        labels = (new["metadata"].get("labels") or {}) if new else None
        for ward in self._wards:
            if ward.cluster.label_namespace(name, labels):
                self._changed.set()

    async def _bring_up_to_date(self) -> bool:
        policies = self._policies.items()
        tables = [(ward, ward.wanted(policies)) for ward in self._wards]
        isolated = any(table for _, table in tables)
        tables += [(ward, CLOSED if isolated else EMPTY) for ward in self._strays]
        return all([await self._bring(ward, table) for ward, table in tables])

    async def _bring(self, ward: Ward, wanted: PolicyTable) -> bool:
        if wanted == ward.written:
            return True
        if wanted and not self._warned and not _bridged_traffic_is_filtered(ward.site.family):
            self._warned = True
            log.error("network policies do not hold between pods of this node: the kernel lacks br_netfilter")
        present, ward.written = ward.written, None
        text = render_whole(ward.site, wanted) if present is None else render_change(ward.site, present, wanted)
        # Whatever happens to it, only what is known to be written counts.
        try:
            await asyncio.to_thread(self._nftables.run, text)
        except NftablesError as error:
            log.error("network policies not in place table=%s error=%s", ward.site.name, error)
            return False
        ward.written = wanted
        if present is None or bool(present) != bool(wanted):
            log.info("network policies in place table=%s chains=%d", ward.site.name, len(wanted.chains))
        return True

    async def _look_for_tables(self) -> None:
        """Another program may have flushed one."""
        for ward in (*self._wards, *self._strays):
            try:
                present = await asyncio.to_thread(has_table, self._nftables, ward.site.name)
            except NftablesError:
                return
            if not present and ward.written:
                ward.written = None


def _dns(address: str) -> PodFacts:
    """The cluster's DNS is no pod here; policies that let pods ask upstream's DNS pods shall let them ask it."""
    ports = {("dns", "UDP"): 53, ("dns-tcp", "TCP"): 53}
    return PodFacts("kube-system", "kube-dns", address, {"k8s-app": "kube-dns"}, ports, False)


def _bridged_traffic_is_filtered(family: Family) -> bool:
    try:
        return (BRIDGE_SETTINGS / BRIDGE_FILTERS[family]).read_text().strip() == "1"
    except OSError:
        return False


def _essence(obj: Obj) -> Obj:
    """The part that policies depend on; the rest need not stay in memory."""
    metadata = {name: obj["metadata"].get(name) for name in ("name", "namespace", "resourceVersion", "labels", "uid")}
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    containers = {
        field: [
            {name: each[name] for name in ("name", "ports", "restartPolicy") if name in each}
            for each in spec.get(field) or ()
        ]
        for field in ("initContainers", "containers")
    }
    kept = {name: spec.get(name) for name in ("nodeName", "hostNetwork")}
    return {
        "metadata": metadata,
        "spec": {**kept, **containers},
        "status": {name: status.get(name) for name in ("podIPs", "phase")},
    }
