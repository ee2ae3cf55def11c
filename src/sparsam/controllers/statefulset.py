"""Keeps a StatefulSet's pods: each with a name, a place in the order, and claims of its own.

What to do next comes from `statefulset_plan` (pure). Names, labels, events and the claims' owners are upstream's.
"""

from __future__ import annotations

from typing import Any

from sparsam.controllers.history import REVISION_LABEL, Histories, History, template_of
from sparsam.controllers.podcontrol import PodControl, next_available_seconds, pod_of
from sparsam.controllers.runtime import Context, Controller, Key, Obj, controller_reference, key_of, own_key, owner_key
from sparsam.controllers.statefulset_plan import Create, Delete, first_ordinal, ordinal_of, plan
from sparsam.errors import AlreadyExists, Conflict, Forbidden, Invalid, NotFound, StatusError
from sparsam.objects.kinds import PERSISTENTVOLUMECLAIMS, PODS, STATEFULSETS
from sparsam.objects.selectors import LabelSelector, parse_label_selector_object

POD_NAME_LABEL = "statefulset.kubernetes.io/pod-name"
POD_INDEX_LABEL = "apps.kubernetes.io/pod-index"
_RETRY_SECONDS = 1.0


def stateful_pod(stateful_set: Obj, ordinal: int, revision: Obj) -> Obj:
    """The pod of an ordinal, of the template that the revision keeps."""
    set_name, spec = stateful_set["metadata"]["name"], stateful_set["spec"]
    name = f"{set_name}-{ordinal}"
    pod = pod_of(template_of(revision), stateful_set, STATEFULSETS, name=name)
    pod["metadata"]["labels"] |= {
        POD_NAME_LABEL: name,
        POD_INDEX_LABEL: str(ordinal),
        REVISION_LABEL: revision["metadata"]["name"],
    }
    claimed = [template["metadata"]["name"] for template in spec.get("volumeClaimTemplates") or ()]
    kept = [volume for volume in pod["spec"].get("volumes") or () if volume["name"] not in claimed]
    own = [{"name": each, "persistentVolumeClaim": {"claimName": claim_name(each, name)}} for each in claimed]
    pod["spec"] = {**pod["spec"], "hostname": name, "subdomain": spec.get("serviceName") or "", "volumes": own + kept}
    return pod


def claim_name(template: str, pod: str) -> str:
    """The claim of a pod from a claim template."""
    return f"{template}-{pod}"


def claims_of(stateful_set: Obj, pod_name: str) -> list[Obj]:
    """The claims that a pod needs."""
    labels = (stateful_set["spec"]["selector"] or {}).get("matchLabels") or {}
    claims = []
    for template in stateful_set["spec"].get("volumeClaimTemplates") or ():
        metadata = template["metadata"]
        claims.append(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {
                    "name": claim_name(metadata["name"], pod_name),
                    "namespace": stateful_set["metadata"]["namespace"],
                    "labels": {**(metadata.get("labels") or {}), **labels},
                    "annotations": dict(metadata.get("annotations") or {}),
                },
                "spec": template["spec"],
            }
        )
    return claims


def claim_owners(claim: Obj, stateful_set: Obj, pod: Obj) -> list[Obj]:
    """A claim's owners as the retention policy has it: it goes with the set, with a pod scaled away, or stays."""
    spec = stateful_set["spec"]
    policy = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    ordinal = ordinal_of(stateful_set["metadata"]["name"], pod["metadata"]["name"]) or 0
    start = first_ordinal(spec)
    scaled_away = not start <= ordinal < start + spec["replicas"]
    others = [
        reference
        for reference in claim["metadata"].get("ownerReferences") or ()
        if reference["uid"] not in (stateful_set["metadata"]["uid"], pod["metadata"]["uid"])
    ]
    if scaled_away and policy.get("whenScaled") == "Delete":
        return [*others, controller_reference(pod, PODS)]
    if policy.get("whenDeleted") == "Delete":
        return [*others, controller_reference(stateful_set, STATEFULSETS)]
    return others


