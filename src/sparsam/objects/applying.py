"""Server-side apply: an object with what one manager wants of it, as structured merge has it. Pure.

What the manager applied before and does not any more goes, unless somebody else owns it. What others own and the
configuration wants to be different is a conflict, unless it is forced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from sparsam.errors import BadRequest, Cause, Conflict
from sparsam.objects import documents
from sparsam.objects.fields import quote
from sparsam.objects.fieldsets import (
    FieldSet,
    contains,
    difference,
    format_path,
    intersection,
    paths,
    union,
)
from sparsam.objects.kinds import Resource
from sparsam.objects.objecttypes import ObjectType, type_of
from sparsam.objects.ownership import (
    APPLY,
    UPDATE,
    Entry,
    Writer,
    compared,
    entries_of,
    identity,
    ordered,
    seen_by,
    without,
)
from sparsam.objects.shapes import NOBODYS, Struct
from sparsam.objects.strategy import Obj

LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
KUBECTL = "kubectl"
BEFORE = "before-first-apply"


@dataclass(frozen=True, slots=True)
class Clash:
    """A field that somebody else owns and the configuration wants to be different."""

    entry: Entry
    path: tuple[str, ...]

    @property
    def owner(self) -> str:
        """The owner as messages name it."""
        text = quote(self.entry.get("manager", ""))
        if self.entry.get("subresource"):
            text += f" with subresource {quote(self.entry['subresource'])}"
        return f"{text} using {self.entry['apiVersion']}" if self.entry["operation"] == UPDATE else text


def read(raw: bytes, field_validation: str) -> tuple[Obj, list[str]]:
    """The configuration in a body, YAML or JSON, and warnings; raises BadRequest."""
    try:
        config = documents.parse_yaml(raw)
    except documents.Malformed as error:
        raise BadRequest(f"error decoding YAML: {error}") from error
    if not isinstance(config, dict):
        raise BadRequest("error decoding YAML: the configuration is not an object")
    repeated = documents.repeated_keys(raw) if field_validation != "Ignore" else []
    if not repeated:
        return config, []
    lines = "\n".join(f'  line {line}: key "{key}" already set in map' for line, key in repeated)
    problem = f"error converting YAML to JSON: yaml: unmarshal errors:\n{lines}"
    if field_validation == "Strict":
        raise BadRequest(f"error strict decoding YAML: {problem}")
    return config, [problem]


def apply(writer: Writer, live: Obj | None, config: Obj, *, force: bool = False) -> Obj:
    """`live` (None: to be created) with the configuration applied and entries that say so; neither is changed.

    Raises Conflict and BadRequest. The outcome still has to be decoded, defaulted and validated.
    """
    check(type_of(writer.resource), config)
    merging = _Merging(writer, live, config)
    clashes = merging.clashes
    if clashes and live is not None and writer.manager == KUBECTL:
        # kubectl wrote these fields before, and said so in an annotation: its own fields are no conflict.
        known = _once_applied(writer, live)
        clashes = [clash for clash in clashes if not contains(known, clash.path)]
    if clashes and not force:
        raise conflict(clashes)
    applied = merging.outcome()
    if writer.manager == KUBECTL and (applied["metadata"].get("annotations") or {}).get(LAST_APPLIED):
        applied["metadata"]["annotations"] |= {LAST_APPLIED: _annotation(config)}
    return applied


class _Merging:
    """One configuration on its way into one object."""

    def __init__(self, writer: Writer, live: Obj | None, config: Obj) -> None:
        self._writer = writer
        kind = type_of(writer.resource)
        self._shape, self._views = kind.shape, kind.views
        base = live if live is not None else kind.empty
        # Whoever gives up the last field of the metadata that is anybody's does not take these along.
        self._unowned = {name: value for name, value in base["metadata"].items() if name in NOBODYS}
        self._mine = writer.entry(APPLY, writer.own(_members(self._shape, config)))
        self._others, last = self._entries(live)
        self._merged = self._pruned(self._shape.merge(base, config), last)
        self._seen = list(seen_by(writer, self._others, compared(writer, self._merged, live)))
        self.clashes = [
            Clash(entry, path)
            for entry, change in self._seen
            for path in paths(intersection(entry["fieldsV1"], change.touched))
        ]

    def _entries(self, live: Obj | None) -> tuple[list[Entry], Entry | None]:
        """The entries of all others, and this manager's last one."""
        entries = entries_of(live)
        if live is not None and not entries:
            change = compared(self._writer, live, None)
            entries = [self._writer.entry(UPDATE, change.touched) | {"manager": BEFORE}]
        others = [entry for entry in entries if identity(entry) != identity(self._mine)]
        return others, next((entry for entry in entries if identity(entry) == identity(self._mine)), None)

    def _pruned(self, merged: Obj, last: Entry | None) -> Obj:
        """Without what was applied last time, is not now, and nobody else owns."""
        there = self._views.get(last["apiVersion"]) if last else None
        if last is None or there is None:
            return merged
        before = type_of(there).shape.with_parents(last["fieldsV1"])
        pruned = self._without(merged, before, there)
        for version, claimed in self._claims(first=last["apiVersion"]):
            # What others, or the new configuration, own comes back as their version of the API names it.
            shape, whole = type_of(version).shape, self._shown(merged, version)
            kept = _union_of_members(shape, self._shown(pruned, version), claimed)
            gone = difference(shape.with_parents(_members(shape, whole)), kept)
            pruned = self._without(merged, gone, version)
        # Below what goes there may be fields that this manager never had: they, and what leads to them, stay.
        shape, whole = type_of(there).shape, self._shown(merged, there)
        left = shape.with_parents(_members(shape, self._shown(pruned, there)))
        gone = difference(shape.with_parents(_members(shape, whole)), left)
        return self._without(merged, intersection(gone, before), there)

    def _claims(self, first: str) -> list[tuple[Resource, FieldSet]]:
        """All that is owned now, by version of the API; the version named comes first."""
        claims: dict[str, FieldSet] = {first: {}}
        for entry in (self._mine, *self._others):
            version = entry["apiVersion"]
            claims[version] = union(claims.get(version, {}), entry["fieldsV1"])
        views = ((self._views.get(version), claimed) for version, claimed in claims.items())
        return [(resource, claimed) for resource, claimed in views if resource is not None]

    def _shown(self, obj: Obj, there: Resource) -> Obj:
        here = self._writer.resource
        return obj if there is here else self._writer.convert(here, obj, there)

    def _without(self, obj: Obj, fields: FieldSet, there: Resource) -> Obj:
        """An object without fields that another version of the API names."""
        here = self._writer.resource
        pruned: Obj = type_of(there).shape.prune(self._shown(obj, there), fields) or {}
        return pruned if there is here else self._writer.convert(there, pruned, here)

    def outcome(self) -> Obj:
        """The object, with the fields taken from all who had them."""
        entries = [left for entry, change in self._seen if (left := without(entry, change))]
        if self._mine["fieldsV1"]:
            entries.append(self._mine)
        metadata = self._unowned | (self._merged.get("metadata") or {})
        metadata.pop("managedFields", None)
        if entries:
            metadata["managedFields"] = ordered(entries)
        if metadata.get("annotations"):
            metadata["annotations"] = dict(metadata["annotations"])
        return self._merged | {"metadata": metadata}


