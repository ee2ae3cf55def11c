"""Keeps NetworkPolicies in force on one node: watches policies, pods and namespaces, replaces a table of its own.

Rules outlive the process. What matters of a pod is compared at each of its many changes, so that most cost nothing;
the others have the policies compiled, and the table changed where it came out different.
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
from sparsam.proxy.policies import Cluster, PodFacts, compile_policies, facts_of
from sparsam.proxy.policytable import EMPTY, PolicyTable, build_table, render_change, render_whole

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
        self._cluster = Cluster([_dns(config)])
        self._written: PolicyTable | None = None
        """None when it is not known what the kernel has."""
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
                    await self._look_for_table()
                await asyncio.sleep(self._config.batch_seconds)

    def _pod_changed(self, _kind: str, old: Obj | None, new: Obj | None) -> None:
        before, after = (facts_of(pod, self._config.node_name) if pod else None for pod in (old, new))
        if self._cluster.replace_pod(before, after):
            self._changed.set()

    def _namespace_changed(self, _kind: str, old: Obj | None, new: Obj | None) -> None:
        name = (new or old or {})["metadata"]["name"]
        if self._cluster.label_namespace(name, (new["metadata"].get("labels") or {}) if new else None):
            self._changed.set()

    async def _bring_up_to_date(self) -> bool:
        policies = self._policies.items()
        wanted = build_table(compile_policies(policies, self._cluster)) if policies else EMPTY
        if wanted == self._written:
            return True
        if wanted and not self._warned and not _bridged_traffic_is_filtered():
            self._warned = True
            log.error("network policies do not hold between pods of this node: the kernel lacks br_netfilter")
        return await self._write(wanted)

    async def _write(self, wanted: PolicyTable) -> bool:
        table, present = policy_table(self._config.table), self._written
        text = render_whole(table, wanted) if present is None else render_change(table, present, wanted)
        # Whatever happens to it, only what is known to be written counts.
        self._written = None
        try:
            await asyncio.to_thread(self._nftables.run, text)
        except NftablesError as error:
            log.error("network policies not in place error=%s", error)
            return False
        self._written = wanted
        if present is None or bool(present) != bool(wanted):
            log.info("network policies in place chains=%d", len(wanted.chains))
        return True

    async def _look_for_table(self) -> None:
        """Another program may have flushed it."""
        try:
            present = await asyncio.to_thread(has_table, self._nftables, policy_table(self._config.table))
        except NftablesError:
            return
        if not present and self._written:
            self._written = None


def _dns(config: ProxyConfig) -> PodFacts:
    """The cluster's DNS is no pod here; policies that let pods ask upstream's DNS pods shall let them ask it."""
    ports = {("dns", "UDP"): 53, ("dns-tcp", "TCP"): 53}
    return PodFacts("kube-system", "kube-dns", config.dns_ip, {"k8s-app": "kube-dns"}, ports, False)


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
