"""Claims, volumes and storage classes as placement sees them, and which volume suits a claim.

Source: the reference of PersistentVolume, PersistentVolumeClaim and StorageClass, and KEP-490 (volume topology).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sparsam.objects.selectors import LabelSelector, parse_label_selector_object
from sparsam.scheduling.demand import Requirement, Term, compile_term
from sparsam.units import parse_bytes

Obj = Mapping[str, Any]

CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
NO_PROVISIONER = "kubernetes.io/no-provisioner"
ONCE_PER_POD = "ReadWriteOncePod"


@dataclass(frozen=True, slots=True)
class Claim:
    """A PersistentVolumeClaim."""

    key: str
    """`namespace/name`."""
    uid: str
    class_name: str
    size_bytes: int
    modes: frozenset[str]
    mode: str
    """`Filesystem` or `Block`."""
    selector: LabelSelector | None
    volume: str
    """The volume that it is, or wants to be, bound to."""
    is_bound: bool
    selected_node: str
    is_leaving: bool
    is_lost: bool
    owner_pod: str
    """The pod that it was made for."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A PersistentVolume."""

    name: str
    class_name: str
    size_bytes: int
    modes: frozenset[str]
    mode: str
    labels: Mapping[str, str]
    affinity: tuple[Term, ...] | None
    """Nodes that reach it: those for which any of the terms holds; None for all."""
    claim: str
    """`namespace/name` of the claim that has it, or for which it is kept."""
    claim_uid: str
    is_leaving: bool
    driver: str
    """The CSI driver; empty for other volumes."""
    handle: str


