"""Clears away pods that nobody else ends: leaving ones without a node, and ended ones beyond what a cluster keeps.

Pods of nodes that are gone are the node controller's, which uses `mark_and_delete` of this file too.
Source: upstream's pod garbage collector; KEP-3329 for the condition.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sparsam.client.api import ApiClient
from sparsam.clock import format_time
from sparsam.controllers.podcontrol import has_ended
from sparsam.controllers.runtime import Context, Controller, Key, Obj, key_of
from sparsam.errors import Conflict, NotFound
from sparsam.objects.kinds import PODS

log = logging.getLogger(__name__)

KEPT_ENDED_PODS = 12_500
CHECK_SECONDS = 20.0
_ALL: Key = ("", "ended pods")


def stranded(pod: Obj) -> bool:
    """Leaving, and on no node that could end it."""
    return "deletionTimestamp" in pod["metadata"] and not pod["spec"].get("nodeName")


def superfluous(pods: Iterable[Obj], kept: int) -> list[Obj]:
    """The oldest ended pods beyond `kept`."""
    ended = sorted((pod for pod in pods if has_ended(pod)), key=lambda pod: pod["metadata"]["creationTimestamp"])
    return [pod for pod in ended if "deletionTimestamp" not in pod["metadata"]][: max(len(ended) - kept, 0)]


async def mark(client: ApiClient, pod: Obj, words: tuple[str, str] | None, now: datetime, *, failed: bool) -> None:
    """Put down why a pod is being ended (reason and message), and that it failed unless it ended before."""
    status: dict[str, Any] = {}
    if failed and not has_ended(pod):
        status["phase"] = "Failed"
    if words is not None and not has_ended(pod):
        reason, message = words
        condition = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}
        status["conditions"] = [{**condition, "lastTransitionTime": format_time(now)}]
    if not status:
        return
    namespace, name = key_of(pod)
    patch = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status}
    try:
        await client.patch(PODS, name, patch, namespace=namespace, kind="strategic", subresource="status")
    except (NotFound, Conflict):
        return


async def mark_and_delete(client: ApiClient, pod: Obj, words: tuple[str, str] | None, now: datetime) -> None:
    """End a pod that no node looks after any more."""
    await mark(client, pod, words, now, failed=True)
    namespace, name = key_of(pod)
    try:
        await client.delete(PODS, name, namespace, grace_seconds=0, uid=pod["metadata"]["uid"])
    except (NotFound, Conflict):
        return


class PodGarbageCollector:
    """Keyed by stranded pod; one key stands for all ended pods."""

    def __init__(self, context: Context, *, kept: int = KEPT_ENDED_PODS, check_seconds: float = CHECK_SECONDS) -> None:
        self._client, self._clock = context.client, context.clock
        self._kept, self._check_seconds = kept, check_seconds
        self._pods = context.informer(PODS)
        self.controller = Controller("pod-garbage-collector-controller", context, self.sync, workers=1)
        self.controller.watch(self._pods, lambda pod: [key_of(pod)] if stranded(pod) else [])
        self.controller.queue.add(_ALL)

    async def sync(self, key: Key) -> None:
        """End one stranded pod, or thin out the ended ones."""
        if key == _ALL:
            await self._thin_out()
            self.controller.queue.add_after(_ALL, self._check_seconds)
            return
        pod = self._pods.get(*key)
        if pod is not None and stranded(pod):
            await mark_and_delete(self._client, pod, None, self._clock.now())

    async def _thin_out(self) -> None:
        for pod in superfluous(self._pods.items(), self._kept):
            log.info("removed ended pod=%s/%s", *key_of(pod))
            await mark_and_delete(self._client, pod, None, self._clock.now())
