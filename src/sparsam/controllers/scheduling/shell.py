"""The loop of the live scheduler: pods out of the backlog, a plan from the core, and the plan through the API.

One pass at a time; what a pass decides is written while the next one is prepared. A pod that was bound counts on its
node at once (assumed), until the API confirms or denies it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any, Literal

from sparsam.client.informer import DELETED, Informer
from sparsam.clock import Clock
from sparsam.controllers.scheduling.feed import WELCOME, Feed
from sparsam.controllers.scheduling.metrics import FAST_BUCKETS, SLI_BUCKETS, Metrics
from sparsam.controllers.scheduling.placers import Choice, Placers
from sparsam.controllers.scheduling.volumebinding import VolumeBinder
from sparsam.controllers.scheduling.writing import FAULTS, Writer, key_of
from sparsam.errors import NotFound
from sparsam.objects.kinds import PODS, Resource
from sparsam.scheduling.backlog import Backlog, Change
from sparsam.scheduling.demand import compile_pod
from sparsam.scheduling.pending import is_pending, unsupported
from sparsam.scheduling.placement import GROUP_LABEL, PendingPod
from sparsam.scheduling.plan import Bind, Rejection

log = logging.getLogger(__name__)

Obj = dict[str, Any]

PASS_PODS = 200
WRITES_AT_ONCE = 32
SETTLE_SECONDS = 1.0


class Scheduler:
    """Runs on the event loop; `run` returns only when cancelled."""

    def __init__(
        self,
        informers: Mapping[Resource, Informer],
        feed: Feed,
        placers: Placers,
        writer: Writer,
        binder: VolumeBinder,
        *,
        clock: Clock,
        metrics: Metrics | None = None,
    ) -> None:
        self.metrics = metrics or Metrics()
        self._informers, self._feed, self._placers, self._writer = informers, feed, placers, writer
        self._binder, self._clock = binder, clock
        self._backlog = Backlog()
        self._assumed: dict[str, str] = {}
        """Pods that were bound, by uid, until the watch shows it: what it says of them before is old."""
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(WRITES_AT_ONCE)

    async def run(self) -> None:
        """Schedule until cancelled."""
        for resource, informer in self._informers.items():
            if resource != PODS:
                informer.add_handler(self._handler(resource))
        # A cluster may not know what watts are; nobody waits for that.
        needed = [each for resource, each in self._informers.items() if resource not in WELCOME]
        await asyncio.gather(*(informer.synced.wait() for informer in needed))
        # Pods last: when they are counted, their nodes and namespaces are known.
        self._informers[PODS].add_handler(self._on_pod)
        async with asyncio.TaskGroup() as group:
            while True:
                await self._wait_for_work()
                self._pass(group)
                # Writes and watch events get their turn before the next pass.
                await asyncio.sleep(0)

    # -- one pass -------------------------------------------------------------------------------------------

    def _pass(self, group: asyncio.TaskGroup) -> None:
        now = self._clock.monotonic()
        for choice, members in groupby(self._pending(now), key=lambda each: each[0]):
            pods = [pending for _, pending in members]
            uids = {each.key: self._uid(each.key) for each in pods}
            began = self._clock.monotonic()
            shadows = {each.key: choice.shadow.consider(each) for each in pods} if choice.shadow else {}
            plan = choice.placer.schedule(pods)
            seconds = (self._clock.monotonic() - began) / len(pods)
            for bind in plan.binds:
                shadow = shadows.get(bind.pod)
                self._count("scheduled", choice, seconds)
                self._assumed[bind.pod] = uids[bind.pod]
                group.create_task(self._bind(bind, uids[bind.pod], shadow if isinstance(shadow, Bind) else None))
            for rejection in plan.rejections:
                self._count("unschedulable", choice, seconds)
                group.create_task(self._reject(rejection))
        for place, count in self._backlog.counts().items():
            self.metrics.set("scheduler_pending_pods", count, queue=place.replace(" ", "_"))

    def _pending(self, now: float) -> list[tuple[Choice, PendingPod]]:
        """The next pods with who places them. One that cannot be read waits with a word why; others go on."""
        found = []
        for waiting in self._backlog.pop(PASS_PODS, now):
            pod = self._pod(waiting.key)
            if pod is None or not is_pending(pod, self._placers.scheduler_names):
                self._backlog.remove(waiting.key)
                continue
            try:
                pending = self._compiled(waiting.key, pod)
            except (ValueError, KeyError, TypeError) as error:
                pending = PendingPod(waiting.key, EMPTY, note=f"the pod cannot be read: {error}.")
            found.append((self._placers.choose(pod), pending))
        return found

    def _compiled(self, key: str, pod: Obj) -> PendingPod:
        refusal = unsupported(pod)
        labels = pod["metadata"].get("labels") or {}
        return PendingPod(
            key,
            compile_pod(pod),
            priority=pod["spec"].get("priority") or 0,
            preempts=pod["spec"].get("preemptionPolicy") != "Never",
            group=labels.get(GROUP_LABEL, ""),
            group_minimum=_count_of(pod, GROUP_MINIMUM_ANNOTATION),
            nominated=(pod.get("status") or {}).get("nominatedNodeName") or "",
            note=f"{refusal} cannot be honoured by this scheduler yet." if refusal else "",
        )

    # -- writing --------------------------------------------------------------------------------------------

    async def _bind(self, bind: Bind, uid: str, shadow: Bind | None) -> None:
        waiting = self._backlog.get(bind.pod)
        try:
            if bind.promises:
                await self._binder.carry_out(bind.promises)
            async with self._slots:
                pod = self._pod(bind.pod)
                if pod is None or pod["metadata"].get("uid") != uid:
                    raise NotFound(f"pod {bind.pod} is gone")
                await self._writer.bind(pod, bind, shadow)
        except FAULTS as error:
            log.warning("bind failed pod=%s node=%s error=%s", bind.pod, bind.node, error or type(error).__name__)
            self._count("error", None, 0.0)
            await self._settle(bind, uid)
            return
        if self._assumed.get(bind.pod) == uid:
            self._backlog.remove(bind.pod)
        if waiting is not None:
            seconds = self._clock.monotonic() - waiting.since
            attempts = str(min(waiting.attempts, 15))
            self.metrics.observe(
                "scheduler_pod_scheduling_sli_duration_seconds", seconds, SLI_BUCKETS, attempts=attempts
            )
        if bind.watts_delta is not None:
            self.metrics.add("sparsam_scheduler_placed_watts_total", max(bind.watts_delta, 0.0), policy=bind.policy)

    async def _settle(self, bind: Bind, uid: str) -> None:
        """A bind that failed may still have been carried out: until the API says, the pod counts where it was put."""
        namespace, _, name = bind.pod.partition("/")
        while True:
            try:
                current = await self._writer.current(namespace, name)
                break
            except FAULTS:
                await self._clock.sleep(SETTLE_SECONDS)
        if self._assumed.get(bind.pod) != uid:
            return  # The watch was first, or the name belongs to another pod now.
        del self._assumed[bind.pod]
        self._feed.snapshot.remove_pod(bind.pod)
        self._feed.snapshot.storage.break_promises(bind.pod)
        if current is not None and not current["spec"].get("nodeName"):
            self._backlog.retry(bind.pod, self._clock.monotonic())
        else:
            self._backlog.remove(bind.pod)
            if current is not None:
                # The watch may still tell of the time before the bind.
                self._assumed[bind.pod] = current["metadata"].get("uid", "")
                self._feed.take(PODS, "MODIFIED", current)
        self._note(Change.POD_GONE)

    async def _reject(self, rejection: Rejection) -> None:
        pod = self._pod(rejection.pod)
        self._backlog.refuse(rejection.pod, rejection.plugins, self._clock.monotonic())
        if pod is None:
            self._backlog.remove(rejection.pod)
            return
        async with self._slots:
            await self._writer.reject(pod, rejection)
            if rejection.preempt is None:
                return
            self.metrics.add("scheduler_preemption_attempts_total")
            self.metrics.observe("scheduler_preemption_victims", len(rejection.preempt.victims), VICTIM_BUCKETS)
            for key in rejection.preempt.victims:
                victim = self._pod(key)
                if victim is not None:
                    await self._writer.end(victim, pod, rejection.preempt.node)

    # -- hearing --------------------------------------------------------------------------------------------

    def _handler(self, resource: Resource) -> Callable[[str, Obj | None, Obj | None], None]:
        def on_change(kind: str, old: Obj | None, new: Obj | None) -> None:
            obj = old if kind == DELETED or new is None else new
            assert obj is not None
            change = self._feed.take(resource, kind, obj, old)
            if change is not None:
                self._note(change)

        return on_change

    def _on_pod(self, kind: str, old: Obj | None, new: Obj | None) -> None:
        pod = old if kind == DELETED or new is None else new
        assert pod is not None
        key, placed = key_of(pod), bool(pod["spec"].get("nodeName"))
        if kind == DELETED or placed:
            self._assumed.pop(key, None)
            self._backlog.remove(key)
        elif self._assumed.get(key) == pod["metadata"].get("uid"):
            return
        elif not is_pending(pod, self._placers.scheduler_names):
            self._backlog.remove(key)
            return
        else:
            if key not in self._backlog or _asks_anew(old, pod):
                self._backlog.add(key, pod["spec"].get("priority") or 0, self._clock.monotonic())
                self._wake.set()
            return
        change = self._feed.take(PODS, kind, pod, old)
        if change is not None:
            self._note(change)

    def _note(self, change: Change) -> None:
        self._backlog.note(change, self._clock.monotonic())
        self._wake.set()

    async def _wait_for_work(self) -> None:
        while not self._backlog.has_active:
            self._wake.clear()
            at, waits = self._backlog.next_wake(), [asyncio.ensure_future(self._wake.wait())]
            if at is not None:
                seconds = at - self._clock.monotonic()
                if seconds <= 0.0:
                    waits[0].cancel()
                    return
                waits.append(asyncio.ensure_future(self._until(seconds)))
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in waits:
                    each.cancel()

    async def _until(self, seconds: float) -> Literal[True]:
        await self._clock.sleep(seconds)
        return True

    def _pod(self, key: str) -> Obj | None:
        namespace, _, name = key.partition("/")
        return self._informers[PODS].get(namespace, name)

    def _uid(self, key: str) -> str:
        pod = self._pod(key)
        return pod["metadata"].get("uid", "") if pod is not None else ""

    def _count(self, result: str, choice: Choice | None, seconds: float) -> None:
        profile = choice.profile_name if choice else "default-scheduler"
        self.metrics.add("scheduler_schedule_attempts_total", result=result, profile=profile)
        if choice is not None:
            name = "scheduler_scheduling_attempt_duration_seconds"
            self.metrics.observe(name, seconds, FAST_BUCKETS, result=result, profile=profile)


GROUP_MINIMUM_ANNOTATION = "pod-group.scheduling.sigs.k8s.io/min-available"
VICTIM_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
EMPTY = compile_pod({"metadata": {}, "spec": {}})


def _asks_anew(old: Obj | None, new: Obj) -> bool:
    """Whether the pod itself changed in what it asks for; its status says only what we wrote."""
    if old is None:
        return True
    return bool(old["spec"] != new["spec"] or old["metadata"].get("labels") != new["metadata"].get("labels"))


def _count_of(pod: Obj, annotation: str) -> int:
    text = (pod["metadata"].get("annotations") or {}).get(annotation, "")
    return int(text) if text.isdecimal() else 0
