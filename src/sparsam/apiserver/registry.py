"""Objects in the store: the write path from a decoded object to a stored one, free of HTTP.

Every write is a compare-and-set. A write that names no resource version is tried again on the newest object when
another one came first; a write that names one fails with a Conflict.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import msgspec

from sparsam.apiserver import conversion, deletion, statuses
from sparsam.apiserver.admission import Admission, Attributes
from sparsam.apiserver.authentication import User
from sparsam.apiserver.converting import Convert, ConvertingStore, refuse
from sparsam.apiserver.deletion import DeleteOptions
from sparsam.clock import Clock, format_time
from sparsam.errors import AlreadyExists, BadRequest, Cause, StatusError
from sparsam.objects import applying, decode, ownership, pipeline
from sparsam.objects.kinds import Resource
from sparsam.objects.objecttypes import CustomResource, type_of
from sparsam.objects.strategy import Obj
from sparsam.store.interface import Entry, KeyExists, KeyMissing, RevisionMismatch, Store

SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
SUFFIX_LENGTH = 5
NAME_ATTEMPTS = 8
SWAP_ATTEMPTS = 16
OWN_MANAGER = "kube-apiserver"

Change = Callable[[Obj, pipeline.Context], tuple[Obj, list[str]]]
"""From the stored object (owned by the callee) to the wished one, plus warnings."""


@dataclass(frozen=True, slots=True)
class Call:
    """One write: what it is about, who asks, and how it is to be checked."""

    resource: Resource
    namespace: str
    name: str
    user: User
    subresource: str = ""
    dry_run: bool = False
    field_validation: str = "Warn"
    manager: str = OWN_MANAGER
    """Under which name the fields that it writes are remembered."""
    applied: bool = False
    """Whether that was written down already, by server-side apply."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The CreateOptions and so on that the client sent along, for admission."""
    admitted: bool = False
    """Whether admission has had its say already, about the request that this write is a part of."""


@dataclass(slots=True)
class Outcome:
    """What a write left behind: stored bytes, their revision (0: not stored), and warnings."""

    value: bytes
    revision: int
    warnings: list[str] = field(default_factory=list)
    created: bool = False
    removed: bool = False

    def wire(self, resource: Resource) -> bytes:
        """The object as a client sees it."""
        if self.revision:
            return conversion.wire(resource, self.value, self.revision)
        obj = conversion.decode(resource, self.value, self.revision)
        del obj["metadata"]["resourceVersion"]
        return msgspec.json.encode(obj)


class Reservation(Protocol):
    """Something taken for a write that must be given back when the write fails."""

    def undo(self) -> None:
        """Give it back."""
        ...


class Reserver(Protocol):
    """Fills in fields that must be unique over the cluster (ClusterIPs, node ports)."""

    def settle(self, new: Obj, old: Obj | None) -> None:
        """Decide, before the object is validated, what depends on the cluster's settings; raises StatusError."""
        ...

    def reserve(self, new: Obj, old: Obj | None) -> Reservation:
        """Take what `new` needs and write it into `new`; raises StatusError."""
        ...

    def release(self, obj: Obj) -> None:
        """Give back what a deleted object held."""
        ...


