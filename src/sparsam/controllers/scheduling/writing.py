"""What the scheduler writes: bindings, conditions, nominations, the end of victims, and events about all of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import aiohttp
import msgspec

from sparsam.client.api import ApiClient
from sparsam.client.events import EventRecorder
from sparsam.clock import Clock, format_time
from sparsam.errors import Conflict, NotFound, SparsamError
from sparsam.objects.kinds import PODS
from sparsam.scheduling.plan import Bind, Candidate, Rejection

log = logging.getLogger(__name__)

Obj = dict[str, Any]

PLACEMENT_ANNOTATION = "power.sparsam.dev/placement"
SHADOW_ANNOTATION = "power.sparsam.dev/shadow-placement"
FAULTS = (SparsamError, aiohttp.ClientError, OSError, TimeoutError)


class Writer:
    """Writes what was decided."""

    def __init__(self, client: ApiClient, recorder: EventRecorder, clock: Clock, scheduler_name: str) -> None:
        self._client, self._recorder, self._clock = client, recorder, clock
        self._name = scheduler_name

    async def bind(self, pod: Obj, bind: Bind, shadow: Bind | None) -> None:
        """Bind a pod and say why; raises what the client raises."""
        metadata = pod["metadata"]
        annotations = {PLACEMENT_ANNOTATION: explanation(bind)}
        if shadow is not None:
            annotations[SHADOW_ANNOTATION] = explanation(shadow)
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
                "annotations": annotations,
            },
            "target": {"apiVersion": "v1", "kind": "Node", "name": bind.node},
        }
        await self._client.create(PODS, binding, metadata["namespace"], name=metadata["name"], subresource="binding")
        log.debug("bound pod=%s node=%s why=%s", bind.pod, bind.node, bind.reason)
        self._recorder.event(pod, "Normal", "Scheduled", f"Successfully assigned {bind.pod} to {bind.node}")
        if bind.watts_delta is not None:
            self._recorder.event(pod, "Normal", "PlacedByWatts", sentence(bind), when_quiet=True)

    async def current(self, namespace: str, name: str) -> Obj | None:
        """The pod as the API has it now, None when it is gone; raises what the client raises."""
        try:
            return await self._client.get(PODS, name, namespace)
        except NotFound:
            return None

    async def reject(self, pod: Obj, rejection: Rejection) -> None:
        """Say why no node takes a pod, and nominate the node on which room is made; trouble is said and borne."""
        message = rejection.message
        self._recorder.event(pod, "Warning", "FailedScheduling", message)
        known: Obj = next((c for c in pod.get("status", {}).get("conditions", ()) if c["type"] == "PodScheduled"), {})
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "observedGeneration": pod["metadata"].get("generation", 0),
        }
        status: Obj = {}
        if any(known.get(name) != condition[name] for name in ("status", "reason", "message")):
            same_status = known.get("status") == condition["status"]
            changed = known.get("lastTransitionTime") if same_status else None
            condition["lastTransitionTime"] = changed or format_time(self._clock.now())
            status["conditions"] = [condition]
        nominated = rejection.preempt.node if rejection.preempt else None
        if nominated is not None and pod.get("status", {}).get("nominatedNodeName") != nominated:
            status["nominatedNodeName"] = nominated
        if status:
            await self._patch_status(pod, status)

    async def end(self, victim: Obj, preemptor: Obj, node: str) -> None:
        """End a victim gracefully, and say for whom; one that is gone already is fine."""
        metadata, condition = victim["metadata"], self._disruption(preemptor)
        self._recorder.event(
            victim, "Normal", "Preempted", f"Preempted by pod {preemptor['metadata']['uid']} on node {node}"
        )
        try:
            await self._patch_status(victim, {"conditions": [condition]})
            await self._client.delete(PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
        except (NotFound, Conflict):
            return

    def _disruption(self, preemptor: Obj) -> Obj:
        return {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": f"{self._name}: preempting to accommodate a higher priority pod",
            "lastTransitionTime": format_time(self._clock.now()),
            "observedGeneration": preemptor["metadata"].get("generation", 0),
        }

    async def _patch_status(self, pod: Obj, status: Mapping[str, Any]) -> None:
        metadata = pod["metadata"]
        patch = {"metadata": {"uid": metadata["uid"]}, "status": dict(status)}
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
        except FAULTS as error:
            log.warning("status not written pod=%s error=%s", key_of(pod), error or type(error).__name__)


def sentence(bind: Bind) -> str:
    """Why this node, and what a constraint costs, for people."""
    if bind.blocked is None:
        return bind.reason
    blocked = bind.blocked
    return f"{bind.reason}; {blocked.node} would take {blocked.watts_saved:g} W less, but: {blocked.constraint}"


def explanation(bind: Bind) -> str:
    """Why this node, as JSON for people and programs; on the pod as an annotation."""
    facts: Obj = {
        "node": bind.node,
        "policy": bind.policy,
        "reason": bind.reason,
        "wattsDelta": bind.watts_delta,
        "estimated": bind.estimated,
        "feasibleNodes": bind.feasible_nodes,
        "ranked": [_candidate(each) for each in bind.ranked],
        "rejected": dict(bind.rejected),
    }
    if bind.blocked is not None:
        blocked = bind.blocked
        facts["blocked"] = {
            "node": blocked.node,
            "constraint": blocked.constraint,
            "wattsSaved": blocked.watts_saved,
        }
    return msgspec.json.encode(facts).decode()


def _candidate(candidate: Candidate) -> Obj:
    return {
        "node": candidate.node,
        "score": candidate.score,
        "wattsDelta": candidate.watts_delta,
        "parts": dict(candidate.parts),
    }


def key_of(pod: Mapping[str, Any]) -> str:
    """`namespace/name`."""
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
