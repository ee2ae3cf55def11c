"""Which nodes storage keeps a pod from, and the volumes that its claims get where it goes.

Source: kube-scheduler's plugins VolumeRestrictions, NodeVolumeLimits, VolumeBinding and VolumeZone, 1.36. Attached
volumes that no pod on the node uses are not counted against a node's limit.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from sparsam.scheduling.assessment import Assessment
from sparsam.scheduling.claims import NO_PROVISIONER, ONCE_PER_POD, Claim, Volume
from sparsam.scheduling.columns import ABSENT, Bools, Ints, Rows
from sparsam.scheduling.demand import PodDemand, Requirement, Term
from sparsam.scheduling.nodematch import any_term, term_mask
from sparsam.scheduling.snapshot import Snapshot
from sparsam.scheduling.storage import Promise
from sparsam.scheduling.view import Refusal, kept_for_nominees

RESTRICTIONS, LIMITS, BINDING, ZONE = "VolumeRestrictions", "NodeVolumeLimits", "VolumeBinding", "VolumeZone"
DISK = "node(s) had no available disk"
IN_USE = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
TOO_MANY = "node(s) exceed max volume count"
UNREACHED = "node(s) didn't match PersistentVolume's node affinity"
NO_VOLUME = "node(s) didn't find available persistent volumes to bind"
NO_SPACE = "node(s) did not have enough free storage"
VANISHED = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
OTHER_ZONE = "node(s) had no available volume zone"
UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
ZONE_LABELS = (
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
)
ZONES_APART = "__"
_EVERY = slice(None)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why no node can take the pod now, whatever the nodes are."""

    plugin: str
    why: str


def fault_of(snapshot: Snapshot, demand: PodDemand, pod: str) -> Fault | None:
    """What is wrong with the pod's claims themselves."""
    storage = snapshot.storage
    for name in demand.volumes.claims:
        claim = storage.claim(f"{demand.namespace}/{name}")
        own = name in demand.volumes.own_claims
        if claim is None and own:
            why = f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{name}"'
        elif claim is None:
            why = f'persistentvolumeclaim "{name}" not found'
        elif claim.is_lost:
            why = f'persistentvolumeclaim "{name}" bound to non-existent persistentvolume "{claim.volume}"'
        elif claim.is_leaving:
            why = f'persistentvolumeclaim "{name}" is being deleted'
        elif own and claim.owner_pod != pod.partition("/")[2]:
            why = f"PVC {claim.key} was not created for pod {pod} (pod is not owner)"
        else:
            continue
        return Fault(BINDING, why)
    immediate = any(_is_immediate(snapshot, each) for each in _unbound(snapshot, demand))
    return Fault(BINDING, UNBOUND) if immediate else None


def extra_refusals(snapshot: Snapshot, assessment: Assessment, pod: str, priority: int) -> tuple[Refusal, ...]:
    """What keeps one pod from nodes beside what its assessment tells: room that is kept for others, and storage."""
    kept = kept_for_nominees(snapshot, assessment, pod, priority) if snapshot.nominees else ()
    demand = assessment.demand
    return (*kept, *refusals(snapshot, demand, assessment.profile.filters)) if demand.volumes else kept


def refusals(snapshot: Snapshot, demand: PodDemand, filters: frozenset[str]) -> tuple[Refusal, ...]:
    """The nodes that storage keeps a pod without faults from, in the order of kube-scheduler's filters."""
    found: list[Refusal] = []
    if RESTRICTIONS in filters:
        found += _restrictions(snapshot, demand)
    if LIMITS in filters:
        found += _limits(snapshot, demand)
    if BINDING in filters:
        found += _binding(snapshot, demand)
    if ZONE in filters:
        found += _zones(snapshot, demand)
    return tuple(each for each in found if each.hit.any())


def promises(snapshot: Snapshot, demand: PodDemand, pod: str, node: str) -> tuple[Promise, ...]:
    """What the pod's unbound claims get on a node that takes it."""
    unbound = _unbound(snapshot, demand)
    row = np.array([snapshot.rows[node]], np.intp)
    offers, chosen = _match(snapshot, unbound, row)
    return tuple(
        Promise(claim.key, pod, offer[number].name if number != ABSENT else "", node)
        for claim, offer, number in zip(unbound, offers, chosen[:, 0].tolist(), strict=True)
    )


