"""Everything below a group and version: generic verbs, subresources, reviews, and the proxied streams."""

from __future__ import annotations

from sparsam.apiserver.app import not_served
from sparsam.apiserver.authentication import Authenticator
from sparsam.apiserver.authorization import Authorizer
from sparsam.apiserver.config import ApiServerConfig
from sparsam.apiserver.http import Answer, Receive, Request, Scope, Send
from sparsam.apiserver.reader import StoreReader
from sparsam.apiserver.registry import Registry
from sparsam.apiserver.routes import Route
from sparsam.apiserver.tokens import ServiceAccountTokens
from sparsam.apiserver.verbs import Verbs


class Resources:
    """Finds the handler of a route."""

    def __init__(
        self,
        *,
        registry: Registry,
        reader: StoreReader,
        tokens: ServiceAccountTokens,
        authenticator: Authenticator,
        authorizer: Authorizer,
        config: ApiServerConfig,
    ) -> None:
        self._verbs = Verbs(registry, max_body_bytes=config.max_body_bytes)

    async def __call__(self, request: Request, route: Route) -> Answer:
        """Answer an HTTP request."""
        if route.subresource:
            raise not_served()
        return await self._verbs(request, route)

    async def socket(self, request: Request, route: Route, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a WebSocket."""
        raise not_served()
