"""Which probes a pod's containers need right now, each with the check that runs it."""

from __future__ import annotations

from sparsam.agent.checks import check
from sparsam.agent.cri import Cri
from sparsam.agent.lifecycle import is_changing, is_started
from sparsam.agent.podspec import Obj, all_containers
from sparsam.agent.podstate import PodView, container_key
from sparsam.agent.probing import LIVENESS, STARTUP, Attempt, Check, probe_kinds

Wanted = dict[tuple[str, str], tuple[Obj, Check, float]]


def wanted_probes(view: PodView, cri: Cri, node_ip: str, now: float) -> Wanted:
    """Probes by (container id, kind): none for containers that do not run, only readiness for those that are to end."""
    wanted: Wanted = {}
    ips = (node_ip,) if view.pod["spec"].get("hostNetwork") else (view.sandbox.ips if view.sandbox else ())
    for spec in all_containers(view.pod):
        run = view.run(spec["name"])
        if run is None or not run.running or is_changing(view, spec) or not ips:
            continue
        ending = view.terminating or container_key(spec["name"]) in view.busy
        for kind in probe_kinds(spec, is_started(view, spec)):
            if ending and kind in (LIVENESS, STARTUP):
                continue
            wanted[run.id, kind] = (spec, _bound(cri, spec, run.id, ips[0]), now - run.started_seconds)
    return wanted


def _bound(cri: Cri, spec: Obj, container_id: str, ip: str) -> Check:
    async def attempt(probe: Obj, timeout_seconds: float) -> Attempt:
        return await check(probe, spec, cri=cri, container_id=container_id, ip=ip, timeout_seconds=timeout_seconds)

    return attempt
