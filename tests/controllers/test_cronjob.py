"""CronJobs on a real API server, by a clock of the test's own."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sparsam.clock import SystemClock, parse_time
from sparsam.controllers.cronjob import CronJobController
from sparsam.controllers.job import JobController
from sparsam.controllers.runtime import Context
from sparsam.objects.kinds import CRONJOBS, EVENTS, JOBS
from tests.support.controllers import controlled, eventually


class Ahead(SystemClock):
    """Some time ahead of the true time."""

    seconds = 0.0

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.seconds)


def cron(**spec: Any) -> dict[str, Any]:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": "c", "namespace": "default"},
        "spec": {
            "schedule": "* * * * *",
            "jobTemplate": {"metadata": {"labels": {"x": "y"}}, "spec": {"template": template}},
            **spec,
        },
    }


async def test_a_job_is_started_when_due_and_seen_to_end(tmp_path: Any):
    clock = Ahead()

    def controller(context: Context) -> CronJobController:
        return CronJobController(Context(context.client, context.informers, clock))

    async with controlled(tmp_path, controller) as client:
        await client.create(CRONJOBS, cron(timeZone="Europe/Berlin"))
        clock.seconds = 90.0
        await client.patch(CRONJOBS, "c", {"metadata": {"labels": {"now": "yes"}}}, namespace="default")

        async def started() -> Any:
            return (await client.list(JOBS, "default"))["items"]

        job = (await eventually(started))[0]
        assert job["metadata"]["labels"]["x"] == "y"
        stamp = job["metadata"]["annotations"]["batch.kubernetes.io/cronjob-scheduled-timestamp"]
        assert stamp.endswith(("+01:00", "+02:00"))

        async def noted() -> Any:
            status = (await client.get(CRONJOBS, "c", "default")).get("status", {})
            return status if {"active", "lastScheduleTime"} <= status.keys() else None

        status = await eventually(noted)
        minutes = parse_time(status["lastScheduleTime"]).timestamp() // 60
        assert job["metadata"]["name"] == f"c-{int(minutes)}"
        moment = {"lastProbeTime": None, "lastTransitionTime": "2026-01-01T00:00:00Z"}
        conditions = [{"type": each, "status": "True", **moment} for each in ("SuccessCriteriaMet", "Complete")]
        ended = {
            "conditions": conditions,
            "startTime": "2026-11-24T00:00:00Z",
            "completionTime": "2026-11-24T00:01:00Z",
            "succeeded": 1,
            "uncountedTerminatedPods": {},
        }
        await client.update(JOBS, {**job, "status": ended}, subresource="status")

        async def over() -> Any:
            found = (await client.get(CRONJOBS, "c", "default"))["status"]
            return not found.get("active") and found.get("lastSuccessfulTime") == "2026-11-24T00:01:00Z"

        await eventually(over)

        async def told() -> Any:
            reasons = {event["reason"] for event in (await client.list(EVENTS, "default"))["items"]}
            return {"SuccessfulCreate", "SawCompletedJob"} <= reasons

        await eventually(told)


async def test_what_a_user_starts_by_hand_belongs_to_it(tmp_path: Any):
    async with controlled(tmp_path, CronJobController, JobController) as client:
        made = await client.create(CRONJOBS, cron(suspend=True))
        owner = {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "name": "c",
            "uid": made["metadata"]["uid"],
            "controller": True,
        }
        manual = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "by-hand", "namespace": "default", "ownerReferences": [owner]},
            "spec": made["spec"]["jobTemplate"]["spec"],
        }
        await client.create(JOBS, manual)

        async def active() -> Any:
            return (await client.get(CRONJOBS, "c", "default")).get("status", {}).get("active")

        (reference,) = await eventually(active)
        assert reference["name"] == "by-hand"
