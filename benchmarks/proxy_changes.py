"""What a change costs the proxy of a node, beside writing everything, in the same run and against the real kernel.

A thousand Services with ten endpoints each, or a thousand pods under a hundred policies; each change goes the whole
way from the watched object to the committed nftables transaction, in a network namespace of its own. Needs root. Run
`python benchmarks/proxy_changes.py [-o json] [--services N] [--pods N]`.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import os
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any

from sparsam.proxy.families import IPV4
from sparsam.proxy.nftables import Library
from sparsam.proxy.policies import Cluster, PodFacts, compile_policies
from sparsam.proxy.policytable import Site, build_table, render_change, render_whole
from sparsam.proxy.programmer import Programmer, Side
from sparsam.proxy.services import Network
from sparsam.proxy.view import View
from sparsam.proxy.zone import Zone

Obj = dict[str, Any]
Taken = tuple[float, float]
CLONE_NEWNET = 0x40000000
NETWORK = Network("10.0.0.0/9", "10.128.0.0/16", "10.245.0.0/24", "10.128.0.10", "n1", node_ip="10.245.0.11")
SITE = Site(IPV4, "sparsam-policy", "spc0")
ENDPOINTS = 10
CHANGES = 40
NAMESPACES = 20


def service(number: int, **spec: Any) -> Obj:
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    ip = f"10.128.{1 + number // 250}.{1 + number % 250}"
    metadata = {"name": f"service-{number}", "namespace": "bench"}
    return {"metadata": metadata, "spec": {"clusterIP": ip, "ports": ports, **spec}}


def endpoint_slice(number: int, endpoints: Iterable[int]) -> Obj:
    return {
        "metadata": {
            "name": f"slice-{number}",
            "namespace": "bench",
            "labels": {"kubernetes.io/service-name": f"service-{number}"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": [
            {
                "addresses": [f"10.{number // 250}.{number % 250}.{1 + each}"],
                "conditions": {},
                "nodeName": f"n{each % 3}",
            }
            for each in endpoints
        ],
    }


def now() -> Taken:
    """Seconds of the clock, and of this process's processor time, kernel included: the latter bears a busy machine."""
    return time.perf_counter(), time.process_time()


def since(start: Taken) -> Taken:
    wall, processor = now()
    return wall - start[0], processor - start[1]


def report(whole: Taken, changes: dict[str, list[Taken]]) -> dict[str, Any]:
    return {
        "everything_ms": milliseconds(*whole),
        "changes": {name: row(whole, each) for name, each in changes.items()},
    }


def row(whole: Taken, taken: list[Taken]) -> dict[str, float]:
    walls, processor = (sorted(each) for each in zip(*taken, strict=True))
    return {
        "p50_ms": milliseconds(statistics.median(walls))[0],
        "p95_ms": milliseconds(walls[int(len(walls) * 0.95)])[0],
        "processor_p50_ms": milliseconds(statistics.median(processor))[0],
        "of_everything": round(statistics.median(processor) / whole[1], 4),
    }


def milliseconds(*seconds: float) -> list[float]:
    return [round(each * 1e3, 1) for each in seconds]


async def services(count: int, **spec: Any) -> dict[str, Any]:
    view = View()
    for number in range(count):
        view.put_service(service(number, **spec))
        view.put_slice(endpoint_slice(number, range(ENDPOINTS)))
    zone = Zone("cluster.local", NETWORK.dns_ip)
    programmer = Programmer(view=view, zone=zone, sides=(Side(NETWORK),), nftables=Library(), table="sparsam")
    start = now()
    assert await programmer.replace_all()
    whole = since(start)

    async def each(change: Callable[[int], None]) -> list[Taken]:
        taken = []
        for number in range(0, count, max(1, count // CHANGES)):
            start = now()
            change(number)
            assert await programmer.apply_changes()
            taken.append(since(start))
        return taken

    changes = {
        "endpoint goes": await each(lambda n: view.put_slice(endpoint_slice(n, range(1, ENDPOINTS)))),
        "endpoint comes": await each(lambda n: view.put_slice(endpoint_slice(n, range(ENDPOINTS)))),
        "service goes": await each(lambda n: view.drop_service(service(n, **spec))),
        "service comes": await each(lambda n: view.put_service(service(n, **spec))),
    }
    return report(whole, changes)


def policy(namespace: str, name: str, **spec: Any) -> Obj:
    return {"metadata": {"namespace": namespace, "name": name}, "spec": {"podSelector": {}, **spec}}


def policies() -> list[Obj]:
    """Five for each namespace: denial, its own pods and a team's, and three of tiers."""
    made = []
    for number in range(NAMESPACES):
        own = f"ns-{number}"
        team = {"namespaceSelector": {"matchLabels": {"team": "t1"}}}
        made.append(policy(own, "deny", policyTypes=["Ingress"]))
        made.append(policy(own, "team", ingress=[{"from": [team, {"podSelector": {}}], "ports": [{"port": "web"}]}]))
        for tier in range(3):
            block = {"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]}}
            peers = [{"podSelector": {"matchLabels": {"app": "a1"}}}, block]
            ingress = [{"from": peers, "ports": [{"port": 80, "endPort": 90}]}]
            made.append(policy(own, f"tier-{tier}", podSelector={"matchLabels": {"tier": str(tier)}}, ingress=ingress))
    return made


def policing(count: int) -> dict[str, Any]:
    pods = [
        PodFacts(
            namespace=f"ns-{number % NAMESPACES}",
            name=f"pod-{number}",
            ip=f"10.{number // 62500}.{number // 250 % 250}.{1 + number % 250}",
            labels={"app": f"a{number % 50}", "tier": str(number % 3)},
            ports={("web", "TCP"): 8080},
            local=number % 10 == 0,
        )
        for number in range(count)
    ]
    cluster = Cluster(pods, {f"ns-{number}": {"team": f"t{number % 4}"} for number in range(NAMESPACES)})
    rules, nft = policies(), Library()
    start = now()
    present = build_table(compile_policies(rules, cluster), IPV4)
    nft.run(render_whole(SITE, present))
    whole = since(start)
    changes: dict[str, list[Taken]] = {"pod goes": [], "pod comes": []}
    for pod in pods[:: max(1, count // CHANGES)]:
        for name, old, new in (("pod goes", pod, None), ("pod comes", None, pod)):
            start = now()
            cluster.replace_pod(old, new)
            wanted = build_table(compile_policies(rules, cluster), IPV4)
            nft.run(render_change(SITE, present, wanted))
            changes[name].append(since(start))
            present = wanted
    return report(whole, changes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text")
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--pods", type=int, default=1000)
    options = parser.parse_args()
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise SystemExit(f"cannot make a network namespace: {os.strerror(ctypes.get_errno())}")
    found = {
        f"{options.services} services of {ENDPOINTS} endpoints": asyncio.run(services(options.services)),
        "the same with session affinity": asyncio.run(services(options.services, sessionAffinity="ClientIP")),
        f"{options.pods} pods under {len(policies())} policies": policing(options.pods),
    }
    if options.output == "json":
        print(json.dumps(found, indent=2))
        return
    for title, measured in found.items():
        wall, processor = measured["everything_ms"]
        print(f"{title}: everything {wall} ms, of processor time {processor} ms")
        for name, change in measured["changes"].items():
            print(
                f"  {name:15} p50 {change['p50_ms']:6} ms, p95 {change['p95_ms']:6} ms, "
                f"of processor time {change['processor_p50_ms']:6} ms, {change['of_everything']:.1%} of everything"
            )


if __name__ == "__main__":
    main()
