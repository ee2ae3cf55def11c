"""Jobs on a real API server, with a kubelet of the test's own that ends pods as it is told."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any

from sparsam.controllers.garbage import GarbageCollector
from sparsam.controllers.job import JobController
from sparsam.controllers.job_counts import FINALIZER
from sparsam.controllers.runtime import Context
from sparsam.controllers.serviceaccount import ServiceAccountController
from sparsam.controllers.ttl import TtlController
from sparsam.errors import NotFound
from sparsam.objects.kinds import EVENTS, JOBS, PODS, SERVICEACCOUNTS
from tests.support.controllers import controlled, eventually, gone, running

Fate = Callable[[dict[str, Any]], str]


class Ender:
    """Ends every pod with the phase that `fate` gives for it; empty leaves it running."""

    def __init__(self, context: Context, fate: Fate) -> None:
        self._client, self._fate = context.client, fate
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.controller = self
        context.informer(PODS).add_handler(lambda _kind, _old, new: self._queue.put_nowait(new) if new else None)

    async def run(self) -> None:
        while True:
            pod = await self._queue.get()
            name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
            leaving = "deletionTimestamp" in pod["metadata"]
            with contextlib.suppress(NotFound):
                if pod["status"]["phase"] not in ("Succeeded", "Failed"):
                    phase = "Failed" if leaving else self._fate(pod) or "Running"
                    if phase != pod["status"]["phase"]:
                        change = {"status": {"phase": phase}}
                        await self._client.patch(PODS, name, change, namespace=namespace, subresource="status")
                if leaving:
                    await self._client.delete(PODS, name, namespace, grace_seconds=0)


@contextlib.asynccontextmanager
async def cluster(tmp_path: Any, fate: Fate, *more: Any) -> Any:
    parts = (ServiceAccountController, JobController, TtlController, GarbageCollector, *more)
    async with controlled(tmp_path, *parts, partial(Ender, fate=fate)) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        yield client


def job(**spec: Any) -> dict[str, Any]:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "j", "namespace": "default"},
        "spec": {"template": template, **spec},
    }


async def ended(client: Any, kind: str = "Complete") -> dict[str, Any]:
    async def look() -> Any:
        found = await client.get(JOBS, "j", "default")
        conditions = found.get("status", {}).get("conditions") or ()
        return found if any(c["type"] == kind and c["status"] == "True" for c in conditions) else None

    return dict(await eventually(look))


async def test_a_job_runs_to_its_end_and_lets_its_pods_go(tmp_path: Any):
    async with cluster(tmp_path, lambda _: "Succeeded") as client:
        await client.create(JOBS, job(completions=20, parallelism=7))
        found = await ended(client)
        assert (found["status"]["succeeded"], found["status"].get("failed", 0)) == (20, 0)
        pods = (await client.list(PODS, "default"))["items"]
        assert len(pods) == 20
        assert not any(FINALIZER in (pod["metadata"].get("finalizers") or ()) for pod in pods)

        async def told() -> Any:
            return {event["message"] for event in (await client.list(EVENTS, "default"))["items"]} >= {"Job completed"}

        await eventually(told)
        await asyncio.sleep(0.3)
        assert (await client.get(JOBS, "j", "default"))["metadata"] == found["metadata"]


async def test_indexed_pods_know_their_index(tmp_path: Any):
    async with cluster(tmp_path, lambda _: "Succeeded") as client:
        await client.create(JOBS, job(completions=3, parallelism=3, completionMode="Indexed"))
        found = await ended(client)
        assert found["status"]["completedIndexes"] == "0-2"
        pods = sorted((await client.list(PODS, "default"))["items"], key=lambda pod: pod["spec"]["hostname"])
        assert [pod["spec"]["hostname"] for pod in pods] == ["j-0", "j-1", "j-2"]
        assert pods[2]["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] == "2"
        assert pods[2]["spec"]["containers"][0]["env"][0]["name"] == "JOB_COMPLETION_INDEX"


async def test_a_job_that_fails_says_why_and_ends_its_pods(tmp_path: Any):
    first: list[str] = []

    def fate(pod: dict[str, Any]) -> str:
        first[:] = first or [pod["metadata"]["name"]]
        return "Failed" if pod["metadata"]["name"] == first[0] else ""

    async with cluster(tmp_path, fate) as client:
        await client.create(JOBS, job(completions=3, parallelism=3, backoffLimit=0))
        found = await ended(client, "Failed")
        reasons = [(c["type"], c["reason"]) for c in found["status"]["conditions"]]
        assert reasons == [("FailureTarget", "BackoffLimitExceeded"), ("Failed", "BackoffLimitExceeded")]
        assert found["status"]["failed"] == 3
        assert "active" not in found["status"]


async def test_a_controller_that_dies_in_the_middle_counts_nothing_twice(tmp_path: Any):
    ender = partial(Ender, fate=lambda _: "Succeeded")
    async with controlled(tmp_path, ServiceAccountController, ender) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        await client.create(JOBS, job(completions=30, parallelism=10))
        for _ in range(6):
            async with running(client, JobController):
                await asyncio.sleep(0.12)
        async with running(client, JobController):
            found = await ended(client)
        assert found["status"]["succeeded"] == 30
        assert len((await client.list(PODS, "default"))["items"]) == 30


async def test_a_suspended_job_waits_and_a_finished_one_goes_after_its_time(tmp_path: Any):
    async with cluster(tmp_path, lambda _: "Succeeded") as client:
        await client.create(JOBS, job(suspend=True, ttlSecondsAfterFinished=0))

        async def suspended() -> Any:
            return (await client.get(JOBS, "j", "default")).get("status", {}).get("conditions")

        (condition,) = await eventually(suspended)
        assert (condition["type"], condition["reason"]) == ("Suspended", "JobSuspended")
        assert not (await client.list(PODS, "default"))["items"]
        await client.patch(JOBS, "j", {"spec": {"suspend": False}}, namespace="default")
        await gone(lambda: client.get(JOBS, "j", "default"))

        async def no_pods() -> Any:
            return not (await client.list(PODS, "default"))["items"]

        await eventually(no_pods)


async def test_pods_of_a_deleted_job_are_let_go(tmp_path: Any):
    async with cluster(tmp_path, lambda _: "") as client:
        await client.create(JOBS, job(parallelism=2, completions=2))

        async def two() -> Any:
            return (await client.get(JOBS, "j", "default")).get("status", {}).get("active") == 2

        await eventually(two)
        await client.delete(JOBS, "j", "default", propagation="Background")

        async def no_pods() -> Any:
            return not (await client.list(PODS, "default"))["items"]

        await eventually(no_pods)
