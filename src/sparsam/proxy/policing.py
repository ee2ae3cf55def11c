"""Keeps NetworkPolicies in force on one node: watches policies, pods and namespaces, replaces a table of its own.

Rules outlive the process. The table is compiled as a whole and written only when it came out different.
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
from sparsam.proxy.nftables import Nftables, NftablesError, has_table
from sparsam.proxy.policies import Cluster, PodFacts, facts_of, isolations, render

log = logging.getLogger(__name__)

Obj = dict[str, Any]

BRIDGE_FILTER = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
_RETRY_SECONDS = 1.0


def policy_table(table: str) -> str:
    """The table for policies beside the one for Services."""
    return f"{table}-policy"


class Policing:
    """The policies of one node."""

    def __init__(self, config: ProxyConfig, client: ApiClient, nftables: Nftables) -> None:
        self._config, self._nftables = config, nftables
        self._policies = Informer(client, NETWORKPOLICIES)
        self._pods = Informer(client, PODS, transform=_essence)
        self._namespaces = Informer(client, NAMESPACES, transform=_essence)
        self._changed = asyncio.Event()
        self._written = ""
        self._warned = False
        for informer in (self._policies, self._pods, self._namespaces):
            informer.add_handler(lambda *_: self._changed.set())

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
                    await self._look_for_table()
                await asyncio.sleep(self._config.batch_seconds)

    async def _bring_up_to_date(self) -> bool:
        table = policy_table(self._config.table)
        found = isolations(self._policies.items(), self._cluster()) if self._policies.items() else []
        text = render(table, found)
        if text == self._written:
            return True
        if found and not self._warned and not _bridged_traffic_is_filtered():
            self._warned = True
            log.error("network policies do not hold between pods of this node: the kernel lacks br_netfilter")
        try:
            await asyncio.to_thread(self._nftables.run, text)
        except NftablesError as error:
            log.error("network policies not in place error=%s", error)
            return False
        self._written = text
        log.info("network policies in place isolated=%d", len(found))
        return True

    def _cluster(self) -> Cluster:
        pods = [facts for pod in self._pods.items() if (facts := facts_of(pod, self._config.node_name)) is not None]
        labels = {each["metadata"]["name"]: each["metadata"].get("labels") or {} for each in self._namespaces.items()}
        return Cluster([*pods, self._dns()], labels)

    def _dns(self) -> PodFacts:
        """The cluster's DNS is no pod here; policies that let pods ask upstream's DNS pods shall let them ask it."""
        ports = {("dns", "UDP"): 53, ("dns-tcp", "TCP"): 53}
        return PodFacts("kube-system", "kube-dns", self._config.dns_ip, {"k8s-app": "kube-dns"}, ports, False)

    async def _look_for_table(self) -> None:
        """Another program may have flushed it."""
        try:
            present = await asyncio.to_thread(has_table, self._nftables, policy_table(self._config.table))
        except NftablesError:
            return
        if not present:
            self._written = ""


def _bridged_traffic_is_filtered() -> bool:
    try:
        return BRIDGE_FILTER.read_text().strip() == "1"
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
        "status": {name: status.get(name) for name in ("podIP", "phase")},
    }
