"""The cluster's storage in a snapshot: claims, volumes, what nodes can attach, and who uses what."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sparsam.scheduling.claims import (
    Capacity,
    Claim,
    StorageClass,
    Volume,
    by_preference,
    compile_capacity,
    compile_claim,
    compile_class,
    compile_volume,
    suits,
)
from sparsam.scheduling.podvolumes import Disk, PodVolumes

Obj = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Promise:
    """A claim's volume, decided with the node of a pod that uses it."""

    claim: str
    """`namespace/name`."""
    pod: str
    volume: str
    """Empty where one is to be made for the node."""
    node: str


class Storage:
    """Everything by name; claims by `namespace/name`."""

    def __init__(self) -> None:
        self.claims: dict[str, Claim] = {}
        self.volumes: dict[str, Volume] = {}
        self.classes: dict[str, StorageClass] = {}
        self.capacities: dict[str, Capacity] = {}
        self.counting_drivers: set[str] = set()
        """CSI drivers that tell how much they can still make, and where."""
        self.limits: dict[str, dict[str, int]] = {}
        """How many volumes of a CSI driver a node can attach, by driver and node."""
        self.claim_users: dict[str, Counter[int]] = defaultdict(Counter)
        """Pods that use a claim, by row."""
        self.disk_users: dict[tuple[str, str], Counter[tuple[int, Disk]]] = defaultdict(Counter)
        self._promises: dict[str, Promise] = {}
        """By claim."""
        self._taken: dict[str, str] = {}
        """Volumes that are promised, and the claims."""
        self._volumes_by_class: dict[str, set[str]] = defaultdict(set)
        self._volumes_by_claim: dict[str, set[str]] = defaultdict(set)

    # -- objects --------------------------------------------------------------------------------------------

    def set_claim(self, claim: Obj) -> None:
        """Take over a PersistentVolumeClaim; raises ValueError."""
        compiled = compile_claim(claim)
        self.claims[compiled.key] = compiled
        if compiled.is_bound:
            self._break(compiled.key)

    def remove_claim(self, namespace: str, name: str) -> None:
        """Forget one."""
        self.claims.pop(f"{namespace}/{name}", None)
        self._break(f"{namespace}/{name}")

    def set_volume(self, volume: Obj) -> None:
        """Take over a PersistentVolume; raises ValueError."""
        compiled = compile_volume(volume)
        self.remove_volume(compiled.name)
        self.volumes[compiled.name] = compiled
        self._volumes_by_class[compiled.class_name].add(compiled.name)
        self._volumes_by_claim[compiled.claim].add(compiled.name)

    def remove_volume(self, name: str) -> None:
        """Forget one."""
        known = self.volumes.pop(name, None)
        if known is not None:
            self._volumes_by_class[known.class_name].discard(name)
            self._volumes_by_claim[known.claim].discard(name)

    def set_class(self, storage_class: Obj) -> None:
        """Take over a StorageClass."""
        self.classes[storage_class["metadata"]["name"]] = compile_class(storage_class)

    def remove_class(self, name: str) -> None:
        """Forget one."""
        self.classes.pop(name, None)

    def set_capacity(self, capacity: Obj) -> None:
        """Take over a CSIStorageCapacity; raises ValueError."""
        metadata = capacity["metadata"]
        self.capacities[f"{metadata['namespace']}/{metadata['name']}"] = compile_capacity(capacity)

    def remove_capacity(self, namespace: str, name: str) -> None:
        """Forget one."""
        self.capacities.pop(f"{namespace}/{name}", None)

    def set_driver(self, driver: Obj) -> None:
        """Take over a CSIDriver."""
        name = driver["metadata"]["name"]
        if (driver.get("spec") or {}).get("storageCapacity"):
            self.counting_drivers.add(name)
        else:
            self.counting_drivers.discard(name)

    def remove_driver(self, name: str) -> None:
        """Forget one."""
        self.counting_drivers.discard(name)

    def set_limits(self, node: Obj) -> None:
        """Take over a CSINode."""
        name = node["metadata"]["name"]
        self.remove_limits(name)
        for driver in (node.get("spec") or {}).get("drivers") or ():
            count = (driver.get("allocatable") or {}).get("count")
            if count is not None:
                self.limits.setdefault(driver["name"], {})[name] = int(count)

    def remove_limits(self, name: str) -> None:
        """Forget one."""
        for nodes in self.limits.values():
            nodes.pop(name, None)

    # -- use ------------------------------------------------------------------------------------------------

    def count(self, row: int, namespace: str, volumes: PodVolumes, sign: int) -> None:
        """A pod came to a node (+1) or left it (-1)."""
        for name in volumes.claims:
            _count(self.claim_users[f"{namespace}/{name}"], row, sign)
        for disk in volumes.disks:
            _count(self.disk_users[disk.kind, disk.place], (row, disk), sign)

    def promise(self, promises: Iterable[Promise]) -> None:
        """Claims of a placed pod count as bound from now on, until the API shows it or the pod is forgotten."""
        for each in promises:
            self._promises[each.claim] = each
            if each.volume:
                self._taken[each.volume] = each.claim

    def break_promises(self, pod: str) -> None:
        """The pod is not placed any more."""
        for claim in [each.claim for each in self._promises.values() if each.pod == pod]:
            self._break(claim)

    def claim(self, key: str) -> Claim | None:
        """A claim, with what was promised for it."""
        known = self.claims.get(key)
        if known is None or known.is_bound:
            return known
        promised = self._promises.get(key)
        return replace(known, volume=promised.volume, selected_node=promised.node) if promised else known

    def candidates(self, claim: Claim) -> list[Volume]:
        """The volumes that a claim may be bound to, the best first."""
        if claim.volume:
            found = self.volumes.get(claim.volume)
            return [found] if found is not None and suits(claim, found) else []
        names = self._volumes_by_class[claim.class_name] | self._volumes_by_claim[claim.key]
        return by_preference(claim, (self.volumes[name] for name in names - self._taken.keys()))

    def _break(self, claim: str) -> None:
        promised = self._promises.pop(claim, None)
        if promised is not None:
            self._taken.pop(promised.volume, None)


def _count(counter: Counter[Any], key: Any, sign: int) -> None:
    counter[key] += sign
    if not counter[key]:
        del counter[key]