@dataclass(frozen=True, slots=True)
class StorageClass:
    """A StorageClass."""

    provisioner: str = NO_PROVISIONER
    waits: bool = False
    """Whether claims are bound only once a pod that uses them is placed."""
    topologies: tuple[Term, ...] | None = None
    """Where volumes can be made; None for everywhere."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """A CSIStorageCapacity: what a driver can still make in one place."""

    class_name: str
    largest_bytes: int
    topology: Term | None
    """None for nowhere."""


def compile_claim(claim: Obj) -> Claim:
    """Of a v1 PersistentVolumeClaim; raises ValueError."""
    metadata, spec = claim["metadata"], claim.get("spec") or {}
    annotations = metadata.get("annotations") or {}
    selector = spec.get("selector")
    return Claim(
        key=f"{metadata['namespace']}/{metadata['name']}",
        uid=metadata.get("uid", ""),
        class_name=_class_of(claim),
        size_bytes=parse_bytes(((spec.get("resources") or {}).get("requests") or {}).get("storage", "0")),
        modes=frozenset(spec.get("accessModes") or ()),
        mode=spec.get("volumeMode") or "Filesystem",
        selector=parse_label_selector_object(selector) if selector is not None else None,
        volume=spec.get("volumeName") or "",
        is_bound=bool(spec.get("volumeName")) and BIND_COMPLETED in annotations,
        selected_node=annotations.get(SELECTED_NODE, ""),
        is_leaving="deletionTimestamp" in metadata,
        is_lost=(claim.get("status") or {}).get("phase") == "Lost",
        owner_pod=next(
            (
                each["name"]
                for each in metadata.get("ownerReferences") or ()
                if each.get("controller") and each.get("kind") == "Pod"
            ),
            "",
        ),
    )


def compile_volume(volume: Obj) -> Volume:
    """Of a v1 PersistentVolume; raises ValueError."""
    metadata, spec = volume["metadata"], volume.get("spec") or {}
    reference, source = spec.get("claimRef") or {}, spec.get("csi") or {}
    required = (spec.get("nodeAffinity") or {}).get("required")
    return Volume(
        name=metadata["name"],
        class_name=_class_of(volume),
        size_bytes=parse_bytes((spec.get("capacity") or {}).get("storage", "0")),
        modes=frozenset(spec.get("accessModes") or ()),
        mode=spec.get("volumeMode") or "Filesystem",
        labels=metadata.get("labels") or {},
        affinity=tuple(compile_term(each) for each in required.get("nodeSelectorTerms") or ()) if required else None,
        claim=f"{reference.get('namespace', '')}/{reference['name']}" if reference.get("name") else "",
        claim_uid=reference.get("uid") or "",
        is_leaving="deletionTimestamp" in metadata,
        driver=source.get("driver", ""),
        handle=source.get("volumeHandle", ""),
    )


def compile_class(storage_class: Obj) -> StorageClass:
    """Of a storage.k8s.io/v1 StorageClass."""
    topologies = storage_class.get("allowedTopologies")
    return StorageClass(
        provisioner=storage_class.get("provisioner", NO_PROVISIONER),
        waits=storage_class.get("volumeBindingMode") == "WaitForFirstConsumer",
        topologies=tuple(_topology(each) for each in topologies) if topologies else None,
    )


def compile_capacity(capacity: Obj) -> Capacity:
    """Of a storage.k8s.io/v1 CSIStorageCapacity; raises ValueError."""
    topology = capacity.get("nodeTopology")
    largest = capacity.get("maximumVolumeSize") or capacity.get("capacity") or "0"
    return Capacity(
        class_name=capacity.get("storageClassName", ""),
        largest_bytes=parse_bytes(largest),
        topology=_selected(topology) if topology is not None else None,
    )


def suits(claim: Claim, volume: Volume) -> bool:
    """Whether a claim may be bound to a volume, wherever the pod runs.

    A volume that is kept for the claim has only to be large enough.
    """
    if volume.is_leaving or volume.size_bytes < claim.size_bytes or volume.mode != claim.mode:
        return False
    if volume.claim:
        return volume.claim == claim.key and volume.claim_uid in ("", claim.uid)
    return (
        volume.class_name == claim.class_name
        and claim.modes <= volume.modes
        and (claim.selector is None or claim.selector.matches(volume.labels))
    )


def by_preference(claim: Claim, volumes: Iterable[Volume]) -> list[Volume]:
    """The volumes that suit a claim, the best first: one that is kept for it, then the smallest, then by name."""
    found = [each for each in volumes if suits(claim, each)]
    return sorted(found, key=lambda each: (not each.claim, each.size_bytes, each.name))


def kept_for(volume: Obj, claim: Obj) -> dict[str, Any]:
    """The volume with a reference to the claim, written by a component rather than a user."""
    metadata, of = volume["metadata"], claim["metadata"]
    reference = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": of["namespace"],
        "name": of["name"],
        "uid": of["uid"],
        "resourceVersion": of.get("resourceVersion", ""),
    }
    by_user = bool((volume["spec"].get("claimRef") or {}).get("name"))
    marks = {} if by_user else {BOUND_BY_CONTROLLER: "yes"}
    return {
        **volume,
        "metadata": {**metadata, "annotations": {**(metadata.get("annotations") or {}), **marks}},
        "spec": {**volume["spec"], "claimRef": reference},
    }


def _class_of(obj: Obj) -> str:
    annotations = obj["metadata"].get("annotations") or {}
    return str(annotations.get(CLASS_ANNOTATION) or (obj.get("spec") or {}).get("storageClassName") or "")


def _topology(term: Obj) -> Term:
    expressions = term.get("matchLabelExpressions") or ()
    return Term(tuple(Requirement(each["key"], "In", tuple(each["values"])) for each in expressions))


def _selected(selector: Obj) -> Term:
    """A label selector over nodes as a node selector term."""
    equal = [Requirement(key, "In", (value,)) for key, value in (selector.get("matchLabels") or {}).items()]
    others = [
        Requirement(each["key"], each["operator"], tuple(each.get("values") or ()))
        for each in selector.get("matchExpressions") or ()
    ]
    # An empty selector takes every node, an empty term takes none.
    return Term((*equal, *others) or (Requirement("", "DoesNotExist", ()),))
