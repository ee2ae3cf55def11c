"""Runs Jobs to their end. What to do next is decided by `job_plan`, counting by `job_counts` (both pure)."""

from __future__ import annotations

import asyncio

from sparsam.controllers.job_counts import FAILURES, FINALIZER, has_finalizer
from sparsam.controllers.job_indexes import INDEX
from sparsam.controllers.job_plan import Backoff, JobPlan, NewPod, is_finished, plan
from sparsam.controllers.podcontrol import PodControl, pod_of
from sparsam.controllers.runtime import Context, Controller, Key, Obj, controller_of, key_of, own_key
from sparsam.errors import NotFound
from sparsam.objects.kinds import JOBS, PODS
from sparsam.objects.selectors import LabelSelector, parse_label_selector_object

_BY_UID = "job uid"
_OURS = "kubernetes.io/job-controller"
_PARALLEL_RELEASES = 16


def job_pod(job: Obj, wanted: NewPod) -> Obj:
    """A pod of a job; with an index it is told so in annotation, label, environment and host name."""
    name, template = job["metadata"]["name"], job["spec"]["template"]
    prefix = f"{name}-" if wanted.index is None else f"{name}-{wanted.index}-"
    pod = pod_of(template, job, JOBS, generateName=prefix)
    pod["metadata"]["finalizers"] = [*(pod["metadata"].get("finalizers") or ()), FINALIZER]
    if wanted.index is None:
        return pod
    pod["metadata"]["annotations"][INDEX] = str(wanted.index)
    pod["metadata"]["labels"][INDEX] = str(wanted.index)
    if job["spec"].get("backoffLimitPerIndex") is not None:
        pod["metadata"]["annotations"][FAILURES] = str(wanted.failures)
    spec = {**pod["spec"], "hostname": f"{name}-{wanted.index}"}
    for field in ("initContainers", "containers"):
        if spec.get(field):
            spec[field] = [_with_index(container) for container in spec[field]]
    return {**pod, "spec": spec}


def _with_index(container: Obj) -> Obj:
    variables = container.get("env") or []
    if any(each["name"] == "JOB_COMPLETION_INDEX" for each in variables):
        return container
    source = {"fieldRef": {"fieldPath": f"metadata.labels['{INDEX}']"}}
    return {**container, "env": [*variables, {"name": "JOB_COMPLETION_INDEX", "valueFrom": source}]}


class JobController:
    """Keyed by Job."""

    def __init__(self, context: Context) -> None:
        self._client, self._clock = context.client, context.clock
        self.controller = Controller("job-controller", context, self.sync, workers=5)
        self._control = PodControl(context, JOBS, self.controller, _selector_of)
        self._control.pods.add_index(_BY_UID, _owning_job)
        self._backoffs: dict[str, Backoff] = {}
        self.controller.watch(self._control.owners, own_key)
        self.controller.watch(self._control.pods, self._control.keys_of)

    async def sync(self, key: Key) -> None:
        """Take the next step of one job."""
        job = self._control.owners.get(*key)
        await self._release_orphans(key, job)
        if job is None:
            self._control.forget(key)
            return
        if job["spec"].get("managedBy") not in (None, _OURS):
            return
        uid = job["metadata"]["uid"]
        if is_finished(job) or "deletionTimestamp" in job["metadata"]:
            self._backoffs.pop(uid, None)
            await self._release(self._control.pods.by_index(_BY_UID, uid))
            return
        pods = await self._control.claim(job)
        decided = plan(
            job,
            pods,
            self._backoffs.get(uid, Backoff()),
            self._clock.now(),
            settled=self._control.settled(key, pods),
        )
        await self._carry_out(job, decided)

    async def _carry_out(self, job: Obj, decided: JobPlan) -> None:
        key, recorder = key_of(job), self.controller.recorder
        if decided.status != job.get("status"):
            try:
                await self._client.update(JOBS, {**job, "status": decided.status}, subresource="status")
            except NotFound:
                return
        # Only now, with the status written, has what newly ended been seen once and for all.
        self._backoffs[job["metadata"]["uid"]] = decided.backoff
        for kind, reason, message in decided.events:
            recorder.event(job, kind, reason, message)
        await self._release(decided.release)
        failure: str | None = None
        for pod in decided.delete:
            failure = await self._control.delete(job, pod) or failure
        failure = await self._control.create_all(job, [job_pod(job, each) for each in decided.create]) or failure
        if failure is not None:
            self.controller.queue.add_after(key, 1.0)
        if decided.wake_seconds is not None:
            self.controller.queue.add_after(key, decided.wake_seconds)

    async def _release_orphans(self, key: Key, job: Obj | None) -> None:
        """Pods whose job is gone are accounted for by nobody."""
        uid = job["metadata"]["uid"] if job is not None else ""
        namespace, name = key
        lost = []
        for pod in self._control.pods.by_index("namespace", namespace):
            owner = controller_of(pod)
            ours = owner is not None and owner["kind"] == JOBS.kind and owner["name"] == name
            if owner is not None and ours and owner["uid"] != uid and has_finalizer(pod):
                lost.append(pod)
        await self._release(lost)

    async def _release(self, pods: list[Obj]) -> None:
        held = [pod for pod in pods if has_finalizer(pod)]
        for start in range(0, len(held), _PARALLEL_RELEASES):
            await asyncio.gather(*(self._release_one(pod) for pod in held[start : start + _PARALLEL_RELEASES]))

    async def _release_one(self, pod: Obj) -> None:
        namespace, name = key_of(pod)
        patch = {"metadata": {"uid": pod["metadata"]["uid"], "$deleteFromPrimitiveList/finalizers": [FINALIZER]}}
        try:
            await self._client.patch(PODS, name, patch, namespace=namespace, kind="strategic")
        except NotFound:
            return


def _owning_job(pod: Obj) -> list[str]:
    owner = controller_of(pod)
    return [owner["uid"]] if owner is not None and owner["kind"] == JOBS.kind else []


def _selector_of(job: Obj) -> LabelSelector:
    return parse_label_selector_object(job["spec"]["selector"])
