"""The API server, wired together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

import msgspec

from sparsam.apiserver import discovery, openapi, openid
from sparsam.apiserver.addresses import ServiceAddresses
from sparsam.apiserver.admission import Admission, Plugin, Validator
from sparsam.apiserver.admission.classes import (
    claim_resize,
    default_ingress_class,
    default_storage_class,
    runtime_class,
)
from sparsam.apiserver.admission.defaults import fixed_additions
from sparsam.apiserver.admission.escalation import Escalation
from sparsam.apiserver.admission.lifecycle import namespace_lifecycle
from sparsam.apiserver.admission.limitranger import limit_defaults, limits
from sparsam.apiserver.admission.mutatingpolicies import MutatingPolicies
from sparsam.apiserver.admission.noderestriction import NodeRestriction
from sparsam.apiserver.admission.podsecurity import pod_security
from sparsam.apiserver.admission.policies import ValidatingPolicies
from sparsam.apiserver.admission.policyhooks import Surroundings
from sparsam.apiserver.admission.priority import priority
from sparsam.apiserver.admission.resourcequota import QuotaCharging
from sparsam.apiserver.admission.serviceaccount import service_account
from sparsam.apiserver.admission.signing import SigningPermission, requester_identity
from sparsam.apiserver.admission.webhooks import Webhooks
from sparsam.apiserver.agents import AgentLink
from sparsam.apiserver.aggregation.aggregator import Aggregator
from sparsam.apiserver.aggregation.availability import Availability
from sparsam.apiserver.app import App
from sparsam.apiserver.authentication import Authenticator, StaticTokens, TokenAuthenticator
from sparsam.apiserver.authorization import Authorizer, ComponentAuthorizer
from sparsam.apiserver.bootstrap import api_service_ip, bootstrap
from sparsam.apiserver.bootstraptokens import BootstrapTokens
from sparsam.apiserver.config import ApiServerConfig
from sparsam.apiserver.conversionwebhooks import ConversionWebhooks
from sparsam.apiserver.definitions import Definitions
from sparsam.apiserver.http import TEXT, PathHandler, Reply, Request
from sparsam.apiserver.nodeauthorizer import NodeAuthorizer
from sparsam.apiserver.policystatus import PolicyStatus
from sparsam.apiserver.reader import StoreReader
from sparsam.apiserver.registry import Registry, Reserver
from sparsam.apiserver.resources import Resources
from sparsam.apiserver.roles import RoleAuthorizer
from sparsam.apiserver.served import Served
from sparsam.apiserver.server import bind, make_server, serve
from sparsam.apiserver.tokens import ServiceAccountTokens
from sparsam.apiserver.webhookclient import WebhookClient
from sparsam.clock import Clock, SystemClock
from sparsam.objects.catalog import Catalog
from sparsam.objects.kinds import SERVICES, Resource
from sparsam.store.interface import Store
from sparsam.store.sqlite import SqliteStore

log = logging.getLogger(__name__)

PLUGINS: tuple[Plugin, ...] = (
    namespace_lifecycle,
    limit_defaults,
    service_account,
    priority,
    fixed_additions,
    default_storage_class,
    runtime_class,
    requester_identity,
    default_ingress_class,
)
VALIDATORS: tuple[Validator, ...] = (limits, pod_security, claim_resize)
"""Before these, objects are valid by themselves; after them webhooks are asked, and at last quotas are charged."""

Runner = Callable[[], Coroutine[Any, Any, None]]
"""Something that runs until cancelled."""

VERSION = {
    "major": "1",
    "minor": "37",
    "emulationMajor": "1",
    "emulationMinor": "37",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "36",
    "gitVersion": "v1.37.0+sparsam",
    "gitCommit": "",
    "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "linux/amd64",
}


async def run(config: ApiServerConfig) -> None:
    """Serve from the SQLite store in `config.data_dir` until cancelled."""
    config.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    store = await SqliteStore.open(config.data_dir / "store.db")
    try:
        await serve_store(store, config)
    finally:
        await store.close()


async def serve_store(
    store: Store, config: ApiServerConfig, *, clock: Clock | None = None, ready: asyncio.Event | None = None
) -> None:
    """Serve any store until cancelled; `ready` is set once requests are answered."""
    sockets, link = bind(config.listen), AgentLink(config.pki_dir)
    roles = RoleAuthorizer(ComponentAuthorizer(), store)
    nodes = NodeAuthorizer(roles, store)
    client = WebhookClient(StoreReader(store))
    clock = clock or SystemClock()
    app, beside = await make_app(store, config, clock, link, authorizer=nodes, client=client)
    server = make_server(app, config)
    graph = asyncio.create_task(nodes.run(), name="node graph")
    followers = [graph, *(asyncio.create_task(run()) for run in (roles.run, *beside))]
    try:
        # Else nodes that come back at once would be refused what is theirs.
        await _loaded(nodes, graph)
        for listener in sockets:
            listener.listen(2048)
        log.info("serving address=%s", ",".join(f"{host}:{port}" for host, port in config.listen))
        if ready:
            ready.set()
        await serve(server, sockets, before_stop=app.stopping)
    finally:
        for follower in followers:
            follower.cancel()
        await asyncio.gather(*followers, return_exceptions=True)
        await client.close()
        await link.close()


async def _loaded(nodes: NodeAuthorizer, graph: asyncio.Task[None]) -> None:
    """Wait until the graph of nodes is complete; raises what ended the task that fills it."""
    waiting = asyncio.ensure_future(nodes.loaded.wait())
    try:
        await asyncio.wait({waiting, graph}, return_when=asyncio.FIRST_COMPLETED)
        if graph.done():
            graph.result()
    finally:
        waiting.cancel()


async def make_app(
    store: Store,
    config: ApiServerConfig,
    clock: Clock,
    link: AgentLink,
    *,
    authorizer: Authorizer,
    client: WebhookClient,
) -> tuple[App, tuple[Runner, ...]]:
    """The application over a store, with the cluster's first objects in place, and what has to run beside it.

    All custom resources that are stored are served already, and all webhooks known.
    """
    reader = StoreReader(store)
    conversion = ConversionWebhooks(reader, client)
    webhooks = Webhooks(store, reader, client, conversion.convert, authorizer=authorizer)
    addresses = ServiceAddresses(
        config.service_cidrs, config.node_ports, await reader.items(SERVICES), kept=api_service_ip(config)
    )
    reservers: Mapping[Resource, Reserver] = {SERVICES: addresses}
    permissions = (Escalation(authorizer), SigningPermission(authorizer))
    last = QuotaCharging(store, clock)
    surroundings = Surroundings(reader, authorizer, lambda: served.catalog, conversion.convert)
    policies = ValidatingPolicies(store, surroundings)
    mutating = MutatingPolicies(store, surroundings, after=webhooks.mutate)
    asked: tuple[Validator, ...] = (policies.validate, webhooks.validate)
    validators: tuple[Validator, ...] = (*VALIDATORS, *permissions, *asked, last)
    plugins: tuple[Plugin, ...] = (*PLUGINS, NodeRestriction(authorizer))
    admission = Admission(plugins, reader, validators, mutating.mutate)
    registry = Registry(store, clock, admission, reservers, conversion.convert)
    await bootstrap(registry, config)
    # Only now, so that no webhook or policy of a cluster that starts can keep it from starting.
    for each in (webhooks, policies.book, mutating.book):
        await each.load()
    issuer = f"https://kubernetes.default.svc.{config.cluster_domain}"
    tokens = ServiceAccountTokens(config.pki_dir, issuer=issuer, clock=clock, finder=reader)
    known: list[TokenAuthenticator] = [tokens, BootstrapTokens(reader, clock)]
    if config.token_file:
        known.append(StaticTokens(config.token_file))
    authenticator = Authenticator(tuple(known))
    aggregator = Aggregator(store, link, config.pki_dir, max_body_bytes=config.max_body_bytes)
    served = Served(partial(_paths, config, tokens, aggregator))
    aggregator.changed = served.forget
    definitions = Definitions(registry, served)
    await definitions.read()
    resources = Resources(
        registry=registry,
        served=served,
        reader=reader,
        tokens=tokens,
        authenticator=authenticator,
        authorizer=authorizer,
        link=link,
        clock=clock,
        config=config,
    )
    app = App(
        authenticator=authenticator,
        authorizer=authorizer,
        served=served,
        aggregator=aggregator,
        resources=resources,
        sockets=resources.socket,
        send_seconds=config.watch_send_seconds,
    )
    await aggregator.mirror.load()
    availability = Availability(registry, reader, served, aggregator)
    books = policies.book.run, mutating.book.run, PolicyStatus(registry, served).run
    return app, (definitions.run, webhooks.run, *books, aggregator.mirror.run, availability.run)


def _paths(
    config: ApiServerConfig, tokens: ServiceAccountTokens, aggregator: Aggregator, catalog: Catalog
) -> dict[str, PathHandler]:
    host, port = config.advertised
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    paths: dict[str, PathHandler] = {
        **discovery.paths(catalog, address, aggregator.remote_versions()),
        **openapi.paths(catalog, aggregator.openapi_urls()),
        **openid.paths(tokens, address),
    }
    for name in ("/healthz", "/livez", "/readyz"):
        paths[name] = _fixed(Reply(b"ok", content_type=TEXT))
        paths[f"{name}/ping"] = paths[name]
    paths["/version"] = _fixed(Reply(msgspec.json.encode(VERSION)))
    paths["/"] = _fixed(Reply(msgspec.json.encode({"paths": sorted(paths)})))
    return paths


def _fixed(reply: Reply) -> PathHandler:
    async def handle(_request: Request) -> Reply:
        return reply

    return handle
