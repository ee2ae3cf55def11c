"""Deletes finished Jobs when their `ttlSecondsAfterFinished` is over."""

from __future__ import annotations

from datetime import datetime

from sparsam.clock import parse_time
from sparsam.controllers.job_plan import is_finished
from sparsam.controllers.runtime import Context, Controller, Key, Obj, own_key
from sparsam.errors import Conflict, NotFound
from sparsam.objects.kinds import JOBS


def finished_at(job: Obj) -> datetime | None:
    """When a job with a time to live ended; None for one that stays."""
    if job["spec"].get("ttlSecondsAfterFinished") is None or not is_finished(job):
        return None
    ended = [
        condition["lastTransitionTime"]
        for condition in job["status"]["conditions"]
        if condition["type"] in ("Complete", "Failed") and condition["status"] == "True"
    ]
    return parse_time(ended[0])


class TtlController:
    """Keyed by Job."""

    def __init__(self, context: Context) -> None:
        self._client, self._clock = context.client, context.clock
        self._jobs = context.informer(JOBS)
        self.controller = Controller("ttl-after-finished-controller", context, self.sync, workers=2)
        self.controller.watch(self._jobs, own_key)

    async def sync(self, key: Key) -> None:
        """Delete the job, or come back when its time is over."""
        job = self._jobs.get(*key)
        finished = finished_at(job) if job is not None else None
        if job is None or finished is None or "deletionTimestamp" in job["metadata"]:
            return
        left = job["spec"]["ttlSecondsAfterFinished"] - (self._clock.now() - finished).total_seconds()
        if left > 0:
            self.controller.queue.add_after(key, left)
            return
        try:
            await self._client.delete(JOBS, key[1], key[0], uid=job["metadata"]["uid"], propagation="Foreground")
        except (NotFound, Conflict):
            return
