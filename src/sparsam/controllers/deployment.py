"""Rolls a Deployment's template out over ReplicaSets, one per revision.

Sizes come from `rollout` (pure); this file finds the sets, applies sizes, keeps revisions and reports. Conditions,
reasons, annotations and events are upstream's.
"""

from __future__ import annotations

import logging

from sparsam.clock import format_time
from sparsam.controllers.deployment_status import (
    Words,
    deadline_left,
    deployment_counts,
    deployment_status,
    is_complete,
    json_name,
    set_condition,
)
from sparsam.controllers.podcontrol import is_active
from sparsam.controllers.rollout import SetSize, bounds, new_set_size, old_set_sizes, proportional_sizes
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
from sparsam.controllers.templatehash import template_hash
from sparsam.errors import AlreadyExists, NotFound
from sparsam.objects.kinds import DEPLOYMENTS, PODS, REPLICASETS
from sparsam.objects.selectors import parse_label_selector_object

log = logging.getLogger(__name__)

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MAX = "deployment.kubernetes.io/max-replicas"
_OWN_ANNOTATIONS = frozenset({REVISION, HISTORY, DESIRED, MAX, "kubectl.kubernetes.io/last-applied-configuration"})


def same_template(replica_set: Obj, deployment: Obj) -> bool:
    """Whether a set runs the deployment's present template, the hash label aside."""
    return _without_hash(replica_set["spec"]["template"]) == _without_hash(deployment["spec"]["template"])


def _without_hash(template: Obj) -> Obj:
    metadata = dict(template.get("metadata") or {})
    metadata["labels"] = {key: value for key, value in (metadata.get("labels") or {}).items() if key != HASH_LABEL}
    metadata.pop("creationTimestamp", None)
    return {**template, "metadata": metadata}


def revision_of(obj: Obj) -> int:
    """The revision annotation as a number; 0 when it is missing or spoilt."""
    text = (obj["metadata"].get("annotations") or {}).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def size_of(replica_set: Obj) -> SetSize:
    """The set as the rollout planner sees it."""
    annotations = replica_set["metadata"].get("annotations") or {}
    known = annotations.get(MAX, "0")
    return SetSize(
        name=replica_set["metadata"]["name"],
        wanted=replica_set["spec"]["replicas"],
        available=replica_set.get("status", {}).get("availableReplicas", 0),
        created=replica_set["metadata"]["creationTimestamp"],
        max_replicas=int(known) if known.isdigit() else 0,
    )


