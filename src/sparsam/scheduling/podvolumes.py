"""What a pod asks of storage: claims, and disks named in the pod itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Obj = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Disk:
    """A network disk that not every pair of pods may share."""

    kind: str
    place: str
    """Which one: equal places are the same disk. One that is reached through several monitors has several."""
    read_only: bool = False

    @property
    def shared_readers(self) -> bool:
        """Whether pods that only read may share it; an AWS volume is attached once, whatever for."""
        return self.kind != "awsElasticBlockStore"

    def collides(self, other: Disk) -> bool:
        """Whether two pods cannot have both on one node (VolumeRestrictions)."""
        if (self.kind, self.place) != (other.kind, other.place):
            return False
        return not (self.shared_readers and self.read_only and other.read_only)


@dataclass(frozen=True, slots=True)
class PodVolumes:
    """Claims by name, and disks."""

    claims: tuple[str, ...] = ()
    own_claims: tuple[str, ...] = ()
    """Those of `claims` that are made for the pod and go with it (ephemeral volumes)."""
    disks: tuple[Disk, ...] = ()

    def __bool__(self) -> bool:
        """Whether storage has a say in where the pod goes."""
        return bool(self.claims or self.disks)


NO_VOLUMES = PodVolumes()


def compile_volumes(spec: Obj, pod_name: str) -> PodVolumes:
    """Of a pod's spec."""
    volumes = spec.get("volumes") or ()
    claims: list[str] = []
    own: list[str] = []
    disks: list[Disk] = []
    for volume in volumes:
        if "persistentVolumeClaim" in volume:
            claims.append(volume["persistentVolumeClaim"]["claimName"])
        elif "ephemeral" in volume:
            own.append(claim_name(pod_name, volume))
        else:
            disks += _disks(volume)
    return PodVolumes((*claims, *own), tuple(own), tuple(disks)) if claims or own or disks else NO_VOLUMES


def claim_name(pod_name: str, volume: Obj) -> str:
    """The claim that is made for an ephemeral volume."""
    return f"{pod_name}-{volume['name']}"


def _disks(volume: Obj) -> Iterator[Disk]:
    for kind, places in _PLACES.items():
        if kind in volume:
            source = volume[kind]
            yield from (Disk(kind, place, bool(source.get("readOnly"))) for place in places(source))


_PLACES: dict[str, Callable[[Obj], list[str]]] = {
    "gcePersistentDisk": lambda source: [source.get("pdName", "")],
    "awsElasticBlockStore": lambda source: [source.get("volumeID", "")],
    "iscsi": lambda source: [source.get("iqn", "")],
    "rbd": lambda source: [
        f"{monitor} {source.get('pool', 'rbd')}/{source.get('image', '')}" for monitor in source.get("monitors") or ()
    ],
}