# -- VolumeRestrictions ----------------------------------------------------------------------------------------


def _restrictions(snapshot: Snapshot, demand: PodDemand) -> Iterable[Refusal]:
    storage = snapshot.storage
    always = np.ones_like(snapshot.alive)
    claims = _claims(snapshot, demand)
    if any(ONCE_PER_POD in each.modes and storage.claim_users.get(each.key) for each in claims):
        yield Refusal(RESTRICTIONS, IN_USE, always, always)
    taken = np.zeros_like(snapshot.alive)
    for disk in demand.volumes.disks:
        users = storage.disk_users.get((disk.kind, disk.place)) or ()
        taken[[row for row, other in users if disk.collides(other)]] = True
    yield Refusal(RESTRICTIONS, DISK, taken, always)


# -- NodeVolumeLimits ------------------------------------------------------------------------------------------


def _limits(snapshot: Snapshot, demand: PodDemand) -> Iterable[Refusal]:
    wanted = [_attachment(snapshot, each) for each in _claims(snapshot, demand)]
    for driver in {driver for driver, _ in wanted} & snapshot.storage.limits.keys():
        handles = {handle for of, handle in wanted if of == driver}
        attached = _attached(snapshot, driver)
        rows = len(snapshot.names)
        count = np.bincount(np.array([row for row, _ in attached], np.int64), minlength=rows)
        shared = np.array([row for row, handle in attached if handle in handles], np.int64)
        more = len(handles) - np.bincount(shared, minlength=rows)
        limit = np.full(rows, np.iinfo(np.int64).max)
        for node, most in snapshot.storage.limits[driver].items():
            if node in snapshot.rows:
                limit[snapshot.rows[node]] = most
        yield Refusal(LIMITS, TOO_MANY, (more > 0) & (count + more > limit), np.ones_like(snapshot.alive))


def _attached(snapshot: Snapshot, driver: str) -> set[tuple[int, str]]:
    """(row, handle) of a driver's volumes that pods use."""
    found: set[tuple[int, str]] = set()
    for key, users in snapshot.storage.claim_users.items():
        claim = snapshot.storage.claim(key)
        if claim is not None:
            of, handle = _attachment(snapshot, claim)
            found.update((row, handle) for row in users if of == driver)
    return found


def _attachment(snapshot: Snapshot, claim: Claim) -> tuple[str, str]:
    """(driver, handle) of what is attached for a claim; one that has no volume yet will get one of its own."""
    volume = snapshot.storage.volumes.get(claim.volume)
    if volume is not None:
        return volume.driver, volume.handle
    known = snapshot.storage.classes.get(claim.class_name)
    return (known.provisioner if known else ""), claim.key


# -- VolumeBinding ---------------------------------------------------------------------------------------------


def _binding(snapshot: Snapshot, demand: PodDemand) -> Iterable[Refusal]:
    never = np.zeros_like(snapshot.alive)
    unreached, vanished = never.copy(), never.copy()
    for claim in _claims(snapshot, demand):
        if claim.is_bound:
            volume = snapshot.storage.volumes.get(claim.volume)
            if volume is None:
                vanished |= True
            elif volume.affinity is not None:
                unreached |= ~any_term(snapshot, volume.affinity, _EVERY)
    yield Refusal(BINDING, VANISHED, vanished, never)
    yield Refusal(BINDING, UNREACHED, unreached, never)
    unbound = _unbound(snapshot, demand)
    if unbound:
        rows = np.arange(len(snapshot.names))
        _, chosen = _match(snapshot, unbound, rows)
        homeless, cramped = never.copy(), never.copy()
        for claim, volumes in zip(unbound, chosen, strict=True):
            lacking = volumes == ABSENT
            makes, room = _can_be_made(snapshot, claim)
            homeless |= lacking & ~makes
            cramped |= lacking & makes & ~room
        yield Refusal(BINDING, NO_VOLUME, homeless, never)
        yield Refusal(BINDING, NO_SPACE, cramped, never)