class StatefulSetController:
    """Keyed by StatefulSet."""

    def __init__(self, context: Context) -> None:
        self._client, self._clock = context.client, context.clock
        self.controller = Controller("statefulset-controller", context, self.sync, workers=4)
        self._control = PodControl(context, STATEFULSETS, self.controller, _selector_of)
        self._history = History(context, STATEFULSETS)
        self._claims = context.informer(PERSISTENTVOLUMECLAIMS)
        self.controller.watch(self._control.owners, own_key)
        self.controller.watch(self._control.pods, self._control.keys_of)
        self.controller.watch(self._history.revisions, owner_key(STATEFULSETS.kind))
        self.controller.needs(self._claims)

    async def sync(self, key: Key) -> None:
        """Take the next step of one set."""
        stateful_set = self._control.owners.get(*key)
        if stateful_set is None:
            self._control.forget(key)
            return
        if "deletionTimestamp" in stateful_set["metadata"]:
            return  # what it owns goes by its owner references
        name = stateful_set["metadata"]["name"]
        pods = await self._control.claim(
            stateful_set, lambda pod: ordinal_of(name, pod["metadata"]["name"]) is not None
        )
        history = await self._history.of(stateful_set)
        by_name = {each["metadata"]["name"]: each for each in history.all}
        current = stateful_set.get("status", {}).get("currentRevision", "")
        update = history.update["metadata"]["name"]
        current = current if current in by_name else update
        now = self._clock.now()
        decided = plan(stateful_set, pods, (current, update), now)
        await self._report(stateful_set, decided.status, history)
        failure = await self._own_claims(stateful_set, pods)
        for action in decided.actions:
            failure = await self._act(stateful_set, action, by_name) or failure
        if failure is not None:
            self.controller.queue.add_after(key, _RETRY_SECONDS)
        await self._history.truncate(stateful_set, history, {current, *_revisions_of(pods)})
        seconds = next_available_seconds(pods, stateful_set["spec"].get("minReadySeconds", 0), now)
        if seconds is not None:
            self.controller.queue.add_after(key, seconds)

    async def _act(self, stateful_set: Obj, action: Create | Delete, revisions: dict[str, Obj]) -> str | None:
        if isinstance(action, Create):
            return await self._create(
                stateful_set, stateful_pod(stateful_set, action.ordinal, revisions[action.revision])
            )
        return await self._delete(stateful_set, action)

    async def _create(self, stateful_set: Obj, pod: Obj) -> str | None:
        name, set_name = pod["metadata"]["name"], stateful_set["metadata"]["name"]
        failure = await self._make_claims(stateful_set, name)
        if failure is not None:
            return failure
        recorder = self.controller.recorder
        try:
            await self._client.create(PODS, pod)
        except AlreadyExists as error:
            return str(error)
        except (Forbidden, Invalid, NotFound, Conflict) as error:
            message = f"create Pod {name} in StatefulSet {set_name} failed error: {error}"
            recorder.event(stateful_set, "Warning", "FailedCreate", message)
            return str(error)
        message = f"create Pod {name} in StatefulSet {set_name} successful"
        recorder.event(stateful_set, "Normal", "SuccessfulCreate", message)
        return None

    async def _make_claims(self, stateful_set: Obj, pod: str) -> str | None:
        set_name, recorder = stateful_set["metadata"]["name"], self.controller.recorder
        for claim in claims_of(stateful_set, pod):
            name = claim["metadata"]["name"]
            if self._claims.get(*key_of(claim)) is not None:
                continue
            words = f"create Claim {name} Pod {pod} in StatefulSet {set_name}"
            try:
                await self._client.create(PERSISTENTVOLUMECLAIMS, claim)
            except AlreadyExists:
                continue
            except StatusError as error:
                recorder.event(stateful_set, "Warning", "FailedCreate", f"{words} failed error: {error}")
                return str(error)
            recorder.event(stateful_set, "Normal", "SuccessfulCreate", f"{words} success")
        return None

    async def _delete(self, stateful_set: Obj, action: Delete) -> str | None:
        namespace, name = key_of(action.pod)
        set_name, recorder = stateful_set["metadata"]["name"], self.controller.recorder
        if action.recreated:
            word = _ended_word(action.pod)
            message = f"StatefulSet {namespace}/{set_name} is recreating {word} Pod {name}"
            kind = "Warning" if word == "failed" else "Normal"
            recorder.event(stateful_set, kind, f"Recreating{word.capitalize()}Pod", message)
        words = f"delete Pod {name} in StatefulSet {set_name}"
        try:
            await self._client.delete(PODS, name, namespace, uid=action.pod["metadata"]["uid"])
        except (NotFound, Conflict):
            return None
        except StatusError as error:
            recorder.event(stateful_set, "Warning", "FailedDelete", f"{words} failed error: {error}")
            return str(error)
        recorder.event(stateful_set, "Normal", "SuccessfulDelete", f"{words} successful")
        return None

    async def _own_claims(self, stateful_set: Obj, pods: list[Obj]) -> str | None:
        """Bring the owners of the pods' claims in line with the retention policy; missing claims are made again."""
        failure: str | None = None
        for pod in pods:
            for wanted in claims_of(stateful_set, pod["metadata"]["name"]):
                claim = self._claims.get(*key_of(wanted))
                if claim is None:
                    if pod.get("status", {}).get("phase") == "Pending" and "deletionTimestamp" not in pod["metadata"]:
                        failure = await self._make_claims(stateful_set, pod["metadata"]["name"]) or failure
                    continue
                owners = claim_owners(claim, stateful_set, pod)
                if owners != (claim["metadata"].get("ownerReferences") or []):
                    await self._patch_owners(claim, owners)
        return failure

    async def _patch_owners(self, claim: Obj, owners: list[Obj]) -> None:
        metadata = {"resourceVersion": claim["metadata"]["resourceVersion"], "ownerReferences": owners or None}
        namespace, name = key_of(claim)
        try:
            await self._client.patch(PERSISTENTVOLUMECLAIMS, name, {"metadata": metadata}, namespace=namespace)
        except NotFound:
            return

    async def _report(self, stateful_set: Obj, status: Obj, history: Histories) -> None:
        status = {**status, "collisionCount": history.collisions}
        if status != stateful_set.get("status"):
            try:
                await self._client.update(STATEFULSETS, {**stateful_set, "status": status}, subresource="status")
            except NotFound:
                return


def _selector_of(stateful_set: Obj) -> LabelSelector:
    return parse_label_selector_object(stateful_set["spec"]["selector"])


def _revisions_of(pods: list[Obj]) -> set[Any]:
    return {(pod["metadata"].get("labels") or {}).get(REVISION_LABEL, "") for pod in pods}


def _ended_word(pod: Obj) -> str:
    return "failed" if pod["status"]["phase"] == "Failed" else "terminated"
