"""Gives Services of type LoadBalancer addresses of pools, one of each family, for clusters without a cloud that would.

An address belongs to one Service until that is deleted, changes its type or asks for another one. What is given out is
read from the Services themselves; the proxies serve the address. Events are those of upstream's service-controller.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from sparsam.controllers.runtime import Context, Controller, Key, Obj, key_of, own_key
from sparsam.objects.kinds import NODES, SERVICES

CLASS = "sparsam.dev/pool"
"""What `spec.loadBalancerClass` may say to mean this controller; without a class it is meant too."""


Pool = IPv4Network | IPv6Network


class NoAddress(Exception):
    """There is no address for a Service; the message says why."""


def is_ours(service: Obj) -> bool:
    """Whether a Service wants an address from the pool."""
    spec = service["spec"]
    wanted = spec.get("type") == "LoadBalancer" and "deletionTimestamp" not in service["metadata"]
    return wanted and spec.get("loadBalancerClass") in (None, CLASS)


def ingress_ips(service: Obj) -> list[str]:
    """The addresses that a Service's status shows."""
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return [each["ip"] for each in ingress if each.get("ip")]


def choose(service: Obj, pools: Mapping[str, Pool], taken: Collection[str]) -> list[str]:
    """The addresses for a Service, one of each of its families that has a pool; raises NoAddress.

    `taken` are addresses of others.
    """
    families: list[str] = service["spec"].get("ipFamilies") or ["IPv4"]
    usable = [pools[family] for family in families if family in pools]
    if not usable:
        raise NoAddress(f"there is no pool of {' or '.join(families)}")
    asked = service["spec"].get("loadBalancerIP") or ""
    if asked and not any(_is_in(asked, pool) for pool in usable):
        raise NoAddress(f"requested IP {asked} is not in the pool {', '.join(map(str, usable))}")
    return [_choose_of(service, pool, taken) for pool in usable]


def _choose_of(service: Obj, pool: Pool, taken: Collection[str]) -> str:
    """The address that a Service asks for, else the one it has, else the first free one."""
    asked = service["spec"].get("loadBalancerIP") or ""
    if _is_in(asked, pool):
        if asked in taken:
            raise NoAddress(f"requested IP {asked} is already in use")
        return asked
    had = next((ip for ip in ingress_ips(service) if _is_in(ip, pool) and ip not in taken), None)
    free = had or next((str(ip) for ip in pool.hosts() if str(ip) not in taken), None)
    if free is None:
        raise NoAddress(f"no free address in the pool {pool}")
    return free


def _is_in(text: str, pool: Pool) -> bool:
    try:
        return ip_address(text) in pool
    except ValueError:
        return False


class LoadBalancers:
    """Keyed by Service; one worker, so that no two Services are given the same address."""

    def __init__(self, context: Context, *, cidrs: Iterable[str]) -> None:
        self._client = context.client
        self._pools = {f"IPv{pool.version}": pool for pool in map(ip_network, cidrs)}
        self._services = context.informer(SERVICES)
        self._nodes = context.informer(NODES)
        self._holders: dict[str, Key] = {}
        self._waiting: set[Key] = set()
        self._learned = False
        self.controller = Controller("service-controller", context, self.sync, workers=1)
        self.controller.watch(self._services, own_key)
        self.controller.needs(self._nodes)

    async def sync(self, key: Key) -> None:
        """Give one Service its addresses, or take them back."""
        self._learn()
        service = self._services.get(*key)
        if service is None or not is_ours(service):
            self._release(key)
            if service is not None and service["spec"].get("type") != "LoadBalancer" and ingress_ips(service):
                await self._take_back(service)
            return
        try:
            ips = choose(service, self._pools, self._taken_from(key))
        except NoAddress as error:
            self._waiting.add(key)
            why = f"Error syncing load balancer: failed to ensure load balancer: {error}"
            self.controller.recorder.event(service, "Warning", "SyncLoadBalancerFailed", why)
            return
        self._waiting.discard(key)
        self._hold(ips, key)
        if ingress_ips(service) != ips:
            await self._give(service, ips)

    async def _give(self, service: Obj, ips: list[str]) -> None:
        event = self.controller.recorder.event
        event(service, "Normal", "EnsuringLoadBalancer", "Ensuring load balancer")
        await self._set(service, [{"ip": ip, "ipMode": "VIP"} for ip in ips])
        event(service, "Normal", "EnsuredLoadBalancer", "Ensured load balancer")

    async def _take_back(self, service: Obj) -> None:
        event = self.controller.recorder.event
        event(service, "Normal", "DeletingLoadBalancer", "Deleting load balancer")
        await self._set(service, None)
        event(service, "Normal", "DeletedLoadBalancer", "Deleted load balancer")

    async def _set(self, service: Obj, ingress: list[Obj] | None) -> None:
        namespace, name = key_of(service)
        patch = {"status": {"loadBalancer": {"ingress": ingress}}}
        await self._client.patch(SERVICES, name, patch, namespace=namespace, subresource="status")

    def _learn(self) -> None:
        """Who had which address before this process began: whoever came first keeps it."""
        if self._learned:
            return
        self._learned = True
        ours = [each for each in self._services.items() if is_ours(each)]
        for service in sorted(ours, key=lambda each: (each["metadata"]["creationTimestamp"], key_of(each))):
            for ip in ingress_ips(service):
                self._holders.setdefault(ip, key_of(service))

    def _taken_from(self, key: Key) -> set[str]:
        addresses = (each for node in self._nodes.items() for each in node.get("status", {}).get("addresses") or ())
        others = {ip for ip, holder in self._holders.items() if holder != key}
        return others | {each["address"] for each in addresses}

    def _hold(self, ips: list[str], key: Key) -> None:
        for other in [other for other, holder in self._holders.items() if holder == key and other not in ips]:
            self._free(other)
        self._holders.update(dict.fromkeys(ips, key))

    def _release(self, key: Key) -> None:
        self._waiting.discard(key)
        for ip in [ip for ip, holder in self._holders.items() if holder == key]:
            self._free(ip)

    def _free(self, ip: str) -> None:
        del self._holders[ip]
        for key in self._waiting:
            self.controller.queue.add(key)
