"""The life of an object between the wire and the store: decode, default, admit, prepare, validate. Pure.

What every kind has in common happens here, in upstream's order; what one kind adds stands in its Strategy. Time,
identity and chance come in a Context.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sparsam.errors import Cause
from sparsam.objects import decode as decoding
from sparsam.objects import metadata, ownership, patches
from sparsam.objects.fields import invalid_object
from sparsam.objects.kinds import Resource
from sparsam.objects.objecttypes import type_of
from sparsam.objects.strategies.pod_subresources import validate_ephemeral_containers, validate_resize
from sparsam.objects.strategy import Obj, Strategy


def nothing(_new: Obj, _old: Obj | None) -> None:
    """No opinion."""


def keep_owners(new: Obj, old: Obj | None) -> None:
    """Whoever owned fields before owns them still."""
    new["metadata"].pop("managedFields", None)
    if entries := ownership.entries_of(old):
        new["metadata"]["managedFields"] = entries


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that is chance, time, identity or wish of the caller."""

    now: str
    """RFC 3339 with whole seconds."""
    uid: str
    """A fresh UUID for a created object."""
    name_suffix: str
    """Five characters for generateName."""
    namespace: str = ""
    """The namespace in the URL."""
    field_validation: str = "Warn"
    """Strict, Warn or Ignore: what happens to unknown and duplicate fields."""
    admit: Callable[[Obj, Obj | None], None] = nothing
    """(new, old): mutating admission after defaulting; may raise StatusError."""
    own: Callable[[Obj, Obj | None], None] = keep_owners
    """(new, old): writes down in `new` who owns what, before admission, whose changes are nobody's."""
    settle: Callable[[Obj, Obj | None], None] = nothing
    """(new, old): what depends on the server's settings, between preparation and validation; may raise StatusError."""


def decode(
    resource: Resource, raw: bytes, content_type: str, ctx: Context, *, subresource: str = ""
) -> tuple[Obj, list[str]]:
    """The object in a request body, checked against its schema and normalised as Go's decoder does, and warnings.

    Raises BadRequest for what cannot be understood.
    """
    return decoding.decode(resource, raw, content_type, ctx.field_validation, subresource=subresource)


def create(resource: Resource, obj: Obj, ctx: Context) -> tuple[Obj, list[str]]:
    """A decoded object made ready to be stored for the first time, and warnings. Changes `obj` in place."""
    begin_create(resource, obj, ctx)
    return finish_create(resource, obj, ctx)


def begin_create(resource: Resource, obj: Obj, ctx: Context) -> None:
    """The first half of `create`, up to where others than this server may change the object."""
    strategy = type_of(resource).strategy
    meta = _metadata(obj)
    if resource.namespaced and not meta.get("namespace"):
        meta["namespace"] = ctx.namespace
    strategy.default(obj)
    ctx.own(obj, None)
    ctx.admit(obj, None)


def finish_create(resource: Resource, obj: Obj, ctx: Context) -> tuple[Obj, list[str]]:
    """The second half of `create`: preparation and validation."""
    kind = type_of(resource)
    strategy = kind.strategy
    meta = _metadata(obj)
    for name in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation"):
        meta.pop(name, None)
    if strategy.has_generation:
        meta["generation"] = 1
    # Preparation and validation already see the name, the uid and the time that the object will have.
    meta["uid"] = ctx.uid
    meta["creationTimestamp"] = ctx.now
    if meta.get("generateName") and not meta.get("name"):
        meta["name"] = meta["generateName"][: 63 - len(ctx.name_suffix)] + ctx.name_suffix
    strategy.prepare_create(obj)
    ctx.settle(obj, None)
    causes = metadata.validate_metadata(meta, namespaced=resource.namespaced, name_rule=strategy.name_rule)
    if not kind.is_custom:
        causes += metadata.validate_kube_finalizers(meta)
    causes += strategy.validate(obj)
    _raise_if_invalid(resource, meta, causes)
    warnings = strategy.warnings(obj, None)
    kind.complete(obj)
    return obj, warnings


def update(resource: Resource, new: Obj, old: Obj, ctx: Context, *, subresource: str = "") -> tuple[Obj, list[str]]:
    """`new` made ready to replace `old`, and warnings. Restores what an update may not change."""
    begin_update(resource, new, old, ctx)
    return finish_update(resource, new, old, ctx, subresource=subresource)


def begin_update(resource: Resource, new: Obj, old: Obj, ctx: Context) -> None:
    """The first half of `update`, up to where others than this server may change the object."""
    _restore_identity(resource, _metadata(new), old["metadata"])
    type_of(resource).strategy.default(new)
    ctx.own(new, old)
    ctx.admit(new, old)


def finish_update(
    resource: Resource, new: Obj, old: Obj, ctx: Context, *, subresource: str = ""
) -> tuple[Obj, list[str]]:
    """The second half of `update`: preparation and validation."""
    kind, old_meta = type_of(resource), old["metadata"]
    strategy = kind.strategy
    causes = _update_part(strategy, new, old, ctx, subresource)
    causes = _validate_meta_update(resource, new, old) + causes
    _raise_if_invalid(resource, old_meta, causes)
    warnings = strategy.warnings(new, old)
    kind.complete(new)
    ownership.settle(new, old)
    return new, warnings