class Registry:
    """Create, change and delete objects."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        admission: Admission,
        reservers: Mapping[Resource, Reserver],
        convert: Convert = refuse,
    ) -> None:
        self.store = store
        self._convert = convert
        self._clock = clock
        self._admission = admission
        self._reservers = reservers

    def now(self) -> str:
        """The time to write down."""
        return format_time(self._clock.now())

    def store_of(self, resource: Resource) -> Store:
        """The store as this version of a resource sees it."""
        if isinstance(resource, CustomResource) and resource.type.needs_conversion:
            return ConvertingStore(self.store, resource, self._convert)
        return self.store

    async def get(self, resource: Resource, name: str, namespace: str = "") -> Entry:
        """The stored object; raises NotFound."""
        entry = await self.store_of(resource).get(resource.key(name, namespace))
        if entry is None:
            raise statuses.not_found(resource, name)
        return entry

    async def read(self, resource: Resource, name: str, namespace: str = "") -> Obj:
        """The decoded object; raises NotFound."""
        entry = await self.get(resource, name, namespace)
        return conversion.decode(resource, entry.value, entry.revision)

    def context(self, call: Call) -> pipeline.Context:
        """Chance, time and checks for decoding; admission comes with `create` and `change`."""
        return pipeline.Context(
            now=self.now(),
            uid=str(uuid.uuid4()),
            name_suffix=_name_suffix(),
            namespace=call.namespace,
            field_validation=call.field_validation,
        )

    async def _admitting(self, call: Call, operation: str, obj: Obj | None) -> pipeline.Context:
        admit = await self._admission.admit(_attributes(call, operation), obj)
        reserver = self._reservers.get(call.resource)
        return pipeline.Context(
            now=self.now(),
            uid=str(uuid.uuid4()),
            name_suffix=_name_suffix(),
            namespace=call.namespace,
            field_validation=call.field_validation,
            admit=admit,
            own=pipeline.nothing if call.applied else partial(ownership.record, self._writer(call)),
            settle=reserver.settle if reserver else pipeline.nothing,
        )

    async def _readmit(self, attributes: Attributes, old: Obj | None, new: Obj) -> None:
        """Run the plug-ins on an object: one that is not stored, or that others changed after them."""
        admit = await self._admission.admit(attributes, new if old is None else None)
        admit(new, old)

    def _writer(self, call: Call) -> ownership.Writer:
        return ownership.Writer(call.manager, call.resource, self.now(), conversion.between, call.subresource)

    async def create(self, call: Call, obj: Obj, warnings: list[str] | None = None) -> Outcome:
        """Store a new object; raises Invalid, AlreadyExists and what admission objects to.

        `warnings` are those of decoding. More are added in place, so that the caller has them when this raises.
        """
        resource = call.resource
        metadata = obj.get("metadata") or {}
        if metadata.get("resourceVersion"):
            raise BadRequest("resourceVersion should not be set on objects to be created")
        _check_namespace(call, obj)
        generated = not metadata.get("name")
        ctx = await self._admitting(call, "CREATE", obj)
        warnings = [] if warnings is None else warnings
        attributes = _attributes(call, "CREATE")
        pipeline.begin_create(resource, obj, ctx)
        if not call.admitted:
            obj, told = await self._admission.mutate(attributes, obj, None, partial(self._readmit, attributes, None))
            _check_namespace(call, obj)
            warnings += told
        obj, more = pipeline.finish_create(resource, obj, ctx)
        warnings += more
        if not call.admitted:
            warnings += await self._admission.validate(attributes, obj, None)
        reserver = self._reservers.get(resource)
        reservation = reserver.reserve(obj, None) if reserver else None
        try:
            entry = await self._insert(call, obj, generated=generated)
        except BaseException:
            if reservation:
                reservation.undo()
            raise
        if call.dry_run and reservation:
            reservation.undo()
        return Outcome(entry.value, entry.revision, warnings, created=True)

    async def _insert(self, call: Call, obj: Obj, *, generated: bool) -> Entry:
        store = self.store_of(call.resource)
        for attempt in range(NAME_ATTEMPTS):
            metadata = obj["metadata"]
            key = call.resource.key(metadata["name"], call.namespace)
            value = conversion.encode(call.resource, obj)
            try:
                if not call.dry_run:
                    return await store.create(key, value)
                if await self.store.get(key) is None:
                    return Entry(key, value, 0, 0)
            except KeyExists:
                pass
            if not generated or attempt == NAME_ATTEMPTS - 1:
                break
            metadata["name"] = metadata["generateName"][: 63 - SUFFIX_LENGTH] + _name_suffix()
        raise statuses.already_exists(call.resource, obj["metadata"]["name"])

    async def change(self, call: Call, change: Change) -> Outcome:
        """Replace an object by what `change` makes of it, with all checks of an update."""
        ctx = await self._admitting(call, "UPDATE", None)
        attributes = _attributes(call, "UPDATE")
        reserver = self._reservers.get(call.resource) if not call.subresource else None

        async def compute(old: Obj, entry: Entry) -> tuple[Obj, list[str]]:
            new, warnings = change(conversion.decode(call.resource, entry.value, entry.revision), ctx)
            check_identity(call, new, old)
            pipeline.begin_update(call.resource, new, old, ctx)
            new, told = await self._admission.mutate(attributes, new, old, partial(self._readmit, attributes, old))
            check_name(call, new["metadata"])
            new, more = pipeline.finish_update(call.resource, new, old, ctx, subresource=call.subresource)
            return new, [*warnings, *told, *more, *await self._admission.validate(attributes, new, old)]

        return await self._swap(call, compute, reserver)

    async def admit(self, call: Call, operation: str, obj: Obj) -> tuple[Obj, list[str]]:
        """What admission makes of something that is not stored: a binding, an eviction, a connection; and warnings."""
        attributes = _attributes(call, operation)
        readmit = partial(self._readmit, attributes, None)
        await readmit(obj)
        obj, told = await self._admission.mutate(attributes, obj, None, readmit)
        return obj, [*told, *await self._admission.validate(attributes, obj, None)]

    async def apply(
        self,
        call: Call,
        config: Obj,
        *,
        force: bool,
        creatable: Callable[[], None],
    ) -> Outcome:
        """Server-side apply of a configuration; `creatable` raises when the caller may not create what is not there.

        Raises Conflict when others own fields that the configuration wants otherwise, unless it is forced.
        """
        call = replace(call, applied=True)
        if not call.subresource and await self.store.get(call.resource.key(call.name, call.namespace)) is None:
            creatable()
            try:
                return await self.create(call, self._applied_first(call, config))
            except AlreadyExists:
                # Somebody was faster: now there is something to apply to.
                pass

        def change(old: Obj, _ctx: pipeline.Context) -> tuple[Obj, list[str]]:
            new = applying.apply(self._writer(call), old, config, force=force)
            return decode.decode_patched(call.resource, new, "Ignore")

        return await self.change(call, change)

    def _applied_first(self, call: Call, config: Obj) -> Obj:
        new = applying.apply(self._writer(call), None, config)
        obj, _ = decode.decode_patched(call.resource, new, "Ignore")
        metadata = obj["metadata"]
        check_name(call, metadata)
        if metadata.get("uid"):
            why = f"uid mismatch: the provided object specified uid {metadata['uid']}, and no existing object was found"
            raise statuses.conflict(call.resource, call.name, why)
        metadata.pop("resourceVersion", None)
        return obj

    async def mutate(self, call: Call, mutate: Callable[[Obj], None], *, is_admitted: bool = True) -> Outcome:
        """Change an object in place without an update's checks: for bindings and the server's own marks.

        Admission is asked about the change only where it was not before (`is_admitted`).
        """
        attributes = _attributes(call, "UPDATE")

        async def compute(old: Obj, entry: Entry) -> tuple[Obj, list[str]]:
            if is_admitted:
                mutate(old)
                return old, []
            new = conversion.decode(call.resource, entry.value, entry.revision)
            mutate(new)
            new, told = await self._admission.mutate(attributes, new, old, _done)
            check_name(call, new["metadata"])
            return new, [*told, *await self._admission.validate(attributes, new, old)]

        return await self._swap(call, compute, None)

    async def _swap(
        self,
        call: Call,
        compute: Callable[[Obj, Entry], Awaitable[tuple[Obj, list[str]]]],
        reserver: Reserver | None,
    ) -> Outcome:
        entry = await self.get(call.resource, call.name, call.namespace)
        for _ in range(SWAP_ATTEMPTS):
            old = conversion.decode(call.resource, entry.value, entry.revision)
            new, warnings = await compute(old, entry)
            reservation = reserver.reserve(new, old) if reserver else None
            try:
                stored = await self._replace(call, new, entry)
            except RevisionMismatch as mismatch:
                if reservation:
                    reservation.undo()
                # Not read again: the writer ahead of us may not be durable, hence not visible, yet.
                entry = mismatch.current
                continue
            except BaseException:
                if reservation:
                    reservation.undo()
                raise
            if call.dry_run and reservation:
                reservation.undo()
            return Outcome(stored.value, stored.revision, warnings)
        raise statuses.conflict(call.resource, call.name)

    async def _replace(self, call: Call, new: Obj, entry: Entry) -> Entry:
        value = conversion.encode(call.resource, new)
        if call.dry_run or value == entry.value:
            return Entry(entry.key, value, entry.revision, entry.created_revision)
        try:
            if deletion.is_finished(call.resource, new):
                return await self._remove(call.resource, new, entry, value)
            return await self.store_of(call.resource).update(entry.key, value, expected=entry.revision)
        except KeyMissing:
            raise statuses.not_found(call.resource, call.name) from None

    async def _remove(self, resource: Resource, obj: Obj, entry: Entry, value: bytes) -> Entry:
        # The last marks are told to the caller only: watchers see the object as it was stored, as upstream has it.
        removed = await self.store_of(resource).delete(entry.key, expected=entry.revision)
        reserver = self._reservers.get(resource)
        if reserver:
            reserver.release(obj)
        return Entry(entry.key, value, removed.revision, entry.created_revision)

    async def delete(self, call: Call, options: DeleteOptions) -> Outcome:
        """Delete or mark an object; `removed` says whether it is gone."""
        resource = call.resource
        strategy = type_of(resource).strategy
        await self._admission.admit(_attributes(call, "DELETE"), None)
        entry = await self.get(resource, call.name, call.namespace)
        for _ in range(SWAP_ATTEMPTS):
            obj = conversion.decode(resource, entry.value, entry.revision)
            deletion.check_preconditions(resource, obj, options)
            warnings = [] if call.admitted else await self._admit_deletion(call, obj)
            decision = deletion.plan(resource, strategy, obj, options, self.now())
            if decision.changed is None:
                return Outcome(entry.value, entry.revision, warnings)
            value = conversion.encode(resource, decision.changed)
            if options.dry_run:
                return Outcome(value, entry.revision, warnings, removed=decision.remove)
            try:
                if decision.remove:
                    gone = await self._remove(resource, decision.changed, entry, value)
                    return Outcome(value, gone.revision, warnings, removed=True)
                stored = await self.store_of(resource).update(entry.key, value, expected=entry.revision)
            except RevisionMismatch as mismatch:
                entry = mismatch.current
                continue
            except KeyMissing:
                raise statuses.not_found(resource, call.name) from None
            return Outcome(value, stored.revision, warnings)
        raise statuses.conflict(resource, call.name)

    async def _admit_deletion(self, call: Call, obj: Obj) -> list[str]:
        attributes = _attributes(call, "DELETE")
        _, told = await self._admission.mutate(attributes, {}, obj, _done)
        return [*told, *await self._admission.validate(attributes, {}, obj)]


def check_identity(call: Call, new: Obj, old: Obj) -> None:
    """Raises when the object in the request is not the object at the URL, or not the version that is stored."""
    metadata, stored = new.get("metadata") or {}, old["metadata"]
    check_name(call, metadata)
    name = call.name
    uid = metadata.get("uid") or stored["uid"]
    if uid != stored["uid"]:
        raise statuses.conflict(
            call.resource, name, f"Precondition failed: UID in precondition: {uid}, UID in object meta: {stored['uid']}"
        )
    version = metadata.get("resourceVersion") or "0"
    if version == "0":
        if not type_of(call.resource).strategy.allow_unconditional_update:
            raise _version_required(call.resource, name)
        return
    if version != stored["resourceVersion"]:
        raise statuses.conflict(call.resource, name)


def _check_namespace(call: Call, obj: Obj) -> None:
    namespace = (obj.get("metadata") or {}).get("namespace") or call.namespace
    if call.resource.namespaced and namespace != call.namespace:
        raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")


def check_name(call: Call, metadata: Obj) -> None:
    """Raises when the metadata names another object than the URL does."""
    name = metadata.get("name") or call.name
    if name != call.name:
        raise BadRequest(f"the name of the object ({name}) does not match the name on the URL ({call.name})")
    namespace = metadata.get("namespace") or call.namespace
    if namespace != call.namespace:
        raise BadRequest(
            f"the namespace of the object ({namespace}) does not match the namespace on the URL ({call.namespace})"
        )


def _attributes(call: Call, operation: str) -> Attributes:
    where = call.resource, call.namespace, call.name
    return Attributes(operation, *where, call.user, call.subresource, call.dry_run, call.options)


async def _done(_obj: Obj) -> None:
    """Plug-ins have nothing to add to what is not stored."""


def _version_required(resource: Resource, name: str) -> StatusError:
    message = "Invalid value: 0: must be specified for an update"
    cause = Cause("FieldValueInvalid", message, "metadata.resourceVersion")
    return statuses.invalid(resource.kind, name, [cause], group=resource.group)


def _name_suffix() -> str:
    return "".join(random.choices(SUFFIX_ALPHABET, k=SUFFIX_LENGTH))
