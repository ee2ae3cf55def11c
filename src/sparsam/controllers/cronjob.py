"""Starts Jobs when a CronJob is due, and clears away old ones. What is due is decided by `cronjob_plan` (pure)."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sparsam.clock import format_time
from sparsam.controllers.cronjob_plan import CronPlan, finished_as, job_name, plan, superfluous
from sparsam.controllers.job_plan import is_finished
from sparsam.controllers.runtime import (
    Context,
    Controller,
    Key,
    Obj,
    controller_of,
    controller_reference,
    key_of,
    own_key,
    owner_key,
)
from sparsam.errors import AlreadyExists, NotFound, StatusError
from sparsam.objects.kinds import CRONJOBS, JOBS
from sparsam.objects.strategies.cron_schedule import Schedule, parse_schedule

SCHEDULED = "batch.kubernetes.io/cronjob-scheduled-timestamp"
_LATE_SECONDS = 0.1


def cron_job_job(cron: Obj, due: datetime, zone: tzinfo) -> Obj:
    """The job of one time."""
    template = cron["spec"]["jobTemplate"]
    metadata = template.get("metadata") or {}
    moment = due.astimezone(zone)
    stamp = moment.isoformat(timespec="seconds").replace("+00:00", "Z")
    return {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "metadata": {
            "name": job_name(cron, due),
            "namespace": cron["metadata"]["namespace"],
            "labels": dict(metadata.get("labels") or {}),
            "annotations": {**(metadata.get("annotations") or {}), SCHEDULED: stamp},
            "ownerReferences": [controller_reference(cron, CRONJOBS)],
        },
        "spec": template["spec"],
    }


class CronJobController:
    """Keyed by CronJob."""

    def __init__(self, context: Context) -> None:
        self._client, self._clock = context.client, context.clock
        self._crons, self._jobs = context.informer(CRONJOBS), context.informer(JOBS)
        self._jobs.add_index("namespace", lambda job: [job["metadata"]["namespace"]])
        self.controller = Controller("cronjob-controller", context, self.sync, workers=5)
        self.controller.watch(self._crons, own_key)
        self.controller.watch(self._jobs, owner_key(CRONJOBS.kind))

    async def sync(self, key: Key) -> None:
        """Look after one CronJob."""
        cron = self._crons.get(*key)
        if cron is None or "deletionTimestamp" in cron["metadata"]:
            return
        jobs = self._own_jobs(cron)
        for job in superfluous(cron, jobs):
            await self._delete(cron, job)
        cron = await self._report(cron, await self._status(cron, jobs))
        found = self._schedule(cron)
        if found is None:
            return
        schedule, zone = found
        now = self._clock.now()
        decided = plan(cron, schedule, zone, jobs, now)
        await self._carry_out(cron, decided, zone)
        if decided.wake_at is not None:
            seconds = (decided.wake_at - now).total_seconds() + _LATE_SECONDS
            self.controller.queue.add_after(key, seconds)

    def _own_jobs(self, cron: Obj) -> list[Obj]:
        mine = []
        for job in self._jobs.by_index("namespace", cron["metadata"]["namespace"]):
            owner = controller_of(job)
            if owner is not None and owner["uid"] == cron["metadata"]["uid"]:
                mine.append(job)
        return mine

    def _schedule(self, cron: Obj) -> tuple[Schedule, tzinfo] | None:
        text, name, recorder = cron["spec"]["schedule"], cron["spec"].get("timeZone"), self.controller.recorder
        try:
            schedule = parse_schedule(text)
        except ValueError as error:
            recorder.event(cron, "Warning", "UnparseableSchedule", f"unparseable schedule: {text} : {error}")
            return None
        try:
            return schedule, ZoneInfo(name) if name else UTC
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            recorder.event(cron, "Warning", "UnknownTimeZone", f"invalid timeZone: {name}: {error}")
            return None

    async def _carry_out(self, cron: Obj, decided: CronPlan, zone: tzinfo) -> None:
        for event in decided.events:
            self.controller.recorder.event(cron, *event)
        for job in decided.replaced:
            await self._delete(cron, job)
        if decided.start is None:
            return
        try:
            created = await self._client.create(JOBS, cron_job_job(cron, decided.start, zone))
        except AlreadyExists:
            namespace, name = cron["metadata"]["namespace"], job_name(cron, decided.start)
            created = await self._client.get(JOBS, name, namespace)
            owner = controller_of(created)
            if owner is None or owner["uid"] != cron["metadata"]["uid"]:
                return
        except StatusError as error:
            self.controller.recorder.event(cron, "Warning", "FailedCreate", f"Error creating job: {error}")
            raise
        else:
            name = created["metadata"]["name"]
            self.controller.recorder.event(cron, "Normal", "SuccessfulCreate", f"Created job {name}")
        status = {**(cron.get("status") or {}), "lastScheduleTime": format_time(decided.start)}
        known = status.get("active") or []
        if not is_finished(created) and not any(each.get("uid") == created["metadata"]["uid"] for each in known):
            status["active"] = [*known, _reference(created)]
        await self._report(cron, status)

    async def _status(self, cron: Obj, jobs: list[Obj]) -> Obj:
        """The status with what has ended taken off, and jobs that were started but not noted put on."""
        status, recorder = dict(cron.get("status") or {}), self.controller.recorder
        before = {each.get("uid"): each for each in status.pop("active", None) or ()}
        active = []
        for job in jobs:
            noted = before.pop(job["metadata"]["uid"], None)
            if not is_finished(job):
                active.append(noted or _reference(job))
                continue
            if noted is not None:
                message = f"Saw completed job: {job['metadata']['name']}, condition: {finished_as(job)}"
                recorder.event(cron, "Normal", "SawCompletedJob", message)
            moment = job["status"].get("completionTime")
            if moment and moment > (status.get("lastSuccessfulTime") or ""):
                status["lastSuccessfulTime"] = moment
        for each in before.values():
            if await self._exists(each):
                active.append(each)
            else:
                recorder.event(cron, "Normal", "MissingJob", f"Active job went missing: {each['name']}")
        return {**status, **({"active": active} if active else {})}

    async def _exists(self, reference: Obj) -> bool:
        """Whether a job is there, which the cache may not show yet."""
        try:
            found = await self._client.get(JOBS, reference["name"], reference["namespace"])
        except NotFound:
            return False
        return bool(found["metadata"]["uid"] == reference["uid"])

    async def _report(self, cron: Obj, status: Obj) -> Obj:
        if status == (cron.get("status") or {}):
            return cron
        return await self._client.update(CRONJOBS, {**cron, "status": status}, subresource="status")

    async def _delete(self, cron: Obj, job: Obj) -> None:
        namespace, name = key_of(job)
        try:
            await self._client.delete(JOBS, name, namespace, uid=job["metadata"]["uid"], propagation="Background")
        except NotFound:
            return
        self.controller.recorder.event(cron, "Normal", "SuccessfulDelete", f"Deleted job {name}")


def _reference(job: Obj) -> Obj:
    metadata = job["metadata"]
    return {
        "apiVersion": JOBS.api_version,
        "kind": JOBS.kind,
        "name": metadata["name"],
        "namespace": metadata["namespace"],
        "uid": metadata["uid"],
        "resourceVersion": metadata["resourceVersion"],
    }