class DeploymentController:
    """Keyed by Deployment."""

    def __init__(self, context: Context) -> None:
        self._client, self._clock = context.client, context.clock
        self._deployments = context.informer(DEPLOYMENTS)
        self._sets = context.informer(REPLICASETS)
        self._pods = context.informer(PODS)
        self._sets.add_index("namespace", lambda each: [each["metadata"]["namespace"]])
        self._pods.add_index("namespace", lambda pod: [pod["metadata"]["namespace"]])
        self.controller = Controller("deployment-controller", context, self.sync, workers=8)
        self.controller.watch(self._deployments, own_key)
        self.controller.watch(self._sets, owner_key(DEPLOYMENTS.kind))
        self.controller.watch(self._pods, self._recreating)

    async def sync(self, key: Key) -> None:
        """Take one step of a rollout."""
        deployment = self._deployments.get(*key)
        if deployment is None:
            return
        sets = await self._claim(deployment)
        if "deletionTimestamp" in deployment["metadata"]:
            await self._report(deployment, sets, None)
            return
        new = self._newest_match(deployment, sets)
        if deployment["spec"].get("paused"):
            await self._resize(deployment, sets, new)
            await self._report(deployment, sets, new)
            return
        new = await self._new_set(deployment, sets, new)
        if new is None:
            return
        sets = [each for each in sets if each["metadata"]["uid"] != new["metadata"]["uid"]] + [new]
        deployment = await self._take_revision(deployment, new)
        if await self._resize(deployment, sets, new):
            return
        await self._roll(deployment, sets, new)
        await self._report(deployment, sets, new)
        if self._complete(deployment, new, sets):
            await self._forget_old(deployment, sets, new)

    def _recreating(self, pod: Obj) -> list[Key]:
        """Recreate waits for pods to be gone, which no ReplicaSet's status tells."""
        owner = controller_of(pod)
        if owner is None or owner["kind"] != REPLICASETS.kind:
            return []
        replica_set = self._sets.get(pod["metadata"]["namespace"], owner["name"])
        above = controller_of(replica_set) if replica_set is not None else None
        if above is None or above["kind"] != DEPLOYMENTS.kind:
            return []
        deployment = self._deployments.get(pod["metadata"]["namespace"], above["name"])
        if deployment is None or (deployment["spec"].get("strategy") or {}).get("type") != "Recreate":
            return []
        return [key_of(deployment)]

    async def _claim(self, deployment: Obj) -> list[Obj]:
        """The deployment's sets, oldest first; matching orphans are adopted."""
        selector = parse_label_selector_object(deployment["spec"]["selector"])
        uid, mine = deployment["metadata"]["uid"], []
        for each in self._sets.by_index("namespace", deployment["metadata"]["namespace"]):
            owner = controller_of(each)
            matches = selector.matches(each["metadata"].get("labels") or {})
            if owner is not None:
                if owner["uid"] == uid and matches:
                    mine.append(each)
            elif matches and "deletionTimestamp" not in deployment["metadata"]:
                adopted = await self._adopt(deployment, each)
                if adopted is not None:
                    mine.append(adopted)
        return sorted(mine, key=lambda each: (each["metadata"]["creationTimestamp"], each["metadata"]["name"]))

    async def _adopt(self, deployment: Obj, replica_set: Obj) -> Obj | None:
        metadata = replica_set["metadata"]
        owners = [*(metadata.get("ownerReferences") or ()), controller_reference(deployment, DEPLOYMENTS)]
        patch = {
            "metadata": {
                "uid": metadata["uid"],
                "resourceVersion": metadata["resourceVersion"],
                "ownerReferences": owners,
            }
        }
        try:
            return await self._client.patch(REPLICASETS, metadata["name"], patch, namespace=metadata["namespace"])
        except NotFound:
            return None

    def _newest_match(self, deployment: Obj, sets: list[Obj]) -> Obj | None:
        return next((each for each in sets if same_template(each, deployment)), None)

    async def _new_set(self, deployment: Obj, sets: list[Obj], new: Obj | None) -> Obj | None:
        """The set of the present template with its revision right; made when there is none."""
        revision = max((revision_of(each) for each in sets if each is not new), default=0) + 1
        if new is not None:
            revision = max(revision, revision_of(new)) if revision_of(new) >= revision else revision
            annotations = self._set_annotations(deployment, new, revision)
            least = deployment["spec"].get("minReadySeconds", 0)
            changed = annotations != (new["metadata"].get("annotations") or {})
            if changed or new["spec"].get("minReadySeconds", 0) != least:
                metadata = {**new["metadata"], "annotations": annotations}
                spec = {**new["spec"], "minReadySeconds": least}
                new = await self._client.update(REPLICASETS, {**new, "metadata": metadata, "spec": spec})
            return new
        return await self._create_set(deployment, sets, revision)

    async def _create_set(self, deployment: Obj, sets: list[Obj], revision: int) -> Obj | None:
        spec, metadata = deployment["spec"], deployment["metadata"]
        collisions = deployment.get("status", {}).get("collisionCount", 0)
        digest = template_hash(spec["template"], collisions)
        template = {**spec["template"], "metadata": {**(spec["template"].get("metadata") or {})}}
        template["metadata"]["labels"] = {**(template["metadata"].get("labels") or {}), HASH_LABEL: digest}
        selector = {
            **spec["selector"],
            "matchLabels": {**(spec["selector"].get("matchLabels") or {}), HASH_LABEL: digest},
        }
        old = [size_of(each) for each in sets]
        fresh = SetSize(f"{metadata['name']}-{digest}", 0, 0)
        size = new_set_size(spec, fresh, old)
        replica_set: Obj = {
            "apiVersion": REPLICASETS.api_version,
            "kind": REPLICASETS.kind,
            "metadata": {
                "name": fresh.name,
                "namespace": metadata["namespace"],
                "labels": template["metadata"]["labels"],
                "ownerReferences": [controller_reference(deployment, DEPLOYMENTS)],
            },
            "spec": {
                "replicas": size,
                "selector": selector,
                "template": template,
                "minReadySeconds": spec.get("minReadySeconds", 0),
            },
        }
        annotations = self._set_annotations(deployment, replica_set, revision)
        replica_set["metadata"]["annotations"] = {**annotations, **self._size_annotations(deployment)}
        try:
            created = await self._client.create(REPLICASETS, replica_set)
        except AlreadyExists:
            await self._name_taken(deployment, fresh.name)
            return None
        message = f"Created new replica set {json_name(fresh.name)}"
        await self._progress(deployment, ("True", "NewReplicaSetCreated", message))
        if size:
            self._say_scaled(deployment, created, 0, size)
        return created

    async def _name_taken(self, deployment: Obj, name: str) -> None:
        """Our own set that the cache does not show yet, or another's of the same name: then count the collision."""
        known = await self._client.get(REPLICASETS, name, deployment["metadata"]["namespace"])
        owner = controller_of(known)
        if owner is not None and owner["uid"] == deployment["metadata"]["uid"] and same_template(known, deployment):
            self.controller.queue.add_after(key_of(deployment), 0.1)
            return
        status = dict(deployment.get("status", {}))
        status["collisionCount"] = status.get("collisionCount", 0) + 1
        await self._client.update(DEPLOYMENTS, {**deployment, "status": status}, subresource="status")

    def _set_annotations(self, deployment: Obj, replica_set: Obj, revision: int) -> dict[str, str]:
        old = replica_set["metadata"].get("annotations") or {}
        inherited = {
            key: value
            for key, value in (deployment["metadata"].get("annotations") or {}).items()
            if key not in _OWN_ANNOTATIONS
        }
        # The sizes stay as they were when the set was last scaled: they tell how large its share of a change is.
        annotations = {**old, **inherited, REVISION: str(revision)}
        before = revision_of(replica_set)
        if before and before != revision:
            passed = [each for each in old.get(HISTORY, "").split(",") if each]
            annotations[HISTORY] = ",".join([*passed, str(before)])
        return annotations

    def _size_annotations(self, deployment: Obj) -> dict[str, str]:
        surge, _ = bounds(deployment["spec"])
        desired = deployment["spec"]["replicas"]
        return {DESIRED: str(desired), MAX: str(desired + surge)}

    async def _take_revision(self, deployment: Obj, new: Obj) -> Obj:
        annotations = deployment["metadata"].get("annotations") or {}
        revision = str(revision_of(new))
        if annotations.get(REVISION) == revision:
            return deployment
        metadata = {**deployment["metadata"], "annotations": {**annotations, REVISION: revision}}
        return await self._client.update(DEPLOYMENTS, {**deployment, "metadata": metadata})

    async def _resize(self, deployment: Obj, sets: list[Obj], new: Obj | None) -> bool:
        """Apply a change of `spec.replicas` to running sets; True when it was one."""
        desired = str(deployment["spec"]["replicas"])
        active = [each for each in sets if each["spec"]["replicas"] > 0]
        known = [(each["metadata"].get("annotations") or {}).get(DESIRED) for each in active]
        if not any(value is not None and value != desired for value in known):
            return False
        if len(active) == 1:
            await self._scale(deployment, active[0], deployment["spec"]["replicas"])
        elif new is not None and self._saturated(deployment, new):
            for each in active:
                if each is not new:
                    await self._scale(deployment, each, 0)
        else:
            sizes = proportional_sizes(deployment["spec"], [size_of(each) for each in reversed(active)])
            for each in active:
                await self._scale(deployment, each, sizes.get(each["metadata"]["name"], each["spec"]["replicas"]))
        return True

    def _saturated(self, deployment: Obj, new: Obj) -> bool:
        desired = deployment["spec"]["replicas"]
        return bool(
            new["spec"]["replicas"] == desired
            and (new["metadata"].get("annotations") or {}).get(DESIRED) == str(desired)
            and new.get("status", {}).get("availableReplicas", 0) == desired
        )

    async def _roll(self, deployment: Obj, sets: list[Obj], new: Obj) -> None:
        old = [each for each in sets if each["metadata"]["uid"] != new["metadata"]["uid"]]
        recreate = (deployment["spec"].get("strategy") or {}).get("type") == "Recreate"
        if recreate and (any(each["spec"]["replicas"] for each in old) or self._old_pods(deployment, old)):
            for each in old:
                await self._scale(deployment, each, 0)
            return
        size = new_set_size(deployment["spec"], size_of(new), [size_of(each) for each in old])
        if size != new["spec"]["replicas"]:
            await self._scale(deployment, new, size)
            return
        sizes = old_set_sizes(deployment["spec"], size_of(new), [size_of(each) for each in old])
        for each in old:
            if each["metadata"]["name"] in sizes:
                await self._scale(deployment, each, sizes[each["metadata"]["name"]])

    def _old_pods(self, deployment: Obj, old: list[Obj]) -> bool:
        uids = {each["metadata"]["uid"] for each in old}
        for pod in self._pods.by_index("namespace", deployment["metadata"]["namespace"]):
            owner = controller_of(pod)
            ended = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
            if owner is not None and owner["uid"] in uids and (is_active(pod) or not ended):
                return True
        return False

    async def _scale(self, deployment: Obj, replica_set: Obj, size: int) -> None:
        annotations = {**(replica_set["metadata"].get("annotations") or {}), **self._size_annotations(deployment)}
        before = replica_set["spec"]["replicas"]
        if size == before and annotations == replica_set["metadata"].get("annotations"):
            return
        metadata = {**replica_set["metadata"], "annotations": annotations}
        await self._client.update(
            REPLICASETS, {**replica_set, "metadata": metadata, "spec": {**replica_set["spec"], "replicas": size}}
        )
        if size != before:
            self._say_scaled(deployment, replica_set, before, size)

    def _say_scaled(self, deployment: Obj, replica_set: Obj, before: int, size: int) -> None:
        direction = "up" if size > before else "down"
        message = f"Scaled {direction} replica set {replica_set['metadata']['name']} from {before} to {size}"
        self.controller.recorder.event(deployment, "Normal", "ScalingReplicaSet", message)

    async def _progress(self, deployment: Obj, words: Words) -> None:
        conditions = deployment.get("status", {}).get("conditions") or []
        changed = set_condition(conditions, "Progressing", words, format_time(self._clock.now()))
        if changed is not conditions:
            patch = {"status": {"conditions": changed}}
            namespace, name = key_of(deployment)
            await self._client.patch(DEPLOYMENTS, name, patch, namespace=namespace, subresource="status")

    async def _report(self, deployment: Obj, sets: list[Obj], new: Obj | None) -> None:
        now = self._clock.now()
        status = deployment_status(deployment, sets, new, now)
        if status != deployment.get("status"):
            try:
                await self._client.update(DEPLOYMENTS, {**deployment, "status": status}, subresource="status")
            except NotFound:
                return
        left_seconds = deadline_left(deployment, status, now)
        if left_seconds is not None:
            self.controller.queue.add_after(key_of(deployment), left_seconds + 1)

    def _complete(self, deployment: Obj, new: Obj, sets: list[Obj]) -> bool:
        return is_complete(deployment, deployment_counts(deployment, sets, new))

    async def _forget_old(self, deployment: Obj, sets: list[Obj], new: Obj) -> None:
        limit = deployment["spec"].get("revisionHistoryLimit", 10)
        old = [each for each in sets if each["metadata"]["uid"] != new["metadata"]["uid"]]
        empty = [each for each in old if not each["spec"]["replicas"] and not each.get("status", {}).get("replicas")]
        empty.sort(key=lambda each: (revision_of(each), each["metadata"]["creationTimestamp"]))
        for each in empty[: max(len(old) - limit, 0)]:
            namespace, name = key_of(each)
            try:
                await self._client.delete(REPLICASETS, name, namespace, uid=each["metadata"]["uid"])
            except NotFound:
                continue
