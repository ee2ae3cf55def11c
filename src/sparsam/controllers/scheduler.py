"""Places pods: keeps the snapshot fresh, asks `scheduling.schedule` for a Plan and applies it through the API.

One pass at a time; binds of a pass run side by side while the next one is prepared. A pod that was bound counts on its
node at once (assumed), until the API confirms or denies it. A pod that fits nowhere is tried again when the cluster
changes in a way that may help, with a growing pause in between.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import msgspec

from sparsam.client.api import ApiClient
from sparsam.client.events import EventRecorder
from sparsam.client.informer import DELETED, Informer
from sparsam.clock import Clock, SystemClock, format_time
from sparsam.errors import Conflict, NotFound, StatusError
from sparsam.objects.kinds import PODS
from sparsam.scheduling.demand import compile_pod
from sparsam.scheduling.pending import is_pending, queue_order, unsupported
from sparsam.scheduling.placement import PendingPod, Placer
from sparsam.scheduling.plan import Bind
from sparsam.scheduling.policy import Policy
from sparsam.scheduling.snapshot import Snapshot

log = logging.getLogger(__name__)

Obj = dict[str, Any]

PLACEMENT_ANNOTATION = "power.sparsam.dev/placement"
PASS_PODS = 200
BINDS_AT_ONCE = 32
FIRST_BACKOFF_SECONDS = 1.0
LAST_BACKOFF_SECONDS = 10.0
FLUSH_SECONDS = 300.0
"""An unschedulable pod is tried again after this long even if nothing seems to have changed; upstream's figure."""


@dataclass(slots=True)
class _Waiting:
    """A pod that fitted nowhere: how often it was tried, and when it may be tried again."""

    attempts: int
    not_before: float


