"""Says which CSI volumes are to be attached to which nodes: upstream's attach-detach controller, CSI's part of it.

It makes and deletes VolumeAttachments; the driver's own attacher acts on them and says `attached`, for which nodes
wait. A volume stays attached while a pod of the node uses it and until the node's `volumesInUse` does not list it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sparsam.clock import parse_time
from sparsam.controllers.runtime import Context, Controller, Key, Obj, own_key
from sparsam.controllers.volumeprotection import claims_of
from sparsam.errors import AlreadyExists, NotFound
from sparsam.objects.attachments import attachment_name, is_attachment_name, volume_name
from sparsam.objects.kinds import (
    CSIDRIVERS,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    VOLUMEATTACHMENTS,
)

UNMOUNT_TIMEOUT = timedelta(minutes=6)
"""A node that has not been ready for so long is taken to use nothing any more, as upstream does."""
RECHECK_SECONDS = 30.0
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service"
_MULTI_ATTACH = "Volume is already exclusively attached to one node and can't be attached to another"


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do about one volume."""

    attach: tuple[str, ...] = ()
    """Nodes."""
    detach: tuple[str, ...] = ()
    """Names of VolumeAttachments."""
    barred: tuple[str, ...] = ()
    """Nodes that must wait until another one has given the volume up."""
    waits: bool = False
    """Whether some node still has it mounted, so that time alone may decide."""


class AttachDetach:
    """Keyed by PersistentVolume, with an empty namespace."""

    def __init__(self, context: Context) -> None:
        self._client, self._clock = context.client, context.clock
        self._volumes = context.informer(PERSISTENTVOLUMES)
        self._claims = context.informer(PERSISTENTVOLUMECLAIMS)
        self._attachments = context.informer(VOLUMEATTACHMENTS)
        self._drivers = context.informer(CSIDRIVERS)
        self._nodes = context.informer(NODES)
        self._pods = context.informer(PODS)
        self._pods.add_index("claim", claims_of)
        self._attachments.add_index("volume", _volume_of_own)
        self.controller = Controller("attachdetach-controller", context, self.sync, workers=2)
        self.controller.watch(self._volumes, lambda volume: own_key(volume) if "csi" in volume["spec"] else [])
        self.controller.watch(self._attachments, lambda each: [("", _volume_of(each))])
        self.controller.watch(self._pods, self._volumes_of_pod)
        self.controller.watch(self._nodes, self._volumes_at_node)
        self.controller.watch(self._drivers, self._volumes_of_driver)
        self.controller.needs(self._claims)
        self._attachments.add_handler(self._announce)

    async def sync(self, key: Key) -> None:
        """Bring the attachments of one volume in order."""
        name = key[1]
        volume = self._volumes.get("", name)
        attachments = self._attachments.by_index("volume", name)
        pods: list[Obj] = []
        if volume is not None and "csi" not in volume["spec"]:
            volume = None
        if volume is not None and self._is_attachable(volume):
            pods = self._users(volume)
        elif not attachments:
            return
        nodes = self._nodes_of(pods, attachments)
        decision = plan(volume, pods, attachments, nodes=nodes, now=self._clock.now())
        for node in decision.attach:
            await self._attach(name, node)
        for attachment in decision.detach:
            try:
                await self._client.delete(VOLUMEATTACHMENTS, attachment)
            except NotFound:
                continue
        for node in decision.barred:
            why = f'Multi-Attach error for volume "{name}" {_MULTI_ATTACH}'
            self._tell(pods, node, "Warning", "FailedAttachVolume", why)
        for each in attachments:
            error = ((each.get("status") or {}).get("attachError") or {}).get("message")
            if error:
                why = f'AttachVolume.Attach failed for volume "{name}" : {error}'
                self._tell(pods, each["spec"]["nodeName"], "Warning", "FailedAttachVolume", why)
        if decision.waits:
            self.controller.queue.add_after(key, RECHECK_SECONDS)

    async def _attach(self, name: str, node: str) -> None:
        volume = self._volumes.get("", name)
        if volume is None:
            return
        source = volume["spec"]["csi"]
        attachment = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "VolumeAttachment",
            "metadata": {"name": attachment_name(source["driver"], source["volumeHandle"], node)},
            "spec": {"attacher": source["driver"], "nodeName": node, "source": {"persistentVolumeName": name}},
        }
        try:
            await self._client.create(VOLUMEATTACHMENTS, attachment)
        except AlreadyExists:
            return

    def _announce(self, _kind: str, old: Obj | None, new: Obj | None) -> None:
        if new is None or not _is_attached(new) or old is None or _is_attached(old):
            return
        volume = self._volumes.get("", _volume_of(new))
        if volume is not None:
            what = f'AttachVolume.Attach succeeded for volume "{volume["metadata"]["name"]}" '
            self._tell(self._users(volume), new["spec"]["nodeName"], "Normal", "SuccessfulAttachVolume", what)

    def _tell(self, pods: Iterable[Obj], node: str, kind: str, reason: str, message: str) -> None:
        for pod in pods:
            if pod["spec"].get("nodeName") == node and _uses(pod):
                self.controller.recorder.event(pod, kind, reason, message)

    def _is_attachable(self, volume: Obj) -> bool:
        driver = self._drivers.get("", volume["spec"]["csi"]["driver"])
        return driver is None or driver["spec"].get("attachRequired") is not False

    def _users(self, volume: Obj) -> list[Obj]:
        reference = volume["spec"].get("claimRef") or {}
        return self._pods.by_index("claim", f"{reference.get('namespace', '')}/{reference.get('name', '')}")

    def _nodes_of(self, pods: Iterable[Obj], attachments: Iterable[Obj]) -> Mapping[str, Obj]:
        """The nodes that the decision is about, as far as they exist."""
        names = {each["spec"].get("nodeName") or "" for each in (*pods, *attachments)}
        found = {name: self._nodes.get("", name) for name in names}
        return {name: node for name, node in found.items() if node is not None}

    def _volumes_of_pod(self, pod: Obj) -> list[Key]:
        names = []
        for each in claims_of(pod):
            namespace, _, claim = each.partition("/")
            found = self._claims.get(namespace, claim)
            if found is not None and found["spec"].get("volumeName"):
                names.append(found["spec"]["volumeName"])
        return [("", name) for name in names]

    def _volumes_at_node(self, node: Obj) -> list[Key]:
        name = node["metadata"]["name"]
        return [("", _volume_of(each)) for each in self._attachments.items() if each["spec"]["nodeName"] == name]

    def _volumes_of_driver(self, driver: Obj) -> list[Key]:
        name = driver["metadata"]["name"]
        of_driver = (each for each in self._volumes.items() if (each["spec"].get("csi") or {}).get("driver") == name)
        return [key for each in of_driver for key in own_key(each)]


