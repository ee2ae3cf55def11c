"""Who wrote which fields of an object: `metadata.managedFields`, kept up to date on every write. Pure.

An entry belongs to a manager, an operation (Apply, or Update for every other write), for updates the version of the
API, and a subresource. A write takes the fields that it changes from all others; what it removes is nobody's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from sparsam.objects.fieldsets import FieldSet, difference, from_paths, only_trees, parse, union, without_trees
from sparsam.objects.kinds import Resource
from sparsam.objects.objecttypes import type_of
from sparsam.objects.strategy import Obj

Entry = dict[str, Any]
Identity = tuple[str, str, str, str]
"""Operation, manager, version of the API (of updates), subresource."""
Convert = Callable[[Resource, Obj, Resource], Obj]
"""(resource, object, resource that shows the same stored objects): the object as the latter shows it."""

APPLY, UPDATE = "Apply", "Update"
MOST_UPDATERS = 10
ANCIENT = "ancient-changes"
LONGEST_MANAGER_BYTES = 128


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes what kind of object, through which of its subresources."""

    manager: str
    resource: Resource
    now: str
    """RFC 3339 with whole seconds."""
    convert: Convert
    subresource: str = ""

    def entry(self, operation: str, fields: FieldSet) -> Entry:
        """What is to be remembered of this write."""
        entry: Entry = {
            "manager": self.manager,
            "operation": operation,
            "apiVersion": self.resource.api_version,
            "time": self.now,
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
        }
        return entry | ({"subresource": self.subresource} if self.subresource else {})

    def own(self, fields: FieldSet) -> FieldSet:
        """Of these fields those that such a write may own: it resets the others."""
        only, but = _reach(self.resource, self.subresource)
        fields = only_trees(fields, only) if only else fields
        return without_trees(fields, but) if but else fields


@dataclass(frozen=True, slots=True)
class Change:
    """An object before (None: it was not there) and after a write, and the fields in which the two differ."""

    new: Obj
    old: Obj | None
    touched: FieldSet
    """What is there now, and was not, or was other."""
    removed: FieldSet


def record(writer: Writer, new: Obj, old: Obj | None) -> None:
    """Write down in `new` who owns what, after an update of `old` or a create."""
    metadata = new["metadata"]
    given = metadata.pop("managedFields", None)
    stored = entries_of(old)
    entries = stored if writer.subresource or given is None or given == stored else _given(given, stored)
    # Objects of which nothing is known stay so until somebody applies to them.
    if entries or old is None:
        change = compared(writer, new, old)
        if change.touched or change.removed:
            entries = _recorded(writer, entries, change)
    if entries:
        metadata["managedFields"] = entries


def entries_of(obj: Obj | None) -> list[Entry]:
    """What an object says about its fields."""
    return (obj["metadata"].get("managedFields") or []) if obj is not None else []


def identity(entry: Entry) -> Identity:
    """Whose entry it is. Who applies is the same in every version of the API."""
    operation = entry["operation"]
    version = "" if operation == APPLY else entry["apiVersion"]
    return operation, entry.get("manager", ""), version, entry.get("subresource", "")


def _given(given: list[Entry], stored: list[Entry]) -> list[Entry]:
    """What a client wants the entries to be: `[{}]` forgets them, and what makes no sense changes nothing."""
    if given == [{}]:
        return []
    try:
        return ordered(_parse_entry(entry) for entry in given) or stored
    except ValueError:
        return stored


def _parse_entry(entry: Entry) -> Entry:
    if entry.get("operation") not in (APPLY, UPDATE) or not entry.get("apiVersion"):
        raise ValueError("an entry has an operation and a version")
    if entry.get("fieldsType") != "FieldsV1" or len(entry.get("manager", "").encode()) > LONGEST_MANAGER_BYTES:
        raise ValueError("an entry has fields of the one type there is, and a manager of decent length")
    return entry | {"fieldsV1": parse(entry.get("fieldsV1") or {})}


def _recorded(writer: Writer, entries: list[Entry], change: Change) -> list[Entry]:
    mine = writer.entry(UPDATE, change.touched)
    kept = []
    for entry, seen in seen_by(writer, entries, change):
        left = without(entry, seen)
        if left and change.touched and identity(entry) == identity(mine):
            mine["fieldsV1"] = union(left["fieldsV1"], change.touched)
        elif left:
            kept.append(left)
    if change.touched:
        kept.append(mine)
    return ordered(capped(kept))


def without(entry: Entry, change: Change) -> Entry | None:
    """What a change leaves of somebody's fields."""
    fields = entry["fieldsV1"]
    left = difference(difference(fields, change.touched), change.removed)
    if not left:
        return None
    return entry if left == fields else entry | {"fieldsV1": left}