def reread(resource: Resource, obj: Obj, subresource: str = "") -> Obj:
    """An object that was changed on its way, read by the schema and defaulted again; raises StatusError."""
    found, _ = decoding.decode_patched(resource, obj, "Ignore", subresource=subresource)
    if not subresource:
        type_of(resource).strategy.default(found)
    return found


def apply_patch(
    resource: Resource, old: Obj, patch_type: str, raw: bytes, ctx: Context, *, subresource: str = ""
) -> tuple[Obj, list[str]]:
    """`old` with a patch of type `json`, `merge` or `strategic` (or the media type), decoded, and warnings.

    The result still has to go through `update`.
    """
    entries = old["metadata"].get("managedFields")
    patched = patches.apply(type_of(resource), old, patch_type, raw)
    metadata = patched.get("metadata")
    if entries and isinstance(metadata, dict) and metadata.get("managedFields") is entries:
        # Untouched by the patch: read from the stored object again, which is cheaper than checking them.
        patched["metadata"] = {name: value for name, value in metadata.items() if name != "managedFields"}
    return decoding.decode_patched(resource, patched, ctx.field_validation, subresource=subresource)


def _update_part(strategy: Strategy, new: Obj, old: Obj, ctx: Context, subresource: str) -> list[Cause]:
    """Restores the parts that the subresource does not reach, prepares the rest; the kind's own causes."""
    if subresource in ("status", "approval"):
        _keep_all_but_status(new, old)
        if subresource == "approval":
            conditions = (new.get("status") or {}).get("conditions")
            new["status"] = (old.get("status") or {}) | ({"conditions": conditions} if conditions else {})
        strategy.prepare_status(new, old)
        return strategy.validate_status(new, old)
    if strategy.has_status:
        _keep(new, old, "status")
    if subresource in _POD_PARTS:
        restrict, validate = _POD_PARTS[subresource]
        new["spec"] = restrict(new["spec"], old["spec"])
        _raise_generation(strategy, new, old)
        return validate(new, old)
    strategy.prepare_update(new, old)
    ctx.settle(new, old)
    _raise_generation(strategy, new, old)
    return strategy.validate_update(new, old)


def _with_ephemeral_containers(new: Obj, old: Obj) -> Obj:
    """The old spec with the new debugging containers."""
    spec = {name: value for name, value in old.items() if name != "ephemeralContainers"}
    wished = new.get("ephemeralContainers")
    return spec | {"ephemeralContainers": wished} if wished else spec


def _with_resources(new: Obj, old: Obj) -> Obj:
    """The old spec with the new resources of its containers."""
    wished = {each["name"]: each.get("resources") or {} for each in new.get("containers") or []}
    containers = [each | {"resources": wished.get(each["name"], each["resources"])} for each in old["containers"]]
    return old | {"containers": containers}


_POD_PARTS = {
    "ephemeralcontainers": (_with_ephemeral_containers, validate_ephemeral_containers),
    "resize": (_with_resources, validate_resize),
}


def _metadata(obj: Obj) -> dict[str, Any]:
    meta = obj.get("metadata")
    if not meta:
        meta = obj["metadata"] = {}
    found: dict[str, Any] = meta
    return found


def _restore_identity(resource: Resource, meta: Obj, old_meta: Obj) -> None:
    meta.setdefault("name", old_meta["name"])
    if resource.namespaced:
        meta.setdefault("namespace", old_meta.get("namespace", ""))
    meta.pop("selfLink", None)
    if not meta.get("uid"):
        meta["uid"] = old_meta["uid"]
    # Whatever a client sends, these were decided when they were written.
    for name in ("creationTimestamp", "deletionTimestamp", "generation"):
        if name in old_meta:
            meta[name] = old_meta[name]
        elif name == "generation":
            meta.pop(name, None)
    if "deletionGracePeriodSeconds" in old_meta:
        meta.setdefault("deletionGracePeriodSeconds", old_meta["deletionGracePeriodSeconds"])


def _keep(new: Obj, old: Obj, name: str) -> None:
    if name in old:
        new[name] = old[name]
    else:
        new.pop(name, None)


def _keep_all_but_status(new: Obj, old: Obj) -> None:
    for name in [*new, *old]:
        if name not in ("kind", "apiVersion", "metadata", "status"):
            _keep(new, old, name)


def _raise_generation(strategy: Strategy, new: Obj, old: Obj) -> None:
    if not strategy.has_generation:
        return
    names = strategy.generation_fields
    if names is None:
        names = tuple((new.keys() | old.keys()) - {"apiVersion", "kind", "metadata"})
    if any(new.get(name) != old.get(name) for name in names):
        new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


def _validate_meta_update(resource: Resource, new: Obj, old: Obj) -> list[Cause]:
    meta, old_meta = new["metadata"], old["metadata"]
    causes = metadata.validate_metadata(meta, namespaced=resource.namespaced)
    causes += metadata.validate_metadata_update(meta, old_meta)
    # Upstream's kinds call the same check once more, so that each of its causes is listed twice.
    return causes + metadata.validate_metadata_update(meta, old_meta)


def _raise_if_invalid(resource: Resource, meta: Obj, causes: list[Cause]) -> None:
    if causes:
        # Events of both groups are one kind inside; upstream names it by the group that it is stored under.
        group = "" if resource.group == "events.k8s.io" else resource.group
        raise invalid_object(group, resource.kind, meta.get("name", ""), causes)
