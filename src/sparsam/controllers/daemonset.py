"""Keeps a pod of a DaemonSet on every node that should have one.

What comes and goes is decided by `daemonset_plan` (pure). Labels, events and the history are upstream's.
"""

from __future__ import annotations

from sparsam.controllers.daemonset_plan import Daemons, daemon_spec, manage, node_of, places, roll, status
from sparsam.controllers.history import REVISION_LABEL, History
from sparsam.controllers.podcontrol import PodControl, next_available_seconds, pod_of
from sparsam.controllers.runtime import Context, Controller, Key, Obj, key_of, own_key, owner_key
from sparsam.errors import NotFound
from sparsam.objects.kinds import DAEMONSETS, NODES
from sparsam.objects.selectors import LabelSelector, parse_label_selector_object

GENERATION_LABEL = "pod-template-generation"
BURST_PODS = 250
_FIRST_BACKOFF_SECONDS, _LAST_BACKOFF_SECONDS = 1.0, 900.0


class DaemonSetController:
    """Keyed by DaemonSet."""

    def __init__(self, context: Context) -> None:
        self._client, self._clock = context.client, context.clock
        self.controller = Controller("daemonset-controller", context, self.sync, workers=2)
        self._control = PodControl(context, DAEMONSETS, self.controller, _selector_of)
        self._history = History(context, DAEMONSETS)
        self._nodes = context.informer(NODES)
        self._backoff: dict[tuple[str, str, str], tuple[float, float]] = {}
        """When pods of a revision (by set and node) may next be killed for having ended, and the pause after that."""
        self.controller.watch(self._control.owners, own_key)
        self.controller.watch(self._control.pods, self._control.keys_of)
        self.controller.watch(self._history.revisions, owner_key(DAEMONSETS.kind))
        self.controller.needs(self._nodes)
        self._nodes.add_handler(self._on_node)

    async def sync(self, key: Key) -> None:
        """Bring one DaemonSet's pods in order and report."""
        daemon_set = self._control.owners.get(*key)
        if daemon_set is None:
            self._control.forget(key)
            return
        if "deletionTimestamp" in daemon_set["metadata"]:
            return
        pods = await self._control.claim(daemon_set)
        histories = await self._history.of(daemon_set)
        daemons = self._daemons(daemon_set, pods, histories.update["metadata"]["labels"][REVISION_LABEL])
        failure: str | None = None
        if self._control.settled(key, pods):
            failure = await self._act(daemon_set, daemons)
        found = status(daemon_set, daemons, histories.collisions)
        if found != daemon_set.get("status"):
            try:
                await self._client.update(DAEMONSETS, {**daemon_set, "status": found}, subresource="status")
            except NotFound:
                return
        hashes = {(pod["metadata"].get("labels") or {}).get(REVISION_LABEL) for pod in pods}
        live = [e["metadata"]["name"] for e in histories.all if e["metadata"]["labels"].get(REVISION_LABEL) in hashes]
        await self._history.truncate(daemon_set, histories, live)
        seconds = next_available_seconds(pods, daemon_set["spec"].get("minReadySeconds", 0), daemons.now)
        if failure is not None:
            self.controller.queue.add_after(key, 1.0)
        if seconds is not None:
            self.controller.queue.add_after(key, seconds)

    def _daemons(self, daemon_set: Obj, pods: list[Obj], revision: str) -> Daemons:
        by_node: dict[str, list[Obj]] = {}
        for pod in pods:
            by_node.setdefault(node_of(pod), []).append(pod)
        where = places(daemon_set["spec"]["template"], self._nodes.items())
        return Daemons(daemon_set["spec"], where, by_node, revision, self._clock.now())

    async def _act(self, daemon_set: Obj, daemons: Daemons) -> str | None:
        changes = manage(daemons)
        ended = {pod["metadata"]["uid"] for pod in changes.ended}
        doomed = [pod for pod in changes.delete if pod["metadata"]["uid"] not in ended]
        doomed += [pod for pod in changes.ended if self._may_kill(daemon_set, pod, daemons)]
        create = list(changes.create)
        if not changes.create and not changes.delete:
            step = roll(daemons)
            create, doomed = list(step.create), list(step.delete)
        failure: str | None = None
        for pod in doomed[:BURST_PODS]:
            failure = await self._control.delete(daemon_set, pod) or failure
        wanted = [self._pod(daemon_set, node, daemons.revision) for node in create[:BURST_PODS]]
        return await self._control.create_all(daemon_set, wanted) or failure

    def _pod(self, daemon_set: Obj, node: str, revision: str) -> Obj:
        template = daemon_set["spec"]["template"]
        pod = pod_of(template, daemon_set, DAEMONSETS, generateName=f"{daemon_set['metadata']['name']}-")
        generation = (daemon_set["metadata"].get("annotations") or {}).get("deprecated.daemonset.template.generation")
        pod["metadata"]["labels"] |= {
            REVISION_LABEL: revision,
            **({GENERATION_LABEL: generation} if generation else {}),
        }
        return {**pod, "spec": daemon_spec(template, node)}

    def _may_kill(self, daemon_set: Obj, pod: Obj, daemons: Daemons) -> bool:
        """Say that a daemon's pod ended; one that ends again and again is left for longer each time."""
        key = (daemon_set["metadata"]["uid"], daemons.revision, node_of(pod))
        now = self._clock.monotonic()
        until, pause = self._backoff.get(key, (0.0, _FIRST_BACKOFF_SECONDS))
        if now < until:
            self.controller.queue.add_after(key_of(daemon_set), until - now)
            return False
        if now > until + 2 * _LAST_BACKOFF_SECONDS:
            pause = _FIRST_BACKOFF_SECONDS
        self._backoff[key] = (now + pause, min(2 * pause, _LAST_BACKOFF_SECONDS))
        namespace, name = key_of(pod)
        failed = pod["status"]["phase"] == "Failed"
        message = (
            f"Found {'failed' if failed else 'succeeded'} daemon pod {namespace}/{name} on node {node_of(pod)}, "
            f"will try to {'kill' if failed else 'delete'} it"
        )
        reason, kind = ("FailedDaemonPod", "Warning") if failed else ("SucceededDaemonPod", "Normal")
        self.controller.recorder.event(daemon_set, kind, reason, message)
        return True

    def _on_node(self, _kind: str, old: Obj | None, new: Obj | None) -> None:
        """Nodes report all the time; only what decides about places matters."""
        if old is not None and new is not None and _essence(old) == _essence(new):
            return
        for daemon_set in self._control.owners.items():
            self.controller.queue.add(key_of(daemon_set))


def _essence(node: Obj) -> tuple[object, object]:
    return node["metadata"].get("labels"), node["spec"].get("taints")


def _selector_of(daemon_set: Obj) -> LabelSelector:
    return parse_label_selector_object(daemon_set["spec"]["selector"])
