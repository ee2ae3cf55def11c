"""The REST verbs on resources: from a request to the store and back."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import replace

import msgspec

from sparsam.apiserver import listing, output, protobuf, statuses, watching
from sparsam.apiserver.app import method_not_allowed, not_served
from sparsam.apiserver.authorization import Authorizer, require
from sparsam.apiserver.deletion import DeleteOptions
from sparsam.apiserver.http import Answer, Reply, Request, StreamReply
from sparsam.apiserver.listing import ListOptions
from sparsam.apiserver.media import essence, negotiate
from sparsam.apiserver.options import delete_options, dry_run, field_manager, field_validation, forced, sent_options
from sparsam.apiserver.registry import Call, Outcome, Registry
from sparsam.apiserver.routes import Route
from sparsam.apiserver.selection import Selection, parse_selection
from sparsam.apiserver.served import Served
from sparsam.apiserver.watching import Watch
from sparsam.errors import MethodNotAllowed, NotFound, StatusError, UnsupportedMediaType
from sparsam.objects import applying, pipeline
from sparsam.objects.kinds import Resource
from sparsam.objects.objecttypes import CustomResource
from sparsam.objects.strategy import Obj

Handler = Callable[[Request, Route, Resource], Awaitable[Answer]]

BODY_TYPES = ("application/json", "application/yaml", "text/yaml", "application/x-yaml")
APPLY = "apply"
PATCH_TYPES = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/apply-patch+yaml": APPLY,
}
ON_COLLECTIONS = frozenset({"create", "list", "watch", "deletecollection"})

# Kinds whose storage hands the deleted object back instead of a Status. Namespaces do while they terminate.
RETURNS_DELETED = frozenset(
    {
        "pods",
        "services",
        "serviceaccounts",
        "persistentvolumes",
        "persistentvolumeclaims",
        "podtemplates",
        "resourcequotas",
        "storageclasses",
        "csidrivers",
        "csinodes",
        "volumeattachments",
        "volumeattributesclasses",
    }
)
# Kinds that keep their dependents unless the client says otherwise, a rule from before garbage collection.
ORPHANS_BY_DEFAULT = frozenset({("", "replicationcontrollers"), ("batch", "jobs")})
JOB_WARNING = (
    "child pods are preserved by default when jobs are deleted; "
    "set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning"
)


def _never() -> None:
    """Parts of objects are not created by applying to them: the registry does not ask."""


class Verbs:
    """Generic handlers for every resource."""

    def __init__(self, registry: Registry, served: Served, authorizer: Authorizer, *, max_body_bytes: int) -> None:
        self._registry = registry
        self._served = served
        self._authorizer = authorizer
        self._store = registry.store
        self._max_body_bytes = max_body_bytes

    async def __call__(self, request: Request, route: Route) -> Answer:
        """Answer a request on a collection or an object (not on a subresource)."""
        resource = route.resource
        if resource is None:
            raise not_served()
        verb = route.verb(request.method, watch="watch" in request.query and request.flag("watch"))
        if verb not in resource.verbs:
            raise _not_while_terminating(verb) if _is_terminating(resource) else method_not_allowed()
        if (verb in ON_COLLECTIONS) == bool(route.name):
            raise method_not_allowed()
        if resource.namespaced and not route.namespace and verb not in ("list", "watch"):
            raise method_not_allowed()
        handler: Handler = getattr(self, verb)
        return await handler(request, route, resource)

    async def get(self, request: Request, route: Route, resource: Resource) -> Answer:
        """GET of one object."""
        media = negotiate(request.header(b"accept"))
        version = request.query.get("resourceVersion", "")
        if version:
            asked = listing.parse_version(version)
            if asked > self._store.revision:
                raise statuses.too_large_version(asked, self._store.revision)
        entry = await self._registry.get(resource, route.name, route.namespace)
        return output.one(resource, entry.value, entry.revision, media, request.query)

    async def list(self, request: Request, route: Route, resource: Resource) -> Answer:
        """GET of a collection."""
        media = negotiate(request.header(b"accept"))
        options = listing.parse_options(request.query)
        selection = parse_selection(resource, request.query)
        listed = await listing.read(
            self._registry.store_of(resource), _prefix(resource, route, selection), options, selection
        )
        return output.many(resource, listed, media, request.query)

    async def watch(self, request: Request, route: Route, resource: Resource) -> Answer:
        """GET of a collection with watch=1."""
        media = negotiate(request.header(b"accept"))
        options = watching.parse_options(request.query)
        selection = parse_selection(resource, request.query)
        render = output.event_render(resource, media, request.query)
        prefix = _prefix(resource, route, selection)
        watch = Watch(self._registry.store_of(resource), resource, prefix, options, selection, render)
        return StreamReply(
            watch.chunks(),
            content_type=media.content_type,
            timeout_seconds=options.timeout_seconds,
            until=self._served.end_of(resource),
        )

    async def create(self, request: Request, route: Route, resource: Resource) -> Answer:
        """POST to a collection."""
        media = negotiate(request.header(b"accept"))
        call = self._call(request, route, resource, "CreateOptions")
        raw, content_type = await self.object_body(request, resource)
        obj, warnings = pipeline.decode(resource, raw, content_type, self._registry.context(call))
        with _telling(warnings):
            outcome = await self._registry.create(call, obj, warnings)
        return output.written(resource, outcome, media, request.query)

    async def update(self, request: Request, route: Route, resource: Resource) -> Answer:
        """PUT of an object."""
        media = negotiate(request.header(b"accept"))
        call = self._call(request, route, resource, "UpdateOptions")
        raw, content_type = await self.object_body(request, resource)
        outcome = await self.put(call, raw, content_type)
        return output.written(resource, outcome, media, request.query)

    async def patch(self, request: Request, route: Route, resource: Resource) -> Answer:
        """PATCH of an object."""
        media = negotiate(request.header(b"accept"))
        patch_type = self.patch_type(request, resource)
        call = self._call(request, route, resource, "PatchOptions")
        force = forced(request.query, applying=patch_type == APPLY)
        raw = await self.patch_body(request)
        if patch_type == APPLY:

            def creatable() -> None:
                self._check_creation(request, route)

            outcome = await self.apply(call, raw, lambda config: config, force=force, creatable=creatable)
        else:
            outcome = await self.change(call, patch_type, raw)
        return output.written(resource, outcome, media, request.query)

    def _check_creation(self, request: Request, route: Route) -> None:
        """Raises Forbidden for a client that may patch, but not create."""
        action = route.action("POST", watch=False)
        require(self._authorizer, request.user, action)

    async def put(self, call: Call, raw: bytes, content_type: str) -> Outcome:
        """Replace an object (or, with `call.subresource`, its part) by the one in a body."""
        ctx = self._registry.context(call)
        wished, warnings = pipeline.decode(call.resource, raw, content_type, ctx, subresource=call.subresource)
        fresh = msgspec.json.encode(wished)

        def change(_old: Obj, _ctx: pipeline.Context) -> tuple[Obj, list[str]]:
            # Each attempt owns its copy: the pipeline changes objects in place.
            copy: Obj = msgspec.json.decode(fresh)
            return copy, warnings

        with _telling(warnings):
            return await self._registry.change(call, change)

    async def apply(
        self,
        call: Call,
        raw: bytes,
        as_whole: Callable[[Obj], Obj],
        *,
        force: bool,
        creatable: Callable[[], None] = _never,
    ) -> Outcome:
        """Server-side apply of the configuration in a body; `as_whole` makes one for the whole object of it."""
        config, warnings = applying.read(raw, call.field_validation)
        with _telling(warnings):
            outcome = await self._registry.apply(call, as_whole(config), force=force, creatable=creatable)
        outcome.warnings = [*warnings, *outcome.warnings]
        return outcome

    async def change(self, call: Call, patch_type: str, raw: bytes) -> Outcome:
        """Patch an object (or its part)."""

        def change(old: Obj, ctx: pipeline.Context) -> tuple[Obj, list[str]]:
            return pipeline.apply_patch(call.resource, old, patch_type, raw, ctx, subresource=call.subresource)

        return await self._registry.change(call, change)

    async def delete(self, request: Request, route: Route, resource: Resource) -> Answer:
        """DELETE of one object."""
        media = negotiate(request.header(b"accept"))
        options = await self._delete_options(request)
        call = replace(self._call(request, route, resource, "DeleteOptions"), dry_run=options.dry_run)
        call = replace(call, options=options.as_json())
        outcome = await self.remove(call, options)
        if outcome.removed and not _returns_deleted(resource):
            return Reply(_deleted_status(resource, outcome), headers=output.warning_headers(outcome.warnings))
        return output.written(resource, outcome, media, request.query)

    async def remove(self, call: Call, options: DeleteOptions) -> Outcome:
        """Delete with the kind's own default for dependents."""
        resource, warnings = call.resource, []
        default = options.policy is None and options.orphan_dependents is None
        if default and (resource.group, resource.plural) in ORPHANS_BY_DEFAULT:
            options = replace(options, policy="Orphan")
            if resource.plural == "jobs":
                warnings.append(JOB_WARNING)
        outcome = await self._registry.delete(call, options)
        outcome.warnings = [*warnings, *outcome.warnings]
        return outcome

    async def deletecollection(self, request: Request, route: Route, resource: Resource) -> Answer:
        """DELETE of everything that is selected."""
        media = negotiate(request.header(b"accept"))
        options = await self._delete_options(request)
        selection = parse_selection(resource, request.query)
        listed = await listing.read(
            self._registry.store_of(resource), _prefix(resource, route, selection), ListOptions(), selection
        )
        prefix_length = len(resource.storage_prefix)
        for entry in listed.entries:
            namespace, _, name = entry.key[prefix_length:].rpartition("/")
            call = Call(resource, namespace, name, request.user, dry_run=options.dry_run, options=options.as_json())
            try:
                await self.remove(call, options)
            except NotFound:
                continue
        return output.many(resource, listed, media, request.query)

    async def object_body(self, request: Request, resource: Resource | None = None) -> tuple[bytes, str]:
        """The body and its type; raises UnsupportedMediaType for what is not read here.

        There is no protobuf of custom resources, hence their `resource` must be told.
        """
        content_type = essence(request.header(b"content-type")) or "application/json"
        is_custom = isinstance(resource, CustomResource)
        if content_type == protobuf.CONTENT_TYPE and not is_custom:
            return protobuf.to_json(await request.body(self._max_body_bytes)), "application/json"
        if content_type not in BODY_TYPES:
            raise _unknown_format(
                ["application/json", "application/yaml", *([] if is_custom else [protobuf.CONTENT_TYPE])]
            )
        return await request.body(self._max_body_bytes), content_type

    async def patch_body(self, request: Request) -> bytes:
        """The body of a patch."""
        return await request.body(self._max_body_bytes)

    def patch_type(self, request: Request, resource: Resource) -> str:
        """The kind of patch; raises UnsupportedMediaType."""
        content_type = essence(request.header(b"content-type"))
        if isinstance(resource, CustomResource):
            # Lists of custom resources have no merge keys, hence there are no strategic patches.
            offered = [each for each, kind in PATCH_TYPES.items() if kind != "strategic"]
            if content_type not in offered:
                raise _unknown_format(offered)
        if content_type not in PATCH_TYPES:
            raise UnsupportedMediaType("415: Unsupported Media Type", details={})
        return PATCH_TYPES[content_type]

    async def _delete_options(self, request: Request) -> DeleteOptions:
        content_type = essence(request.header(b"content-type")) or "application/json"
        raw = await request.body(self._max_body_bytes)
        return delete_options(raw, content_type, request.query)

    def _call(self, request: Request, route: Route, resource: Resource, options_kind: str) -> Call:
        query = request.query
        return Call(
            resource,
            route.namespace,
            route.name,
            request.user,
            route.subresource,
            dry_run(query, options_kind) if "dryRun" in query else False,
            field_validation(query, options_kind) if "fieldValidation" in query else "Warn",
            field_manager(query, options_kind, request.header(b"user-agent")),
            options=sent_options(query, options_kind),
        )

    call = _call


