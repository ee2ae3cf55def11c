"""Everything below a group and version: generic verbs, subresources, reviews, and what ends elsewhere."""

from __future__ import annotations

from sparsam.apiserver import metrics, output
from sparsam.apiserver.agents import AgentLink
from sparsam.apiserver.app import not_served
from sparsam.apiserver.authentication import Authenticator
from sparsam.apiserver.authorization import Authorizer
from sparsam.apiserver.config import ApiServerConfig
from sparsam.apiserver.http import Answer, Receive, Request, Scope, Send
from sparsam.apiserver.media import negotiate
from sparsam.apiserver.proxying import PARTS, Proxying
from sparsam.apiserver.reader import StoreReader
from sparsam.apiserver.registry import Registry
from sparsam.apiserver.reviews import KINDS, Reviews
from sparsam.apiserver.routes import Route
from sparsam.apiserver.served import Served
from sparsam.apiserver.subresources import Subresources
from sparsam.apiserver.tokens import ServiceAccountTokens
from sparsam.apiserver.verbs import Verbs
from sparsam.clock import Clock
from sparsam.errors import StatusError, UnsupportedMediaType
from sparsam.objects import pipeline
from sparsam.objects.kinds import ENDPOINTS, Resource
from sparsam.objects.objecttypes import CustomResource

ENDPOINTS_WARNING = "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"


class Resources:
    """Finds the handler of a route."""

    def __init__(
        self,
        *,
        registry: Registry,
        served: Served,
        reader: StoreReader,
        tokens: ServiceAccountTokens,
        authenticator: Authenticator,
        authorizer: Authorizer,
        link: AgentLink,
        clock: Clock,
        config: ApiServerConfig,
    ) -> None:
        self._registry = registry
        self._verbs = Verbs(registry, served, authorizer, max_body_bytes=config.max_body_bytes)
        self._subresources = Subresources(self._verbs, registry, reader, tokens)
        self._reviews = Reviews(authenticator, authorizer, tokens)
        self._metrics = metrics.Metrics(reader, link, clock)
        self._proxying = Proxying(reader, link, admit=registry.admit, max_body_bytes=config.max_body_bytes)

    async def __call__(self, request: Request, route: Route) -> Answer:
        """Answer an HTTP request."""
        resource = route.resource
        if resource is None:
            raise not_served()
        if resource.group == metrics.GROUP:
            return await self._metrics(request, route, resource)
        if isinstance(resource, CustomResource):
            return await self._custom(request, route, resource)
        if route.subresource:
            if route.subresource in PARTS:
                return await self._proxying.http(request, route, resource)
            return await self._subresources(request, route, resource)
        if resource.kind in KINDS and request.method == "POST" and not route.name:
            return await self._review(request, route, resource)
        if resource.kind == "Binding" and request.method == "POST" and route.namespace and not route.name:
            return await self._subresources.create_binding(request, route)
        if resource is ENDPOINTS:
            return await self._deprecated(request, route, ENDPOINTS_WARNING)
        return await self._verbs(request, route)

    async def _custom(self, request: Request, route: Route, resource: CustomResource) -> Answer:
        if route.subresource:
            return await self._subresources(request, route, resource)
        if resource.deprecation_warning:
            return await self._deprecated(request, route, resource.deprecation_warning)
        return await self._verbs(request, route)

    async def _deprecated(self, request: Request, route: Route, text: str) -> Answer:
        """The answer with the warning that goes with a deprecated kind, errors included."""
        warning = output.warning_headers([text])
        try:
            answer = await self._verbs(request, route)
        except UnsupportedMediaType:
            raise
        except StatusError as error:
            error.headers = (*warning, *error.headers)
            raise
        answer.headers = [*warning, *answer.headers]
        return answer

    async def socket(self, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a WebSocket."""
        await self._proxying.websocket(route, scope, receive, send)

    async def _review(self, request: Request, route: Route, resource: Resource) -> Answer:
        media = negotiate(request.header(b"accept"))
        raw, content_type = await self._verbs.object_body(request)
        call = self._verbs.call(request, route, resource, "CreateOptions")
        obj, warnings = pipeline.decode(resource, raw, content_type, self._registry.context(call))
        obj, told = await self._registry.admit(call, "CREATE", obj)
        answer = await self._reviews.answer(resource, obj, request.user, route.namespace)
        reply = output.virtual(answer, media, status=201)
        reply.headers = output.warning_headers([*warnings, *told])
        return reply
