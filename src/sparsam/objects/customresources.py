"""From a CustomResourceDefinition to the resources that it adds, one for each served version. Pure.

Resources are equal as long as the definition says the same: conditions come and go without anybody looking up anything
anew, while a definition that says something else makes other resources. Schemas are large and most of them are not
looked at for long: each is kept as text, and compiled when an object first needs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from hashlib import sha256
from typing import Any

import msgspec

from sparsam.errors import BadRequest, Cause, InternalError
from sparsam.objects import diagnosis, typed
from sparsam.objects.catalog import version_rank
from sparsam.objects.fields import invalid, quote, render
from sparsam.objects.kinds import RESOURCES, STANDARD_VERBS, Resource
from sparsam.objects.metadata import FOREGROUND, ORPHAN
from sparsam.objects.objecttypes import CustomResource, Kind, PrinterColumn, ScalePaths
from sparsam.objects.scalars import Mismatch
from sparsam.objects.schema import OBJECT_META
from sparsam.objects.shapes import Struct
from sparsam.objects.strategy import Obj, Strategy
from sparsam.objects.structural import Structural, Uncompilable, compile_schema, misfits

_MAX_INT32 = (1 << 31) - 1
_AGE = PrinterColumn("Age", "date", ".metadata.creationTimestamp", description="Time since the object was created.")


def condition_is_true(definition: Obj, kind: str) -> bool:
    """Whether a definition has this condition."""
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(each.get("type") == kind and each.get("status") == "True" for each in conditions)


def resources_of(definition: Obj) -> tuple[CustomResource, ...]:
    """The resources of a stored definition, the preferred version first; none before its names are accepted."""
    if not (condition_is_true(definition, "NamesAccepted") or condition_is_true(definition, "Established")):
        return ()
    versions = {version["name"] for version in definition["spec"]["versions"] if version.get("served")}
    return tuple(each for each in _all(definition, definition["status"]["acceptedNames"]) if each.version in versions)


def stored_resource(definition: Obj) -> CustomResource | None:
    """The resource in the version that objects are stored in, whether it is served or not.

    None for a definition that claims the place of a built-in resource, whose objects are none of its own.
    """
    found = _all(definition, definition["spec"]["names"])
    stored = next(each for each in found if each.api_version == each.type.stored_as)
    taken = any(each.storage_prefix == stored.storage_prefix for each in RESOURCES)
    return None if taken else stored


def _all(definition: Obj, names: Obj) -> tuple[CustomResource, ...]:
    spec = definition["spec"]
    terminating = "deletionTimestamp" in definition["metadata"]
    digest = sha256(msgspec.json.encode([spec, names])).digest()
    views: dict[str, Resource] = {}
    stored_as = next(f"{spec['group']}/{each['name']}" for each in spec["versions"] if each.get("storage"))
    by_webhook = (spec.get("conversion") or {}).get("strategy") == "Webhook"
    found = []
    for version in sorted(spec["versions"], key=lambda each: version_rank(each["name"]), reverse=True):
        kind = (spec["group"], version["name"], names["kind"])
        own = CustomType(kind, version, stored_as, views, digest=digest, needs_conversion=by_webhook)
        resource = _resource(spec, names, own, terminating=terminating)
        found.append(resource)
        # Versions that are not served any more are still those of stored objects and of managed fields.
        views[resource.api_version] = resource
    return tuple(found)


def _resource(spec: Obj, names: Obj, kind: CustomType, *, terminating: bool) -> CustomResource:
    group, version, name = kind.kind
    return CustomResource(
        group,
        version,
        name,
        names["plural"],
        namespaced=spec["scope"] == "Namespaced",
        singular=names.get("singular") or "",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        verbs=tuple(verb for verb in STANDARD_VERBS if verb != "create" or not terminating),
        subresources=kind.subresources,
        listed_as=names.get("listKind") or "",
        type=kind,
        deprecation_warning=_deprecation(kind),
        terminating=terminating,
    )


def _deprecation(kind: CustomType) -> str:
    if not kind.version.get("deprecated"):
        return ""
    group, version, name = kind.kind
    return kind.version.get("deprecationWarning") or f"{group}/{version} {name} is deprecated"


class CustomType:
    """What is known of the objects of one version of a definition."""

    is_custom = True

    def __init__(
        self,
        kind: Kind,
        version: Obj,
        stored_as: str,
        views: Mapping[str, Resource],
        *,
        digest: bytes,
        needs_conversion: bool,
    ) -> None:
        self.kind = kind
        self.version = {name: value for name, value in version.items() if name != "schema"}
        """The entry of `spec.versions`, without the schema."""
        schema = (version.get("schema") or {}).get("openAPIV3Schema") or {}
        self._schema = msgspec.json.encode(schema)
        self.fields = ("apiVersion", "kind", "metadata", *(schema.get("properties") or ()))
        self._identity = (digest, kind)
        self.stored_as = stored_as
        """The version of the API that objects are stored in."""
        self.views = views
        self.needs_conversion = needs_conversion
        self.api_version = f"{kind[0]}/{kind[1]}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CustomType) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    @cached_property
    def structural(self) -> Structural:
        """The compiled schema; raises InternalError for one that was stored before such were refused."""
        try:
            return compile_schema(self.schema)
        except Uncompilable as error:
            what = f"the schema of {self.api_version}, Kind={self.kind[2]} is not structural: {error}"
            raise InternalError(f"Internal error occurred: {what}", details={}) from error

    @property
    def schema(self) -> Obj:
        """The schema as the definition has it."""
        return msgspec.json.decode(self._schema, type=Obj)

    @cached_property
    def subresources(self) -> tuple[str, ...]:
        """Those of status and scale that the version has."""
        wanted = self.version.get("subresources") or {}
        return tuple(name for name in ("status", "scale") if wanted.get(name) is not None)

    @cached_property
    def scale_paths(self) -> ScalePaths | None:
        """Where the scale is kept."""
        scale = (self.version.get("subresources") or {}).get("scale")
        if scale is None:
            return None
        names = ("specReplicasPath", "statusReplicasPath", "labelSelectorPath")
        return ScalePaths(*(tuple(part for part in (scale.get(name) or "").split(".") if part) for name in names))

    @cached_property
    def printer_columns(self) -> tuple[PrinterColumn, ...] | None:
        """Those of the version; the age when it has none."""
        wanted = self.version.get("additionalPrinterColumns") or ()
        return tuple(
            PrinterColumn(
                each["name"],
                each["type"],
                each["jsonPath"],
                each.get("format") or "",
                each.get("description") or "",
                each.get("priority") or 0,
            )
            for each in wanted
        ) or (_AGE,)

    @cached_property
    def selectable_fields(self) -> tuple[str, ...]:
        """The fields of the version that selectors may name."""
        return tuple(each["jsonPath"].removeprefix(".") for each in self.version.get("selectableFields") or ())

    @cached_property
    def strategy(self) -> Strategy:
        """Defaults and validation by the schema."""
        return Strategy(
            default=self.structural.default,
            prepare_create=self._prepare_create,
            prepare_status=_keep_metadata,
            validate=self._validate,
            validate_update=self._validate,
            validate_status=self._validate,
            warnings=_warnings,
            has_status="status" in self.subresources,
            has_generation=True,
            generation_fields=None,
            allow_unconditional_update=False,
        )

    @property
    def shape(self) -> Struct:
        """By the schema."""
        return self.structural.shape()

    @cached_property
    def empty(self) -> Obj:
        """Nothing but what it is."""
        return {"apiVersion": self.api_version, "kind": self.kind[2], "metadata": {}}

    def read(self, value: Any) -> tuple[Obj, bool]:
        """With what the schema does not know taken away; raises Mismatch for metadata that is none."""
        if value.__class__ is not dict:
            raise Mismatch
        obj: Obj = dict(value)
        unknown = self.structural.unknown_fields(value)
        if unknown:
            # The caller's value still has to tell what was unknown in it.
            obj = msgspec.json.decode(msgspec.json.encode(obj))
            self.structural.prune(obj)
        if value.get("metadata") is None:
            obj.pop("metadata", None)
            return obj, bool(unknown)
        obj["metadata"], more = typed.read(OBJECT_META, value["metadata"])
        return obj, bool(unknown) or more

    def type_error(self, value: Any) -> str:
        """What is wrong with the metadata."""
        metadata = value["metadata"]
        return f"metadata: Invalid value: {render(metadata)}: {diagnosis.type_error(OBJECT_META, metadata)}"

    def unknown_fields(self, value: Any) -> list[str]:
        """Those of the metadata first."""
        metadata = value.get("metadata") or {}
        found = [f"metadata.{path}" for path in diagnosis.unknown_fields(OBJECT_META, metadata)]
        return found + self.structural.unknown_fields(value)

    def complete(self, obj: Obj) -> None:
        """Nothing is added."""

    def settle(self, obj: Obj) -> None:
        """Bring a stored object, in place, to what the schema wants by now."""
        self.structural.prune(obj)
        self.structural.default(obj)

    def problems(self, config: Obj) -> Iterator[str]:
        """By the schema."""
        return misfits.find(self.structural.schema, config)

    def merge(self, old: Obj, patch: Obj) -> Obj:
        """Refused: without merge keys there is no strategy."""
        raise BadRequest("strategic merge patches are not supported for custom resources")

    def _prepare_create(self, obj: Obj) -> None:
        if "status" in self.subresources:
            obj.pop("status", None)

    def _validate(self, obj: Obj, old: Obj | None = None) -> list[Cause]:
        if obj.get("kind") != self.kind[2]:
            return [invalid("kind", obj.get("kind"), f"must be {self.kind[2]}")]
        return [*self.structural.validate(obj, old), *self._validate_scale(obj)]

    def _validate_scale(self, obj: Obj) -> Iterator[Cause]:
        if self.scale_paths is None:
            return
        for path in (self.scale_paths.spec_replicas, self.scale_paths.status_replicas):
            value: Any = obj
            for name in path:
                value = value.get(name) if isinstance(value, dict) else None
            if value.__class__ is not int:
                continue
            if value < 0:
                yield invalid("." + ".".join(path), value, "should be a non-negative integer")
            elif value > _MAX_INT32:
                text = f"should be less than or equal to {_MAX_INT32}"
                yield invalid("." + ".".join(path), value, text)


def _warnings(new: Obj, old: Obj | None) -> list[str]:
    """A word about each new finalizer that might be anybody's."""
    known = (old["metadata"].get("finalizers") or []) if old is not None else []
    added = {each for each in new["metadata"].get("finalizers") or [] if "/" not in each} - {*known, ORPHAN, FOREGROUND}
    text = "prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts"
    return [f"metadata.finalizers: {quote(each)}: {text} with other finalizer writers" for each in sorted(added)]


def _keep_metadata(new: Obj, old: Obj) -> None:
    """An update of the status of a custom resource changes nothing else, labels neither."""
    kept = {name: new["metadata"][name] for name in ("managedFields", "resourceVersion") if name in new["metadata"]}
    others = {
        name: value for name, value in old["metadata"].items() if name not in ("managedFields", "resourceVersion")
    }
    new["metadata"] = others | kept