def _returns_deleted(resource: Resource) -> bool:
    return resource.plural in RETURNS_DELETED and not isinstance(resource, CustomResource)


def _unknown_format(accepted: Sequence[str]) -> UnsupportedMediaType:
    text = "the body of the request was in an unknown format - accepted media types include"
    return UnsupportedMediaType(f"{text}: {', '.join(accepted)}")


def _is_terminating(resource: Resource) -> bool:
    return isinstance(resource, CustomResource) and resource.terminating


def _not_while_terminating(verb: str) -> MethodNotAllowed:
    return MethodNotAllowed(f"{verb} not allowed while custom resource definition is terminating", details={})


def _prefix(resource: Resource, route: Route, selection: Selection) -> str:
    """Where to look: as few keys as the selector allows."""
    if not resource.namespaced:
        return resource.storage_prefix + selection.name
    if not route.namespace:
        return resource.storage_prefix
    return f"{resource.storage_prefix}{route.namespace}/{selection.name}"


def _deleted_status(resource: Resource, outcome: Outcome) -> bytes:
    metadata = msgspec.json.decode(outcome.value, type=Obj)["metadata"]
    details = statuses.details_of(resource, metadata["name"]) | {"uid": metadata["uid"]}
    status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
    return msgspec.json.encode(status)


@contextlib.contextmanager
def _telling(warnings: list[str]) -> Iterator[None]:
    """What there was to say goes with a refusal too."""
    try:
        yield
    except StatusError as error:
        error.headers = (*error.headers, *output.warning_headers(warnings))
        raise