def plan(
    volume: Obj | None, pods: Iterable[Obj], attachments: Sequence[Obj], *, nodes: Mapping[str, Obj], now: datetime
) -> Plan:
    """Decide about one volume, from the pods for which it must be attached; `volume` is None when it is gone."""
    wanted = {pod["spec"]["nodeName"] for pod in pods if pod["spec"].get("nodeName") and _uses(pod)}
    wanted &= nodes.keys() if volume is not None else set()
    held = {each["spec"]["nodeName"]: each for each in attachments}
    missing = sorted(wanted - held.keys())
    exclusive = volume is not None and {"ReadWriteMany", "ReadOnlyMany"}.isdisjoint(volume["spec"]["accessModes"])
    # A volume of one node at a time goes to none before all others have given it up.
    allowed = (missing[: 0 if held else 1]) if exclusive else missing
    detach, waits = [], False
    for node, attachment in held.items():
        if node in wanted or "deletionTimestamp" in attachment["metadata"]:
            continue
        if volume is None or not _is_mounted(volume, nodes.get(node), now):
            detach.append(attachment["metadata"]["name"])
        else:
            waits = True
    barred = tuple(each for each in missing if each not in allowed)
    return Plan(tuple(allowed), tuple(sorted(detach)), barred, waits)


def _is_mounted(volume: Obj, node: Obj | None, now: datetime) -> bool:
    """Whether a node may still use a volume; one that is gone, out of service or long lost does not."""
    if node is None:
        return False
    if any(each["key"] == OUT_OF_SERVICE for each in (node.get("spec") or {}).get("taints") or ()):
        return False
    status, source = node.get("status") or {}, volume["spec"]["csi"]
    if volume_name(source["driver"], source["volumeHandle"]) not in (status.get("volumesInUse") or ()):
        return False
    ready: Obj = next((each for each in status.get("conditions") or () if each["type"] == "Ready"), {})
    lost = ready.get("status") != "True" and "lastTransitionTime" in ready
    return not (lost and now - parse_time(ready["lastTransitionTime"]) > UNMOUNT_TIMEOUT)


def _uses(pod: Obj) -> bool:
    return (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed")


def _is_attached(attachment: Obj) -> bool:
    return bool((attachment.get("status") or {}).get("attached"))


def _volume_of_own(attachment: Obj) -> list[str]:
    return [_volume_of(attachment)] if is_attachment_name(attachment["metadata"]["name"]) else []


def _volume_of(attachment: Obj) -> str:
    return str((attachment["spec"].get("source") or {}).get("persistentVolumeName") or "")
