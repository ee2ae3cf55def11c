"""Binds claims to volumes, and says where each stands: upstream's persistentvolume-controller.

Volumes are made by provisioners, which are told so by an annotation; ours is in controllers/localvolumes.py.

Claims of a class that waits for a consumer are left to the scheduler until it has kept a volume or named a node.
"""

from __future__ import annotations

from sparsam.controllers.runtime import Context, Controller, Key, Obj
from sparsam.controllers.volumeprotection import claims_of
from sparsam.errors import Conflict, NotFound
from sparsam.objects.kinds import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS, STORAGECLASSES, Resource
from sparsam.objects.localvolumes import PROVISIONED_BY
from sparsam.scheduling.claims import (
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    CLASS_ANNOTATION,
    NO_PROVISIONER,
    Claim,
    StorageClass,
    by_preference,
    compile_claim,
    compile_class,
    compile_volume,
    kept_for,
)

DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
PROVISIONER = "volume.kubernetes.io/storage-provisioner"
_OLD_PROVISIONER = "volume.beta.kubernetes.io/storage-provisioner"


class VolumeController:
    """Keyed by claim, or by volume with an empty namespace."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._claims = context.informer(PERSISTENTVOLUMECLAIMS)
        self._volumes = context.informer(PERSISTENTVOLUMES)
        self._classes = context.informer(STORAGECLASSES)
        self._pods = context.informer(PODS)
        self._pods.add_index("claim", claims_of)
        # One worker: two claims never choose the same volume.
        self.controller = Controller("persistentvolume-controller", context, self.sync, workers=1)
        self.controller.watch(self._claims, _claim_keys)
        self.controller.watch(self._volumes, self._volume_keys)
        self.controller.watch(self._classes, lambda _: self._waiting())

    async def sync(self, key: Key) -> None:
        """Bring one claim or volume in order."""
        namespace, name = key
        if not namespace:
            volume = self._volumes.get("", name)
            if volume is not None:
                await self._sync_volume(volume)
            return
        claim = self._claims.get(namespace, name)
        if claim is None:
            return
        if BIND_COMPLETED in _annotations(claim):
            await self._sync_bound(claim)
        elif "deletionTimestamp" not in claim["metadata"]:
            await self._sync_unbound(claim)

    # -- claims ---------------------------------------------------------------------------------------------

    async def _sync_bound(self, claim: Obj) -> None:
        volume = self._volumes.get("", claim["spec"].get("volumeName", ""))
        if volume is None:
            await self._lose(
                claim, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!"
            )
            return
        uid = (volume["spec"].get("claimRef") or {}).get("uid")
        if uid in (None, "", claim["metadata"]["uid"]):
            await self._bind(claim, volume)
        else:
            why = "Two claims are bound to the same volume, this one is bound incorrectly"
            await self._lose(claim, "ClaimMisbound", why)

    async def _sync_unbound(self, claim: Obj) -> None:
        claim = await self._with_class(claim)
        compiled = compile_claim(claim)
        volume = self._wanted(compiled) if compiled.volume else self._best(compiled)
        if volume is not None:
            await self._bind(claim, volume)
            return
        if (claim.get("status") or {}).get("phase") != "Pending":
            await self._set_status(PERSISTENTVOLUMECLAIMS, claim, {"phase": "Pending"})
        if not compiled.volume:
            await self._explain(claim, compiled)

    async def _explain(self, claim: Obj, compiled: Claim) -> None:
        known = self._class(compiled.class_name)
        if known is not None and known.waits and not compiled.selected_node:
            reason, why = self._waits_for(claim)
            self.controller.recorder.event(claim, "Normal", reason, why)
        elif known is None and compiled.class_name:
            why = f'storageclass.storage.k8s.io "{compiled.class_name}" not found'
            self.controller.recorder.event(claim, "Warning", "ProvisioningFailed", why)
        elif known is None or known.provisioner == NO_PROVISIONER:
            why = "no persistent volumes available for this claim and no storage class is set"
            self.controller.recorder.event(claim, "Normal", "FailedBinding", why)
        else:
            if _annotations(claim).get(PROVISIONER) != known.provisioner:
                await self._annotate(claim, {PROVISIONER: known.provisioner, _OLD_PROVISIONER: known.provisioner})
            why = (
                "Waiting for a volume to be created either by the external provisioner "
                f"'{known.provisioner}' or manually by the system administrator. If volume creation is delayed, "
                "please verify that the provisioner is running and correctly registered."
            )
            self.controller.recorder.event(claim, "Normal", "ExternalProvisioning", why)

    def _waits_for(self, claim: Obj) -> tuple[str, str]:
        """(reason, message): for a pod that wants the claim, or for such pods to be placed."""
        users = self._pods.by_index("claim", f"{claim['metadata']['namespace']}/{claim['metadata']['name']}")
        names = sorted(pod["metadata"]["name"] for pod in users if not pod["spec"].get("nodeName"))
        if not names:
            return "WaitForFirstConsumer", "waiting for first consumer to be created before binding"
        pods = "pod" if len(names) == 1 else "pods"
        return "WaitForPodScheduled", f"waiting for {pods} {','.join(names)} to be scheduled"

    def _best(self, claim: Claim) -> Obj | None:
        """The volume kept for the claim, or the best one that is free if its class does not wait."""
        known = self._class(claim.class_name)
        found = by_preference(claim, (compile_volume(each) for each in self._volumes.items()))
        if known is not None and known.waits:
            found = [each for each in found if each.claim]
        return self._volumes.get("", found[0].name) if found else None

    def _wanted(self, claim: Claim) -> Obj | None:
        """The volume that the claim names, unless another claim has it."""
        volume = self._volumes.get("", claim.volume)
        if volume is None:
            return None
        compiled = compile_volume(volume)
        free = not compiled.claim or (compiled.claim == claim.key and compiled.claim_uid in ("", claim.uid))
        return volume if free else None

    async def _with_class(self, claim: Obj) -> Obj:
        """A claim that names no class gets the default one, also later: KEP-3333."""
        if claim["spec"].get("storageClassName") is not None or CLASS_ANNOTATION in _annotations(claim):
            return claim
        defaults = [each for each in self._classes.items() if _annotations(each).get(DEFAULT_CLASS) == "true"]
        if not defaults:
            return claim
        newest = max(defaults, key=lambda each: (each["metadata"]["creationTimestamp"], each["metadata"]["name"]))
        spec = {**claim["spec"], "storageClassName": newest["metadata"]["name"]}
        return await self._client.update(PERSISTENTVOLUMECLAIMS, {**claim, "spec": spec})

    def _class(self, name: str) -> StorageClass | None:
        found = self._classes.get("", name) if name else None
        return compile_class(found) if found is not None else None

    async def _lose(self, claim: Obj, reason: str, why: str) -> None:
        if (claim.get("status") or {}).get("phase") != "Lost":
            await self._set_status(PERSISTENTVOLUMECLAIMS, claim, {"phase": "Lost"})
            self.controller.recorder.event(claim, "Warning", reason, why)

    # -- both -----------------------------------------------------------------------------------------------

    async def _bind(self, claim: Obj, volume: Obj) -> None:
        """Volume first: whatever stops this half-way, the volume is nobody else's, and the rest is done next time."""
        if (volume["spec"].get("claimRef") or {}).get("uid") != claim["metadata"]["uid"]:
            volume = await self._client.update(PERSISTENTVOLUMES, kept_for(volume, claim))
        if (volume.get("status") or {}).get("phase") != "Bound":
            await self._set_status(PERSISTENTVOLUMES, volume, {"phase": "Bound"})
        annotations, name = _annotations(claim), volume["metadata"]["name"]
        if BIND_COMPLETED not in annotations or claim["spec"].get("volumeName") != name:
            marks = {BIND_COMPLETED: "yes"} | ({} if claim["spec"].get("volumeName") else {BOUND_BY_CONTROLLER: "yes"})
            claim = await self._client.update(
                PERSISTENTVOLUMECLAIMS,
                {
                    **claim,
                    "metadata": {**claim["metadata"], "annotations": {**annotations, **marks}},
                    "spec": {**claim["spec"], "volumeName": name},
                },
            )
        known = claim.get("status") or {}
        status = {"phase": "Bound", "accessModes": volume["spec"].get("accessModes") or []}
        if known.get("phase") != "Bound":  # later on it is whoever grows the volume that says what the claim holds
            status["capacity"] = volume["spec"].get("capacity") or {}
        if any(known.get(field) != value for field, value in status.items()):
            await self._set_status(PERSISTENTVOLUMECLAIMS, claim, status)

    # -- volumes --------------------------------------------------------------------------------------------

    async def _sync_volume(self, volume: Obj) -> None:
        reference = volume["spec"].get("claimRef") or {}
        phase = (volume.get("status") or {}).get("phase")
        if not reference.get("uid"):
            if phase != "Available":
                await self._set_status(PERSISTENTVOLUMES, volume, {"phase": "Available"})
            return
        claim = self._claims.get(reference.get("namespace", ""), reference.get("name", ""))
        if claim is not None and claim["metadata"]["uid"] == reference["uid"]:
            self.controller.queue.add((claim["metadata"]["namespace"], claim["metadata"]["name"]))
        elif phase not in ("Released", "Failed"):
            await self._set_status(PERSISTENTVOLUMES, volume, {"phase": "Released"})
        elif phase == "Released":
            await self._reclaim(volume)

    async def _reclaim(self, volume: Obj) -> None:
        """Retain keeps it, what a provisioner made that provisioner deletes, and nobody here can delete others."""
        policy = volume["spec"].get("persistentVolumeReclaimPolicy")
        if policy in (None, "Retain") or PROVISIONED_BY in _annotations(volume):
            return
        what, reason = (
            ("deletable", "VolumeFailedDelete") if policy == "Delete" else ("recyclable", "VolumeFailedRecycle")
        )
        why = f"no {what} volume plugin matched"
        await self._set_status(PERSISTENTVOLUMES, volume, {"phase": "Failed", "message": why})
        self.controller.recorder.event(volume, "Warning", reason, why)

    async def _annotate(self, claim: Obj, annotations: dict[str, str]) -> None:
        patch = {"metadata": {"annotations": annotations, "uid": claim["metadata"]["uid"]}}
        metadata = claim["metadata"]
        await self._client.patch(PERSISTENTVOLUMECLAIMS, metadata["name"], patch, namespace=metadata["namespace"])

    async def _set_status(self, resource: Resource, obj: Obj, status: Obj) -> None:
        metadata = obj["metadata"]
        patch = {"metadata": {"uid": metadata["uid"]}, "status": status}
        try:
            await self._client.patch(
                resource, metadata["name"], patch, namespace=metadata.get("namespace", ""), subresource="status"
            )
        except (NotFound, Conflict):
            return

    def _volume_keys(self, volume: Obj) -> list[Key]:
        """The volume, its claim, and claims that wait for such a volume."""
        reference = volume["spec"].get("claimRef") or {}
        of_volume: list[Key] = [("", volume["metadata"]["name"])]
        if reference.get("name"):
            return [*of_volume, (reference.get("namespace", ""), reference["name"])]
        return [*of_volume, *self._waiting()]

    def _waiting(self) -> list[Key]:
        return [
            key
            for each in self._claims.items()
            if BIND_COMPLETED not in _annotations(each)
            for key in _claim_keys(each)
        ]


def _annotations(obj: Obj) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def _claim_keys(claim: Obj) -> list[Key]:
    """The claim, and the volume that it has: what becomes of the one concerns the other."""
    metadata, name = claim["metadata"], claim["spec"].get("volumeName")
    own: list[Key] = [(metadata["namespace"], metadata["name"])]
    return [*own, ("", name)] if name else own