def _match(snapshot: Snapshot, claims: Sequence[Claim], rows: Rows) -> tuple[list[list[Volume]], Ints]:
    """(volumes that each claim may have, which of them it gets on each of the rows, ABSENT for none).

    No volume is given to two claims; the claims come in the order in which they choose.
    """
    offers = [snapshot.storage.candidates(claim) for claim in claims]
    chosen = np.full((len(claims), len(rows)), ABSENT, np.int64)
    given: dict[str, Bools] = {}
    for place, offer in enumerate(offers):
        for number, volume in enumerate(offer):
            free = chosen[place] == ABSENT
            if not free.any():
                break
            if volume.affinity is not None:
                free &= any_term(snapshot, volume.affinity, rows)
            if volume.name in given:
                free &= ~given[volume.name]
            chosen[place, free] = number
            if len(claims) > 1:
                given[volume.name] = given.get(volume.name, np.zeros(len(rows), np.bool_)) | free
    return offers, chosen


def _can_be_made(snapshot: Snapshot, claim: Claim) -> tuple[Bools, Bools]:
    """(nodes for which a volume can be made, those of them with the space for it)."""
    storage, every = snapshot.storage, np.ones_like(snapshot.alive)
    known = storage.classes.get(claim.class_name)
    if known is None or known.provisioner == NO_PROVISIONER or claim.volume:
        return ~every, ~every
    makes = every if known.topologies is None else any_term(snapshot, known.topologies, _EVERY)
    if claim.selected_node:
        makes = makes & term_mask(snapshot, _named(claim.selected_node), _EVERY)
    if known.provisioner not in storage.counting_drivers:
        return makes, every
    room = ~every
    for capacity in storage.capacities.values():
        if capacity.class_name != claim.class_name or capacity.largest_bytes < claim.size_bytes:
            continue
        if capacity.topology is not None:
            room |= term_mask(snapshot, capacity.topology, _EVERY)
    return makes, room


def _named(node: str) -> Term:
    return Term((Requirement("metadata.name", "In", (node,), on_field=True),))


# -- VolumeZone ------------------------------------------------------------------------------------------------


def _zones(snapshot: Snapshot, demand: PodDemand) -> Iterable[Refusal]:
    elsewhere = np.zeros_like(snapshot.alive)
    zoned = elsewhere.copy()
    for key in ZONE_LABELS:
        if key in snapshot.labels.columns:
            zoned |= snapshot.labels.columns[key] != ABSENT
    for claim in _claims(snapshot, demand):
        volume = snapshot.storage.volumes.get(claim.volume)
        labels = volume.labels if volume is not None and claim.is_bound else {}
        for key in ZONE_LABELS:
            if key in labels:
                there = Term((Requirement(key, "In", tuple(labels[key].split(ZONES_APART))),))
                # Nodes that tell of no zone at all are taken to reach every one.
                elsewhere |= zoned & ~term_mask(snapshot, there, _EVERY)
    yield Refusal(ZONE, OTHER_ZONE, elsewhere, np.zeros_like(snapshot.alive))


# -- claims ----------------------------------------------------------------------------------------------------


def _claims(snapshot: Snapshot, demand: PodDemand) -> list[Claim]:
    found = [snapshot.storage.claim(f"{demand.namespace}/{name}") for name in demand.volumes.claims]
    return [each for each in found if each is not None]


def _unbound(snapshot: Snapshot, demand: PodDemand) -> list[Claim]:
    """In the order in which they choose volumes: the smallest first."""
    found = [each for each in _claims(snapshot, demand) if not each.is_bound]
    return sorted(dict.fromkeys(found), key=lambda each: (each.size_bytes, each.key))


def _is_immediate(snapshot: Snapshot, claim: Claim) -> bool:
    """Whether others must bind it before a pod can be placed: its class does not wait, or it names a volume."""
    known = snapshot.storage.classes.get(claim.class_name)
    wants_volume = bool(claim.volume) and not claim.selected_node
    return known is None or not known.waits or wants_volume