def conflict(clashes: Sequence[Clash]) -> Conflict:
    """The answer to a configuration that would take fields from their owners."""
    ranked = sorted(clashes, key=lambda clash: identity(clash.entry)[1:])
    causes = [Cause("FieldManagerConflict", f"conflict with {each.owner}", format_path(each.path)) for each in ranked]
    if len(ranked) == 1:
        text = f"1 conflict: conflict with {ranked[0].owner}: {causes[0].field}"
    else:
        by_owner: dict[str, list[str]] = {}
        for each, cause in zip(ranked, causes, strict=True):
            by_owner.setdefault(each.owner, []).append(f"- {cause.field}")
        lines = [line for owner, fields in by_owner.items() for line in (f"conflicts with {owner}:", *fields)]
        text = f"{len(ranked)} conflicts: " + "\n".join(lines)
    return Conflict(f"Apply failed with {text}", details={"causes": [cause.as_json() for cause in causes]})


def _once_applied(writer: Writer, live: Obj) -> FieldSet:
    """The fields that `kubectl apply` wrote without the server's help, as far as they are still as it wrote them."""
    text = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    try:
        config = msgspec.json.decode(text, type=dict[str, Any]) if text else {}
    except msgspec.MsgspecError:
        return {}
    kind = type_of(writer.resource)
    if config.get("apiVersion") != writer.resource.api_version or any(kind.problems(config)):
        return {}
    change = compared(writer, live, config)
    members = _members(kind.shape, config)
    return difference(difference(members, change.touched), change.removed)


def _annotation(config: Obj) -> str:
    """The configuration as `kubectl apply` without the server's help remembers it."""
    metadata = dict(config.get("metadata") or {})
    annotations = {name: text for name, text in (metadata.get("annotations") or {}).items() if name != LAST_APPLIED}
    if metadata.get("annotations"):
        metadata["annotations"] = annotations
    return msgspec.json.encode(config | {"metadata": metadata}, order="sorted").decode() + "\n"


def _members(shape: Struct, obj: Obj) -> FieldSet:
    return shape.members(obj) or {}


def _union_of_members(shape: Struct, obj: Obj, claimed: FieldSet) -> FieldSet:
    return union(shape.with_parents(_members(shape, obj)), shape.with_parents(claimed))


def check(kind: ObjectType, config: Obj) -> None:
    """Raises BadRequest unless the configuration is one for objects of this type."""
    metadata = config.get("metadata")
    said = _kind_of(config)
    group, version, name = kind.kind
    if said != f"{group}/{version}, Kind={name}":
        raise BadRequest(f"invalid object type: {said}")
    if isinstance(metadata, dict) and metadata.get("managedFields") is not None:
        raise BadRequest("metadata.managedFields must be nil")
    problems = list(kind.problems(config))
    if problems:
        listed = problems[0] if len(problems) == 1 else "\n  ".join(["errors:", *problems])
        named = metadata if isinstance(metadata, dict) else {}
        name = f"{named.get('namespace') or ''}/{named.get('name') or ''}"
        raise BadRequest(f"failed to create typed patch object ({name}; {said}): {listed}")


def _kind_of(obj: Obj) -> str:
    """Group, version and kind as Go prints them."""
    group, _, version = str(obj.get("apiVersion") or "").rpartition("/")
    return f"{group}/{version}, Kind={obj.get('kind') or ''}"
