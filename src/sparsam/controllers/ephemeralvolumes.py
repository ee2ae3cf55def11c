"""Makes the claims of ephemeral volumes, owned by their pods and gone with them: KEP-1698."""

from __future__ import annotations

from sparsam.controllers.runtime import Context, Controller, Key, Obj, controller_of, controller_reference
from sparsam.errors import AlreadyExists, SparsamError
from sparsam.objects.kinds import PERSISTENTVOLUMECLAIMS, PODS
from sparsam.scheduling.podvolumes import claim_name


class EphemeralVolumes:
    """Keyed by pod."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._pods = context.informer(PODS)
        self._claims = context.informer(PERSISTENTVOLUMECLAIMS)
        self.controller = Controller("ephemeral-volume", context, self.sync, workers=1)
        self.controller.watch(self._pods, _if_ephemeral)
        self.controller.watch(self._claims, _owner_pod)

    async def sync(self, key: Key) -> None:
        """Create what a pod lacks."""
        pod = self._pods.get(*key)
        if pod is None or "deletionTimestamp" in pod["metadata"]:
            return
        for volume in pod["spec"].get("volumes") or ():
            if "ephemeral" in volume:
                await self._ensure(pod, volume)

    async def _ensure(self, pod: Obj, volume: Obj) -> None:
        namespace, name = pod["metadata"]["namespace"], claim_name(pod["metadata"]["name"], volume)
        known = self._claims.get(namespace, name)
        if known is not None:
            owner = controller_of(known) or {}
            if owner.get("uid") != pod["metadata"]["uid"]:
                raise SparsamError(f'PVC "{namespace}/{name}" was not created for pod (pod is not owner)')
            return
        template = volume["ephemeral"].get("volumeClaimTemplate") or {}
        of_template = template.get("metadata") or {}
        metadata: Obj = {"name": name, "namespace": namespace, "ownerReferences": [controller_reference(pod, PODS)]}
        metadata |= {field: of_template[field] for field in ("labels", "annotations") if of_template.get(field)}
        claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": template["spec"]}
        try:
            await self._client.create(PERSISTENTVOLUMECLAIMS, claim)
        except AlreadyExists:
            return


def _if_ephemeral(pod: Obj) -> list[Key]:
    ephemeral = any("ephemeral" in volume for volume in pod["spec"].get("volumes") or ())
    return [(pod["metadata"]["namespace"], pod["metadata"]["name"])] if ephemeral else []


def _owner_pod(claim: Obj) -> list[Key]:
    owner = controller_of(claim)
    return [(claim["metadata"]["namespace"], owner["name"])] if owner and owner["kind"] == "Pod" else []
