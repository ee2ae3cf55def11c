"""Keeps claims that pods use, volumes that are bound, and their classes of attributes until they are free.

Then lets a pending deletion happen.
"""

from __future__ import annotations

from sparsam.client.api import ApiClient
from sparsam.controllers.runtime import Context, Controller, Key, Obj
from sparsam.errors import NotFound
from sparsam.objects.kinds import (
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    VOLUMEATTRIBUTESCLASSES,
    Resource,
)

CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"
ATTRIBUTES_FINALIZER = "kubernetes.io/vac-protection"


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
                await _release(self._client, PERSISTENTVOLUMECLAIMS, claim, CLAIM_FINALIZER)
        else:
            volume = self._volumes.get("", name)
            if volume is not None and volume.get("status", {}).get("phase") != "Bound":
                await _release(self._client, PERSISTENTVOLUMES, volume, VOLUME_FINALIZER)


class AttributesProtection:
    """Of VolumeAttributesClasses, which claims have, want or are on the way to, and volumes have."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._classes = context.informer(VOLUMEATTRIBUTESCLASSES)
        self._users = (context.informer(PERSISTENTVOLUMECLAIMS), context.informer(PERSISTENTVOLUMES))
        self.controller = Controller("attributes-protection", context, self.sync, workers=1)
        self.controller.watch(self._classes, _if_going)
        for users in self._users:
            users.add_index("attributes", attributes_of)
            self.controller.watch(users, lambda user: [("", name) for name in attributes_of(user)])

    async def sync(self, key: Key) -> None:
        """Take our finalizer off a class that is going and that nothing uses."""
        found = self._classes.get(*key)
        if found is not None and not any(users.by_index("attributes", key[1]) for users in self._users):
            await _release(self._client, VOLUMEATTRIBUTESCLASSES, found, ATTRIBUTES_FINALIZER)


def attributes_of(user: Obj) -> list[str]:
    """The VolumeAttributesClasses of a claim or of a volume, by name, each once."""
    status = user.get("status") or {}
    names = {
        user["spec"].get("volumeAttributesClassName"),
        status.get("currentVolumeAttributesClassName"),
        (status.get("modifyVolumeStatus") or {}).get("targetVolumeAttributesClassName"),
    }
    return [name for name in names if name]


async def _release(client: ApiClient, resource: Resource, obj: Obj, finalizer: str) -> None:
    metadata = obj["metadata"]
    if "deletionTimestamp" not in metadata or finalizer not in metadata.get("finalizers", ()):
        return
    kept = [each for each in metadata["finalizers"] if each != finalizer]
    try:
        await client.update(resource, {**obj, "metadata": {**metadata, "finalizers": kept}})
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
