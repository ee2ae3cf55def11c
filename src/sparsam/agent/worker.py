"""One worker for each pod: look, decide, act, report; serial inside, parallel across pods.

The worker wakes when its pod changes in the API, when the engine reports an exit, when a probe reaches a verdict,
when an operation ends or when the decision asked to look again. It then reads the engine's state and
lets `lifecycle.decide` say what to do. Actions that take time run as tasks of their own (see `podtasks`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

from sparsam.agent import lifecycle, podstate
from sparsam.agent.eviction import EVICTED, TERMINATED
from sparsam.agent.lifecycle import decide
from sparsam.agent.messages import MessageReader
from sparsam.agent.node_context import NodeContext
from sparsam.agent.operations import OperationFailed, Operations
from sparsam.agent.payloads import has_content
from sparsam.agent.podspec import (
    Obj,
    all_containers,
    ephemeral_containers,
    grace_seconds,
    is_terminal,
    key_of,
)
from sparsam.agent.podstate import NO_PROGRESS, Decision, PodView, Progress, Waiting, container_key
from sparsam.agent.podtasks import RETRY_SECONDS, PodTasks
from sparsam.agent.probe_tasks import wanted_probes
from sparsam.agent.probing import ProbeReport, Probes
from sparsam.agent.progress import (
    LAST_RETRY_SECONDS,
    adopted,
    after_failed_start,
    after_probe,
    begun,
    pause_seconds,
)
from sparsam.agent.resizer import Neighbours, Resizer
from sparsam.agent.resizing import ResizeState
from sparsam.agent.runtime import Container, RuntimeFault, Sandbox
from sparsam.agent.starting import StartFailed
from sparsam.agent.status import pod_status, status_patch
from sparsam.agent.supported import unsupported
from sparsam.errors import Conflict, NotFound, SparsamError

log = logging.getLogger(__name__)

_EVICTION_GRACE_SECONDS = 1
_ROOM_SECONDS = 10.0
"""How often a resize that waits for room asks again; what others give back is not announced."""

SHUT_DOWN = Waiting(TERMINATED, "Pod was terminated in response to imminent node shutdown.")
TURNED_AWAY = Waiting("NodeShutdown", "Pod was rejected as the node is shutting down.")


class PodWorker:
    """Looks after one pod from its arrival to its end."""

    def __init__(
        self,
        pod: Obj,
        node: NodeContext,
        operations: Operations,
        *,
        gone: bool = False,
        neighbours: Neighbours = tuple,
    ) -> None:
        self.pod = pod
        self._node = node
        self._operations = operations
        self._wake = asyncio.Event()
        self._tasks = PodTasks(key_of(pod), self.kick)
        self._progress: dict[str, Progress] = {}
        self._sandboxes: tuple[Sandbox, ...] = ()
        self._containers: tuple[Container, ...] = ()
        self._ips: dict[str, Sandbox] = {}
        self._messages = MessageReader(operations.directory, len([*all_containers(pod), *ephemeral_containers(pod)]))
        self._probes = Probes(self._on_probe)
        self.probe_counts: Counter[tuple[str, str, str]] = Counter()
        """By container, kind of probe and result."""
        self._resizer = Resizer(node, operations, neighbours)
        self._resize = ResizeState()
        self._volumes_ready = False
        self._failures = 0
        self._retry_at = 0.0
        self._failure: Waiting | None = None
        self._longest_grace: int | None = None
        self._refused = ""
        self._rejected = False
        self._gone = gone
        self._torn_down = False
        self._cleared = False
        self._adopted = False
        self._done = False
        self._acted_at = 0.0
        self._status_failures = 0
        self._status_retry_at = 0.0
        self._starting: set[str] = set()
        self._final: Obj | None = None
        self._waiting: dict[str, Waiting] = {}
        self._ending_since: float | None = None
        self._hooked: set[str] = set()

    @property
    def uid(self) -> str:
        """The pod's uid."""
        return str(self.pod["metadata"]["uid"])

    @property
    def view(self) -> PodView:
        """The pod as it was last seen."""
        terminating = self._gone or "deletionTimestamp" in self.pod["metadata"]
        return PodView(
            pod=self.pod,
            sandboxes=self._sandboxes,
            containers=self._containers,
            progress=dict(self._progress),
            busy=self._tasks.keys - {_STATUS, _REFRESH},
            volumes_ready=self._volumes_ready,
            retry_at=self._retry_at,
            refused=self._refused,
            failure=self._failure,
            terminating=terminating,
            grace_seconds=self._grace_seconds(terminating),
            grace_spent_seconds=self._node.now() - self._ending_since if self._ending_since is not None else 0.0,
            hooked=frozenset(self._hooked),
            torn_down=self._torn_down,
            cleared=self._cleared,
        )

    def _grace_seconds(self, terminating: bool) -> int:
        if self._failure is not None and self._failure.reason == EVICTED:
            return _EVICTION_GRACE_SECONDS
        grace = max(grace_seconds(self.pod), lifecycle.LEAST_GRACE_SECONDS if terminating else 0)
        return grace if self._longest_grace is None else min(grace, self._longest_grace)

    def acted_within(self, seconds: float) -> bool:
        """Whether an operation runs or began so recently that its outcome may not have been seen."""
        return bool(self._tasks) or self._node.clock.monotonic() - self._acted_at < seconds

    def update(self, pod: Obj) -> None:
        """The pod changed in the API."""
        if _revision(pod) < _revision(self.pod):
            return
        before = self.pod
        self.pod = pod
        if any(before["metadata"].get(field) != pod["metadata"].get(field) for field in ("labels", "annotations")):
            self.refresh()
        if grace_seconds(pod) < grace_seconds(before) and "deletionTimestamp" in before["metadata"]:
            self._cancel_containers()  # a shorter grace: the kills start anew
        self.kick()

    def vanish(self) -> None:
        """The pod is gone from the API: end it without a word to the API."""
        self._gone = True
        self.kick()

    @property
    def holds_room(self) -> bool:
        """Whether the pod takes room on the node: it was not turned away, and is not through with its end."""
        return not (self._rejected or self._gone or self._torn_down)

    def reject(self, why: Waiting) -> None:
        """The node does not take the pod, which never starts."""
        self._rejected = True
        self._node.api.event(self.pod, "Warning", why.reason, why.message)
        self.fail(why)

    def evict(self, message: str) -> None:
        """End the pod at once, since the node needs what it uses."""
        if self._failure is None and not self.view.terminating:
            self._node.api.event(self.pod, "Warning", EVICTED, message)
            self.fail(Waiting(EVICTED, message))

    def shut_down(self, grace_seconds: int) -> None:
        """End the pod within that time at most, since its node goes down."""
        if self._failure is None and not self.view.terminating and not is_terminal(self.pod):
            self._longest_grace = grace_seconds
            self.fail(SHUT_DOWN)

    def fail(self, failure: Waiting) -> None:
        """End the pod for a reason of the node's."""
        self._failure = failure
        self._cancel_starts()
        self.kick()

    @property
    def ended(self) -> bool:
        """Whether nothing of the pod runs, and it has been told."""
        return self._gone and not any(run.running for run in self._containers)

    def refresh(self) -> None:
        """Bring the volumes of a pod that runs up to date with their sources."""
        view = self.view
        if self._volumes_ready and not view.terminating and view.sandbox is not None and has_content(self.pod):
            self._launch(_REFRESH, self._operations.refresh(view))

    def kick(self) -> None:
        """Look again soon."""
        self._wake.set()

    async def run(self) -> None:
        """Work until the pod is gone from engine and API."""
        try:
            while not self._done:
                self._wake.clear()
                pause = await self._guarded_turn()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), pause)
        finally:
            await self._probes.stop()
            await self._tasks.stop()

    async def _guarded_turn(self) -> float | None:
        """One turn; a pod that breaks its worker must not take the node's other pods with it."""
        try:
            return await self._turn()
        except Exception:
            log.exception("turn broke pod=%s", key_of(self.pod))
            return LAST_RETRY_SECONDS

    async def _turn(self) -> float | None:
        try:
            await self._observe()
        except RuntimeFault as error:
            log.warning("cannot observe pod=%s error=%s", key_of(self.pod), error)
            return RETRY_SECONDS
        now = self._node.now()
        self._refuse()
        view = self.view
        if view.terminating:
            self._cancel_starts()
        decision = decide(view, now)
        self._failure = decision.failure
        for action in decision.actions:
            self._begin(action)
        resize_due = self._keep_resizing(now)
        self._keep_probes(now)
        self._announce(decision)
        status_due = self._report(decision, now)
        times = [at for at in (decision.wake_at, status_due, resize_due) if at is not None]
        return max(0.0, min(times) - now) if times else None

    # -- seeing ---------------------------------------------------------------------------------------------

    async def _observe(self) -> None:
        self._tasks.look()
        cri = self._node.cri
        sandboxes = await cri.list_sandboxes(self.uid)
        for sandbox in sandboxes:
            if sandbox.ready and sandbox.id not in self._ips:
                self._ips[sandbox.id] = await cri.sandbox(sandbox.id)
        known = [self._ips[s.id] if s.ready and s.id in self._ips else s for s in sandboxes]
        containers = await cri.list_containers(self.uid)
        self._sandboxes = tuple(known)
        self._containers = tuple(self._messages.complete(container) for container in containers)
        if not self._adopted:
            self._adopted = True
            self._progress.update(adopted(self.pod, self._containers))

    def _refuse(self) -> None:
        names = unsupported(self.pod)
        refused = f"not supported by this node: {'; '.join(names)}" if names else ""
        if refused and refused != self._refused:
            self._node.api.event(self.pod, "Warning", "Unsupported", refused)
        self._refused = refused

    def _on_probe(self, report: ProbeReport) -> None:
        result = {True: "successful", False: "failed", None: "unknown"}[report.attempt.success]
        self.probe_counts[report.name, report.kind, result] += 1
        if report.attempt.success is False:
            message = f"{report.kind.capitalize()} probe failed: {report.attempt.message}"
            self._node.api.event(self.pod, "Warning", "Unhealthy", message, report.name)
        elif report.attempt.success is None:
            message = (
                f"{report.kind.capitalize()} probe errored and resulted in unknown state: {report.attempt.message}"
            )
            self._node.api.event(self.pod, "Warning", "Unhealthy", message, report.name)
        after = after_probe(self._progress.get(report.name, NO_PROGRESS), report)
        if after != self._progress.get(report.name):
            self._progress[report.name] = after
            self.kick()

    def _keep_probes(self, now: float) -> None:
        view = self.view
        wanted = {} if self._gone else wanted_probes(view, self._node.cri, self._node.config.node_ip, now)
        self._probes.keep(wanted)

    def _keep_resizing(self, now: float) -> float | None:
        """Resize what is to be resized; returns when to try again after a failure or without room."""
        view = self.view
        self._resize = self._resizer.state(view)
        if self._resize.reason:
            return now + _ROOM_SECONDS
        if not self._resize.steps:
            return None
        if now < self._resizer.retry_at:
            return self._resizer.retry_at
        if not view.busy:
            self._launch(_RESIZE, self._resizer.carry_out(view, self._resize.steps))
        return None

    # -- doing ----------------------------------------------------------------------------------------------

    def _begin(self, action: podstate.Action) -> None:
        operations = self._operations
        match action:
            case podstate.SetUp():
                self._launch(podstate.SETUP, self._set_up())
            case podstate.RunSandbox(attempt):
                self._launch(podstate.SANDBOX, self._run_sandbox(attempt))
            case podstate.StopSandboxes(ids):
                self._launch(podstate.SANDBOX, operations.stop_sandboxes(self.view, ids))
            case podstate.RemoveContainer(container_id):
                self._launch(f"remove/{container_id}", operations.forget(self.view, (container_id,)))
            case podstate.RemoveSandbox(sandbox_id):
                self._launch(f"remove/{sandbox_id}", operations.remove_sandbox(sandbox_id))
            case podstate.ClearVolumes():
                self._launch(podstate.CLEAR, self._clear())
            case podstate.TearDown():
                self._launch(podstate.TEARDOWN, self._tear_down())
            case podstate.Finish():
                self._launch(podstate.FINISH, self._finish())
            case _:
                self._begin_with_containers(action)

    def _begin_with_containers(self, action: podstate.Action) -> None:
        view = self.view
        match action:
            case podstate.StartContainer(name, _, _):
                self._launch(container_key(name), self._start(action))
            case podstate.KillContainer(container):
                if self._ending_since is None and (view.terminating or lifecycle.finished(view) or self._failure):
                    self._ending_since = self._node.now()
                self._launch(container_key(container.name), self._operations.kill(view, action))
            case podstate.RunPreStop(container, seconds):
                self._launch(podstate.hook_key(container.name), self._pre_stop(container, seconds))
            case podstate.ResetContainers(name, ids):
                progress = self._progress.get(name, NO_PROGRESS)
                self._progress[name] = lifecycle.next_backoff(progress, self._node.now())
                self._launch(podstate.RESET, self._operations.forget(view, ids))

    def _launch(self, key: str, work: Coroutine[Any, Any, None]) -> None:
        if self._tasks.launch(key, work):
            self._acted_at = self._node.clock.monotonic()

    async def _set_up(self) -> None:
        self._volumes_ready = await self._with_retries(self._operations.set_up(self.view))

    async def _pre_stop(self, container: Container, seconds: int) -> None:
        await self._operations.pre_stop(self.view, container, seconds)
        self._hooked.add(container.id)

    async def _run_sandbox(self, attempt: int) -> None:
        await self._with_retries(self._operations.run_sandbox(self.view, attempt))

    async def _with_retries(self, work: Coroutine[Any, Any, None]) -> bool:
        """Whether the work succeeded; when it did not, an event says so and the next try is later each time."""
        try:
            await work
        except OperationFailed as error:
            self._failures += 1
            self._retry_at = self._node.now() + pause_seconds(self._failures)
            self._node.api.event(self.pod, "Warning", error.event, error.message)
            return False
        self._failures, self._retry_at = 0, 0.0
        return True

    async def _start(self, action: podstate.StartContainer) -> None:
        name, now = action.name, self._node.now()
        self._starting.add(container_key(name))
        progress = self._progress.get(name, NO_PROGRESS)
        if action.restart:
            progress = self._progress[name] = lifecycle.next_backoff(progress, now)
        view = self.view
        try:
            container_id = await self._operations.start(view, action, self._started)
        except StartFailed as error:
            self._progress[name] = after_failed_start(progress, error, self._node.now())
            if error.event:
                self._node.api.event(self.pod, "Warning", "Failed", error.event, name)
        else:
            health = self._progress.get(name, NO_PROGRESS)
            self._resizer.started(view.pod, name, container_id)
            self._progress[name] = replace(health, container_id=container_id, fault=None, failures=0, retry_at=0.0)
        finally:
            self._starting.discard(container_key(name))

    def _started(self, name: str, container_id: str) -> None:
        self._progress[name] = begun(self._progress.get(name, NO_PROGRESS), container_id)
        self.kick()

    def _cancel_starts(self) -> None:
        """A pull, a start or a postStart hook under way must not hold up the end."""
        self._tasks.cancel((podstate.SETUP, *self._starting))

    def _cancel_containers(self) -> None:
        self._tasks.cancel(container_key(spec["name"]) for spec in all_containers(self.pod))

    async def _clear(self) -> None:
        await self._operations.clear_volumes()
        self._volumes_ready, self._cleared = False, True

    async def _tear_down(self) -> None:
        await self._tasks.wait(_REFRESH)
        await self._operations.tear_down(self.view)
        self._torn_down = True

    async def _finish(self) -> None:
        """The last status, with how the containers ended, then the deletion."""
        await self._tasks.wait(_STATUS)
        if not self._gone:
            with contextlib.suppress(NotFound, Conflict):
                patch = status_patch(self.pod.get("status") or {}, self._final or {})
                if self._final is not None and patch:
                    self.pod = await self._node.api.patch_status(self.pod, patch)
                await self._node.api.delete(self.pod)
        self._done = True

    # -- telling --------------------------------------------------------------------------------------------

    def _announce(self, decision: Decision) -> None:
        """Events for waits that begin now."""
        for name, waiting in decision.waiting.items():
            if self._waiting.get(name) == waiting:
                continue
            if waiting.reason == "CrashLoopBackOff":
                message = f"Back-off restarting failed container {name} in pod {key_of(self.pod)}"
                self._node.api.event(self.pod, "Warning", "BackOff", message, name)
            elif waiting.reason == "ImagePullBackOff":
                message = waiting.message.partition(": ErrImagePull")[0]
                self._node.api.event(self.pod, "Normal", "BackOff", message, name)
                self._node.api.event(self.pod, "Warning", "Failed", "Error: ImagePullBackOff", name)
        self._waiting = dict(decision.waiting)

    def _report(self, decision: Decision, now: float) -> float | None:
        """Send the status if it changed; returns when to try again after a failure."""
        if self._gone or self._torn_down or self._final is not None:
            return None
        status = pod_status(self.view, decision, self._node.config.node_ips, now, self._resize)
        if podstate.TEARDOWN in self._tasks:
            self._final = status
        if _STATUS in self._tasks:
            return None
        if now < self._status_retry_at:
            return self._status_retry_at
        patch = status_patch(self.pod.get("status") or {}, status)
        if patch:
            self._launch(_STATUS, self._send(patch))
        return None

    async def _send(self, patch: Obj) -> None:
        try:
            pod = await self._node.api.patch_status(self.pod, patch)
        except (SparsamError, OSError) as error:
            self._status_failures += 1
            self._status_retry_at = self._node.now() + pause_seconds(self._status_failures)
            log.warning("status not sent pod=%s error=%s", key_of(self.pod), error)
        else:
            self._status_failures = 0
            if _revision(pod) >= _revision(self.pod):
                self.pod = pod


_STATUS = "status"
_REFRESH = "refresh"
_RESIZE = "resize"


def _revision(pod: Obj) -> int:
    text = str(pod["metadata"].get("resourceVersion") or "0")
    return int(text) if text.isdigit() else 0
