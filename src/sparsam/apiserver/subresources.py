"""Parts and actions of objects: status, scale, binding, eviction, finalize, token."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec

from sparsam.apiserver import conversion, output, pods, statuses
from sparsam.apiserver.app import method_not_allowed, not_served
from sparsam.apiserver.discovery import subresource_verbs
from sparsam.apiserver.evictions import EVICTIONS, Evictions
from sparsam.apiserver.http import Answer, Reply, Request
from sparsam.apiserver.media import negotiate
from sparsam.apiserver.options import delete_options, forced
from sparsam.apiserver.reader import StoreReader
from sparsam.apiserver.registry import Call, Outcome, Registry, check_identity
from sparsam.apiserver.routes import Route
from sparsam.apiserver.tokens import BINDABLE, BoundObject, ServiceAccountTokens
from sparsam.apiserver.verbs import APPLY, Verbs
from sparsam.clock import format_time, parse_time
from sparsam.errors import BadRequest, Cause
from sparsam.objects import pipeline, scale
from sparsam.objects.kinds import PODS, SERVICEACCOUNTS, Resource, find
from sparsam.objects.strategy import Obj

Handler = Callable[[Request, Route, Resource], Awaitable[Answer]]

TOKEN_REQUESTS = Resource("authentication.k8s.io", "v1", "TokenRequest", "tokenrequests", verbs=("create",))
MIN_TOKEN_SECONDS = 600
MAX_TOKEN_SECONDS = 1 << 32
DEFAULT_TOKEN_SECONDS = 3600


class Subresources:
    """Handlers by name of subresource."""

    def __init__(self, verbs: Verbs, registry: Registry, reader: StoreReader, tokens: ServiceAccountTokens) -> None:
        self._verbs = verbs
        self._registry = registry
        self._reader = reader
        self._tokens = tokens
        self._evictions = Evictions(registry, reader, verbs.remove)
        self._handlers: dict[tuple[str, str], Handler] = {
            ("pods", "binding"): self._bind,
            ("pods", "eviction"): self._evict,
            ("namespaces", "finalize"): self._finalize,
            ("serviceaccounts", "token"): self._token,
        }

    async def __call__(self, request: Request, route: Route, resource: Resource) -> Answer:
        """Answer a request on a subresource."""
        allowed = subresource_verbs(resource, route.subresource)
        if not allowed or route.rest:
            raise not_served()
        verb = route.verb(request.method, watch=False)
        if verb not in allowed:
            raise method_not_allowed()
        default = self._scale if route.subresource == "scale" else self._part
        handler = self._handlers.get((resource.plural, route.subresource), default)
        return await handler(request, route, resource)

    async def create_binding(self, request: Request, route: Route) -> Answer:
        """POST to `bindings`, the old way to bind: the Pod is named in the body."""
        binding = await self._body(request, _known("", "bindings"), route)
        name = (binding.get("metadata") or {}).get("name", "")
        return await self._bind_pod(request, replace_route(route, name), binding)

    async def _part(self, request: Request, route: Route, resource: Resource) -> Answer:
        """GET, PUT and PATCH of a part that has the shape of the whole object."""
        if request.method in ("GET", "HEAD"):
            return await self._verbs.get(request, route, resource)
        if request.method == "PUT":
            return await self._verbs.update(request, route, resource)
        return await self._verbs.patch(request, route, resource)

    async def _finalize(self, request: Request, route: Route, resource: Resource) -> Answer:
        """PUT of a namespace's finalizers, which an ordinary update may not change."""
        media = negotiate(request.header(b"accept"))
        call = self._verbs.call(request, route, resource, "UpdateOptions")
        wished = await self._body(request, resource, route)

        def finalize(namespace: Obj) -> None:
            check_identity(call, wished, namespace)
            finalizers = (wished.get("spec") or {}).get("finalizers")
            namespace["spec"] = {"finalizers": finalizers} if finalizers else {}

        outcome = await self._registry.mutate(call, finalize, is_admitted=False)
        return output.written(resource, outcome, media, request.query)

    async def _scale(self, request: Request, route: Route, resource: Resource) -> Answer:
        media = negotiate(request.header(b"accept"))
        if request.method in ("GET", "HEAD"):
            found = await self._registry.read(resource, route.name, route.namespace)
            return output.virtual(scale.view(resource, found), media)
        if request.method == "PATCH":
            outcome = await self._patch_scale(request, self._verbs.call(request, route, resource, "PatchOptions"))
        else:
            outcome = await self._put_scale(request, self._verbs.call(request, route, resource, "UpdateOptions"))
        reply = output.virtual(
            scale.view(resource, conversion.decode(resource, outcome.value, outcome.revision)), media
        )
        reply.headers = output.warning_headers(outcome.warnings)
        return reply

    async def _patch_scale(self, request: Request, call: Call) -> Outcome:
        patch_type = self._verbs.patch_type(request, call.resource)
        force = forced(request.query, applying=patch_type == APPLY)
        raw = await self._verbs.patch_body(request)
        if patch_type == APPLY:
            return await self._verbs.apply(call, raw, partial(scale.configuration, call.resource), force=force)

        def change(old: Obj, _ctx: pipeline.Context) -> tuple[Obj, list[str]]:
            wished, warnings = scale.patch(call.resource, old, patch_type, raw, call.field_validation)
            return scale.update(call.resource, old, wished), warnings

        return await self._registry.change(call, change)

    async def _put_scale(self, request: Request, call: Call) -> Outcome:
        raw, content_type = await self._verbs.object_body(request)
        ctx = self._registry.context(call)
        wished, warnings = pipeline.decode(call.resource, raw, content_type, ctx, subresource="scale")

        def change(old: Obj, _ctx: pipeline.Context) -> tuple[Obj, list[str]]:
            return scale.update(call.resource, old, wished), warnings

        return await self._registry.change(call, change)

    async def _bind(self, request: Request, route: Route, _resource: Resource) -> Answer:
        binding = await self._body(request, _known("", "bindings"), route)
        return await self._bind_pod(request, route, binding)

    async def _bind_pod(self, request: Request, route: Route, binding: Obj) -> Answer:
        pods.check_binding(binding, route.name)
        call = replace(self._verbs.call(request, route, PODS, "CreateOptions"), subresource="binding")
        binding, warnings = await self._registry.admit(call, "CREATE", binding)
        pods.check_binding(binding, route.name)
        now = self._registry.now()
        await self._registry.mutate(call, lambda pod: pods.bind(pod, binding, now))
        return _success(201, warnings)

    async def _evict(self, request: Request, route: Route, resource: Resource) -> Answer:
        raw, content_type = await self._verbs.object_body(request)
        call = self._verbs.call(request, route, resource, "CreateOptions")
        eviction, _ = pipeline.decode(EVICTIONS, raw, content_type, self._registry.context(call))
        name = (eviction.get("metadata") or {}).get("name") or route.name
        if name != route.name:
            raise BadRequest("name in URL does not match name in Eviction object")
        eviction, warnings = await self._registry.admit(call, "CREATE", eviction)
        encoded = msgspec.json.encode(eviction.get("deleteOptions") or {})
        options = delete_options(encoded, "application/json", {})
        options = replace(options, dry_run=options.dry_run or call.dry_run)
        # The delete that follows is a part of the eviction, about which admission was asked.
        call = replace(call, subresource="", dry_run=options.dry_run, admitted=True)
        await self._evictions.evict(call, options)
        return _success(201, warnings)

    async def _token(self, request: Request, route: Route, resource: Resource) -> Answer:
        media = negotiate(request.header(b"accept"))
        review = await self._body(request, TOKEN_REQUESTS, route)
        account = await self._registry.read(SERVICEACCOUNTS, route.name, route.namespace)
        call = self._verbs.call(request, route, resource, "CreateOptions")
        review, warnings = await self._registry.admit(call, "CREATE", review)
        spec = review.setdefault("spec", {})
        seconds = spec.get("expirationSeconds") or DEFAULT_TOKEN_SECONDS
        _check_duration(route.name, seconds)
        bound = await self._bound_objects(spec.get("boundObjectRef") or {}, route.namespace)
        audiences = spec.get("audiences") or [self._tokens.issuer]
        now = self._registry.now()
        token = self._tokens.issue(account, audiences, seconds, bound)
        spec |= {"audiences": audiences, "expirationSeconds": seconds}
        spec.setdefault("boundObjectRef", None)
        expires = format_time(parse_time(now) + timedelta(seconds=seconds))
        metadata = {"name": route.name, "namespace": route.namespace, "creationTimestamp": now}
        status = {"token": token, "expirationTimestamp": expires}
        answer = {
            "kind": TOKEN_REQUESTS.kind,
            "apiVersion": TOKEN_REQUESTS.api_version,
            "metadata": metadata,
            "spec": spec,
            "status": status,
        }
        reply = output.virtual(answer, media, status=201)
        reply.headers = output.warning_headers(warnings)
        return reply

    async def _bound_objects(self, reference: dict[str, Any], namespace: str) -> list[BoundObject]:
        if not reference:
            return []
        kind, name, uid = reference.get("kind", ""), reference.get("name", ""), reference.get("uid", "")
        resource = BINDABLE.get(kind.lower())
        if resource is None or reference.get("apiVersion", "v1") != "v1":
            raise BadRequest(f"cannot bind token for serviceaccount to object of type {kind}")
        obj = await self._registry.read(resource, name, namespace if resource.namespaced else "")
        found = obj["metadata"]["uid"]
        if uid and uid != found:
            why = f"the UID in the bound object reference ({uid}) does not match the UID in record. "
            why += "The object might have been deleted and then recreated"
            raise statuses.conflict(resource, name, why)
        bound = [BoundObject(kind, name, found)]
        node_name = (obj.get("spec") or {}).get("nodeName") if resource is PODS else None
        node = await self._reader.find(BINDABLE["node"], node_name) if node_name else None
        if node is not None:
            bound.append(BoundObject("Node", node["metadata"]["name"], node["metadata"]["uid"]))
        return bound

    async def _body(self, request: Request, kind: Resource, route: Route) -> Obj:
        raw, content_type = await self._verbs.object_body(request)
        call = self._verbs.call(request, route, kind, "CreateOptions")
        obj, _ = pipeline.decode(kind, raw, content_type, self._registry.context(call))
        return obj


def replace_route(route: Route, name: str) -> Route:
    """The route of the Pod that a Binding names."""
    return Route(route.group, route.version, PODS.plural, route.namespace, name, "binding", "", PODS)


def _known(group: str, plural: str) -> Resource:
    resource = find(group, "v1", plural)
    if resource is None:
        raise ValueError(f"{plural} is not served")
    return resource


def _check_duration(name: str, seconds: int) -> None:
    if seconds < MIN_TOKEN_SECONDS:
        detail = "may not specify a duration less than 10 minutes"
    elif seconds > MAX_TOKEN_SECONDS:
        detail = "may not specify a duration larger than 2^32 seconds"
    else:
        return
    cause = Cause("FieldValueInvalid", f"Invalid value: {seconds}: {detail}", "spec.expirationSeconds")
    raise statuses.invalid("TokenRequest", name, [cause], group=TOKEN_REQUESTS.group)


def _success(status: int, warnings: list[str]) -> Reply:
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": status}
    return Reply(msgspec.json.encode(body), status, headers=output.warning_headers(warnings))