class Scheduler:
    """Runs on the event loop; `run` returns only when cancelled."""

    def __init__(
        self,
        client: ApiClient,
        pods: Informer,
        nodes: Informer,
        powers: Informer,
        recorder: EventRecorder,
        *,
        policy: Policy | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._client, self._recorder = client, recorder
        self._pods, self._nodes, self._powers = pods, nodes, powers
        self._clock = clock or SystemClock()
        self._snapshot = Snapshot()
        self._placer = Placer(self._snapshot, policy, explains=True)
        self._ready: dict[str, Obj] = {}
        self._waiting: dict[str, _Waiting] = {}
        self._binding: set[str] = set()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(BINDS_AT_ONCE)

    async def run(self) -> None:
        """Schedule until cancelled."""
        self._nodes.add_handler(self._on_node)
        self._powers.add_handler(self._on_power)
        self._pods.add_handler(self._on_pod)
        await asyncio.gather(self._pods.synced.wait(), self._nodes.synced.wait())
        async with asyncio.TaskGroup() as group:
            while True:
                await self._wait_for_work()
                batch = sorted(self._ready.values(), key=queue_order)[:PASS_PODS]
                for pod in batch:
                    del self._ready[_key(pod)]
                self._place(batch, group)
                # Binds and watch events get their turn before the next pass.
                await asyncio.sleep(0)

    def _place(self, batch: list[Obj], group: asyncio.TaskGroup) -> None:
        by_key = {_key(pod): pod for pod in batch}
        pending = []
        for key, pod in by_key.items():
            if refusal := unsupported(pod):
                message = f"not scheduled: {refusal} cannot be honoured by this scheduler yet"
                self._hold(pod, message, group)
            else:
                pending.append(PendingPod(key, compile_pod(pod), pod["spec"].get("priority") or 0))
        plan = self._placer.schedule(pending)
        for bind in plan.binds:
            self._binding.add(bind.pod)
            group.create_task(self._bind(by_key[bind.pod], bind))
        for rejection in plan.rejections:
            self._hold(by_key[rejection.pod], rejection.message, group)

    async def _bind(self, pod: Obj, bind: Bind) -> None:
        metadata = pod["metadata"]
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
                "annotations": {PLACEMENT_ANNOTATION: _explain(bind)},
            },
            "target": {"apiVersion": "v1", "kind": "Node", "name": bind.node},
        }
        try:
            async with self._slots:
                await self._client.create(
                    PODS, binding, metadata["namespace"], name=metadata["name"], subresource="binding"
                )
        except (StatusError, aiohttp.ClientError, OSError, TimeoutError) as error:
            self._snapshot.remove_pod(bind.pod)
            self._binding.discard(bind.pod)
            current = self._pods.get(metadata["namespace"], metadata["name"])
            if current is not None and current["spec"].get("nodeName"):
                self._snapshot.set_pod(current)
            elif current is not None and not isinstance(error, NotFound):
                log.warning("bind failed pod=%s node=%s error=%s", bind.pod, bind.node, error or type(error).__name__)
                self._delay(bind.pod)
            return
        self._binding.discard(bind.pod)
        self._waiting.pop(bind.pod, None)
        log.info("bound pod=%s node=%s why=%s", bind.pod, bind.node, bind.reason)
        self._recorder.event(pod, "Normal", "Scheduled", f"Successfully assigned {bind.pod} to {bind.node}")

    def _hold(self, pod: Obj, message: str, group: asyncio.TaskGroup) -> None:
        """Keep a pod that fits nowhere, and say why in its condition and an event."""
        self._delay(_key(pod))
        self._recorder.event(pod, "Warning", "FailedScheduling", message)
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "observedGeneration": pod["metadata"].get("generation", 0),
        }
        known: Obj = next((c for c in pod.get("status", {}).get("conditions", ()) if c["type"] == "PodScheduled"), {})
        if any(known.get(name) != condition[name] for name in ("status", "reason", "message")):
            group.create_task(self._write_condition(pod, condition, known))

    async def _write_condition(self, pod: Obj, condition: Obj, known: Mapping[str, Any]) -> None:
        same_status = known.get("status") == condition["status"]
        changed = known.get("lastTransitionTime") if same_status else None
        condition["lastTransitionTime"] = changed or format_time(self._clock.now())
        metadata = pod["metadata"]
        patch = {"metadata": {"uid": metadata["uid"]}, "status": {"conditions": [condition]}}
        try:
            await self._client.patch(
                PODS,
                metadata["name"],
                patch,
                namespace=metadata["namespace"],
                kind="strategic",
                subresource="status",
            )
        except (NotFound, Conflict):
            return
        except (StatusError, aiohttp.ClientError, OSError, TimeoutError) as error:
            log.warning("condition not written pod=%s error=%s", _key(pod), error or type(error).__name__)

    def _delay(self, key: str) -> None:
        waiting = self._waiting.setdefault(key, _Waiting(0, 0.0))
        pause_seconds = min(FIRST_BACKOFF_SECONDS * 2.0**waiting.attempts, LAST_BACKOFF_SECONDS)
        waiting.attempts += 1
        waiting.not_before = self._clock.monotonic() + pause_seconds
        self._later(FLUSH_SECONDS, key)

    def _retry_waiting(self) -> None:
        """The cluster changed in a way that may help: let pods that wait try again once their pause is over."""
        now = self._clock.monotonic()
        for key, waiting in list(self._waiting.items()):
            self._later(max(waiting.not_before - now, 0.0), key)

    def _later(self, seconds: float, key: str) -> None:
        loop = asyncio.get_running_loop()
        known = self._timers.pop(key, None)
        if known is not None:
            seconds = min(seconds, max(known.when() - loop.time(), 0.0))
            known.cancel()
        self._timers[key] = loop.call_later(seconds, self._enqueue, key)

    def _enqueue(self, key: str) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        namespace, _, name = key.partition("/")
        pod = self._pods.get(namespace, name)
        if pod is not None and is_pending(pod) and key not in self._binding:
            self._ready[key] = pod
            self._wake.set()

    async def _wait_for_work(self) -> None:
        while not self._ready:
            self._wake.clear()
            await self._wake.wait()

    def _on_pod(self, kind: str, old: Obj | None, new: Obj | None) -> None:
        pod = new if new is not None else old
        assert pod is not None
        key = _key(pod)
        if kind == DELETED or new is None:
            self._ready.pop(key, None)
            self._waiting.pop(key, None)
            if key not in self._binding or pod["spec"].get("nodeName"):
                self._snapshot.remove_pod(key)
            self._retry_waiting()
            return
        if new["spec"].get("nodeName"):
            self._ready.pop(key, None)
            self._waiting.pop(key, None)
            if old is not None and _ended(old) == _ended(new) and old["spec"] == new["spec"]:
                return
            self._snapshot.set_pod(new)
            if _ended(new):
                self._retry_waiting()
        elif key not in self._waiting or _spec_changed(old, new):
            self._enqueue(key)

    def _on_node(self, kind: str, old: Obj | None, new: Obj | None) -> None:
        if kind == DELETED or new is None:
            assert old is not None
            self._snapshot.remove_node(old["metadata"]["name"])
            return
        if old is not None and _node_facts(old) == _node_facts(new):
            return
        self._snapshot.set_node(new)
        self._retry_waiting()

    def _on_power(self, kind: str, old: Obj | None, new: Obj | None) -> None:
        power = new if new is not None else old
        assert power is not None
        self._snapshot.set_power(power["metadata"]["name"], None if kind == DELETED else power.get("status"))


def _explain(bind: Bind) -> str:
    """Why this node, for people and programs; on the pod as an annotation."""
    facts: Obj = {
        "node": bind.node,
        "wattsDelta": bind.watts_delta,
        "estimated": bind.estimated,
        "feasibleNodes": bind.feasible_nodes,
        "reason": bind.reason,
    }
    if bind.runner_up is not None:
        facts |= {"runnerUp": bind.runner_up.node, "runnerUpWattsDelta": bind.runner_up.watts_delta}
    return msgspec.json.encode(facts).decode()


def _key(pod: Mapping[str, Any]) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _ended(pod: Obj) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def _spec_changed(old: Obj | None, new: Obj) -> bool:
    return old is None or old["spec"] != new["spec"]


def _node_facts(node: Obj) -> tuple[Any, ...]:
    """What placement depends on: a heartbeat changes none of it."""
    metadata, status = node["metadata"], node.get("status", {})
    return (node.get("spec"), status.get("allocatable"), metadata.get("labels"), metadata.get("annotations"))
