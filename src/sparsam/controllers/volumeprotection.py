"""Keeps claims that pods use, and volumes that are bound, until they are free; then lets a pending deletion happen."""

from __future__ import annotations

from sparsam.controllers.runtime import Context, Controller, Key, Obj
from sparsam.errors import NotFound
from sparsam.objects.kinds import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS, Resource

CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"


class VolumeProtection:
    """Keyed by claim, or by volume with an empty namespace."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._claims = context.informer(PERSISTENTVOLUMECLAIMS)
        self._volumes = context.informer(PERSISTENTVOLUMES)
        self._pods = context.informer(PODS)
        self._pods.add_index("claim", claims_of)
        self.controller = Controller("volume-protection", context, self.sync, workers=1)
        self.controller.watch(self._claims, _if_going)
        self.controller.watch(self._volumes, _if_going)
        self.controller.watch(self._pods, lambda pod: [_split(each) for each in claims_of(pod)])

    async def sync(self, key: Key) -> None:
        """Take our finalizer off an object that is going and that nothing uses."""
        namespace, name = key
        if namespace:
            claim = self._claims.get(namespace, name)
            users = self._pods.by_index("claim", f"{namespace}/{name}")
            if claim is not None and not any(_uses(pod) for pod in users):
                await self._release(PERSISTENTVOLUMECLAIMS, claim, CLAIM_FINALIZER)
        else:
            volume = self._volumes.get("", name)
            if volume is not None and volume.get("status", {}).get("phase") != "Bound":
                await self._release(PERSISTENTVOLUMES, volume, VOLUME_FINALIZER)

    async def _release(self, resource: Resource, obj: Obj, finalizer: str) -> None:
        metadata = obj["metadata"]
        if "deletionTimestamp" not in metadata or finalizer not in metadata.get("finalizers", ()):
            return
        kept = [each for each in metadata["finalizers"] if each != finalizer]
        try:
            await self._client.update(resource, {**obj, "metadata": {**metadata, "finalizers": kept}})
        except NotFound:
            return


def _if_going(obj: Obj) -> list[Key]:
    metadata = obj["metadata"]
    return [(metadata.get("namespace", ""), metadata["name"])] if "deletionTimestamp" in metadata else []


def claims_of(pod: Obj) -> list[str]:
    """`namespace/name` of each claim that a pod uses."""
    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
    claims = []
    for volume in pod["spec"].get("volumes") or ():
        if "persistentVolumeClaim" in volume:
            claims.append(f"{namespace}/{volume['persistentVolumeClaim']['claimName']}")
        elif "ephemeral" in volume:
            claims.append(f"{namespace}/{name}-{volume['name']}")
    return claims


def _split(text: str) -> Key:
    namespace, _, name = text.partition("/")
    return namespace, name


def _uses(pod: Obj) -> bool:
    """A pod that ended, or that never got a node and is going, uses nothing any more."""
    if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return False
    return bool(pod["spec"].get("nodeName")) or "deletionTimestamp" not in pod["metadata"]