def seen_by(writer: Writer, entries: Iterable[Entry], change: Change) -> Iterator[tuple[Entry, Change]]:
    """Each entry, with the change as its version of the API shows it.

    Entries of versions that are not served any more are left out.
    """
    changes = {writer.resource.api_version: change}
    for entry in entries:
        version = entry["apiVersion"]
        if version not in changes:
            there = type_of(writer.resource).views.get(version)
            if there is None:
                continue
            new = writer.convert(writer.resource, change.new, there)
            old = None if change.old is None else writer.convert(writer.resource, change.old, there)
            changes[version] = compared(replace(writer, resource=there), new, old)
        yield entry, changes[version]


def compared(writer: Writer, new: Obj, old: Obj | None) -> Change:
    """What a write changes, of the fields that it may own."""
    kind = type_of(writer.resource)
    touched, removed = kind.shape.compare(kind.empty if old is None else old, new)
    return Change(new, old, writer.own(touched or {}), writer.own(removed or {}))


def capped(entries: list[Entry]) -> list[Entry]:
    """The entries with the oldest updates thrown together until there are no more than ten of them."""
    updates = [entry for entry in entries if entry["operation"] == UPDATE]
    if len(updates) <= MOST_UPDATERS:
        return entries
    left = {identity(entry): entry for entry in updates}
    first: dict[str, Identity] = {}
    for entry in sorted(updates, key=lambda each: (each.get("time") or "", identity(each))):
        version = entry["apiVersion"]
        bucket = (UPDATE, ANCIENT, version, "")
        if len(left) <= MOST_UPDATERS or identity(entry) == bucket:
            continue
        if version not in first and bucket not in left:
            first[version] = identity(entry)
            continue
        ancient = left[bucket] if bucket in left else left.pop(first[version])
        merged = union(ancient["fieldsV1"], entry["fieldsV1"])
        del left[identity(entry)]
        left[bucket] = {name: value for name, value in entry.items() if name != "subresource"}
        left[bucket] |= {"manager": ANCIENT, "fieldsV1": merged}
    return [entry for entry in entries if entry["operation"] != UPDATE] + list(left.values())


def ordered(entries: Iterable[Entry]) -> list[Entry]:
    """Entries in upstream's order: by operation, then the oldest first."""
    return sorted(entries, key=_rank)


def _rank(entry: Entry) -> tuple[str, ...]:
    names = ("operation", "time", "manager", "apiVersion", "subresource")
    return tuple(entry.get(name) or "" for name in names)


def settle(new: Obj, old: Obj) -> None:
    """Take back the times of entries where a write changed nothing else."""
    entries, before = entries_of(new), entries_of(old)
    if not entries or entries is before or len(entries) != len(before):
        return
    known = {identity(entry): entry for entry in before}
    for entry in entries:
        was = known.get(identity(entry))
        if was is not entry and (was is None or was["fieldsV1"] != entry["fieldsV1"]):
            return
    if _rest(new) == _rest(old):
        new["metadata"]["managedFields"] = before


def _rest(obj: Obj) -> Obj:
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return obj | {"metadata": metadata}


# What a write through a subresource resets beyond the other parts of the object; what a part of a pod reaches.
_ALSO_RESET = {
    ("pods", "status"): from_paths([("f:metadata", "f:deletionTimestamp"), ("f:metadata", "f:ownerReferences")]),
    ("deployments", "status"): from_paths([("f:metadata", "f:labels")]),
}
_REACHES = {
    "ephemeralcontainers": from_paths([("f:spec", "f:ephemeralContainers")]),
    "resize": from_paths([("f:spec", "f:containers", "*", "f:resources")]),
    "scale": from_paths([("f:spec", "f:replicas")]),
}


@lru_cache(maxsize=1024)
def _reach(resource: Resource, subresource: str) -> tuple[FieldSet, FieldSet]:
    """The only fields that a write may own (none named: all), and those that it may not."""
    kind = type_of(resource)
    if subresource == "scale" and kind.scale_paths is not None:
        return from_paths([tuple(f"f:{name}" for name in kind.scale_paths.spec_replicas)]), {}
    if subresource in _REACHES:
        return _REACHES[subresource], {}
    if not subresource:
        return {}, {"f:status": {}} if kind.strategy.has_status else {}
    if kind.is_custom:
        return {"f:status": {}}, {}
    own = ("apiVersion", "kind", "metadata", "status")
    others = [(f"f:{name}",) for name in kind.fields if name not in own]
    return {}, union(from_paths(others), _ALSO_RESET.get((resource.plural, subresource), {}))
