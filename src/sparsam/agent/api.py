"""The API as the node's pods use it: statuses, deletions, ConfigMaps and Secrets, tokens, Services, events."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

import aiohttp
import msgspec

from sparsam.agent.payloads import TokenWish, token_wishes
from sparsam.agent.podapi import PodApi
from sparsam.agent.podspec import Obj, key_of
from sparsam.agent.references import CLAIM, CONFIG_MAP, TRUST_BUNDLE, TRUST_BUNDLES, ConfigFault, Sources
from sparsam.client.api import ApiClient
from sparsam.client.events import EventRecorder, reference_to
from sparsam.client.informer import Informer
from sparsam.clock import Clock, parse_time
from sparsam.errors import NotFound, SparsamError, StatusError
from sparsam.objects.kinds import (
    CLUSTERTRUSTBUNDLES,
    CONFIGMAPS,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    RUNTIMECLASSES,
    SECRETS,
    SERVICEACCOUNTS,
)
from sparsam.objects.selectors import parse_label_selector_object

log = logging.getLogger(__name__)

_TOKEN_RENEWAL_RATIO = 0.8
_TOKEN_MAX_AGE = timedelta(hours=24)
_REMEMBERED_SOURCES = 2048


class ApiUnreachable(SparsamError):
    """The API server does not answer; the transport's error is the cause."""


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    renew_at: datetime
    ends_at: datetime


class ClusterApi(PodApi):
    """`PodApi` over the real API."""

    def __init__(self, client: ApiClient, services: Informer, recorder: EventRecorder, clock: Clock) -> None:
        self._client = client
        self._services = services
        self._recorder = recorder
        self._clock = clock
        self._sources: dict[tuple[str, str, str], tuple[float, Obj | None]] = {}
        self._tokens: dict[tuple[str, TokenWish], _Token] = {}

    async def patch_status(self, pod: Obj, patch: Obj) -> Obj:
        """Change the status; the uid in the patch makes it a conflict when another pod has the name by now."""
        metadata = pod["metadata"]
        body = {"metadata": {"uid": metadata["uid"]}, "status": patch}
        try:
            patched = await self._client.patch(
                PODS, metadata["name"], body, namespace=metadata["namespace"], kind="strategic", subresource="status"
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiUnreachable(str(error) or type(error).__name__) from error
        patched["metadata"].pop("managedFields", None)
        return patched

    async def delete(self, pod: Obj) -> None:
        """Delete with no grace left, guarded by the uid."""
        metadata = pod["metadata"]
        for uid, wish in list(self._tokens):
            if uid == metadata["uid"]:
                del self._tokens[uid, wish]
        try:
            await self._client.delete(
                PODS, metadata["name"], metadata["namespace"], grace_seconds=0, uid=metadata["uid"]
            )
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiUnreachable(str(error) or type(error).__name__) from error

    async def sources(self, namespace: str, wanted: set[tuple[str, str]], max_age_seconds: float) -> Sources:
        """Fetch what is missing or old; what cannot be fetched is named in the faults."""
        found: dict[tuple[str, str], Obj] = {}
        faults: dict[tuple[str, str], str] = {}

        async def fetch(kind: str, name: str) -> None:
            try:
                obj = await self._source(namespace, kind, name, max_age_seconds)
            except (ConfigFault, StatusError, aiohttp.ClientError, OSError, TimeoutError) as error:
                faults[kind, name] = f'failed to get {kind.lower()} "{name}": {error}'
            else:
                if obj is not None:
                    found[kind, name] = obj

        await asyncio.gather(*(fetch(kind, name) for kind, name in sorted(wanted)))
        return Sources(found, faults)

    async def tokens(self, pod: Obj) -> dict[TokenWish, str]:
        """Tokens from memory, or new ones when four fifths of their life, or a day, are over. Raises ConfigFault.

        While no new one can be had, the old one is given as long as it holds.
        """
        uid = pod["metadata"]["uid"]
        now = self._clock.now()
        values = {}
        for wish in token_wishes(pod):
            token = self._tokens.get((uid, wish))
            if token is None or now >= token.renew_at:
                try:
                    token = await self._request_token(pod, wish, now)
                except ConfigFault as error:
                    if token is None or now >= token.ends_at:
                        raise
                    log.warning("token not renewed pod=%s error=%s", key_of(pod), error)
                self._tokens[uid, wish] = token
            values[wish] = token.value
        return values

    async def runtime_handler(self, runtime_class: str) -> str:
        """The engine's handler that a RuntimeClass stands for; raises ConfigFault."""
        try:
            found = await self._client.get(RUNTIMECLASSES, runtime_class)
        except (StatusError, aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ConfigFault(f"failed to get sandbox runtime: {error}") from error
        return str(found["handler"])

    def services(self) -> list[Obj]:
        """All Services known."""
        return self._services.items()

    def event(self, pod: Obj, kind: str, reason: str, message: str, container: str = "") -> None:
        """Record an event about the pod, or one of its containers."""
        reference = reference_to(pod)
        if container:
            reference["fieldPath"] = f"spec.{_list_of(pod, container)}{{{container}}}"
        self._recorder.event(reference, kind, reason, message)

    async def _source(self, namespace: str, kind: str, name: str, max_age_seconds: float) -> Obj | None:
        key = (namespace, kind, name)
        now = self._clock.monotonic()
        fetched, obj = self._sources.get(key, (0.0, None))
        if obj is not None and now - fetched <= max_age_seconds:
            return obj
        try:
            if kind == CLAIM:
                obj = await self._volume_of(namespace, name)
            elif kind == TRUST_BUNDLE:
                obj = await self._client.get(CLUSTERTRUSTBUNDLES, name)
            elif kind == TRUST_BUNDLES:
                obj = await self._bundles_of(name)
            else:
                obj = await self._client.get(CONFIGMAPS if kind == CONFIG_MAP else SECRETS, name, namespace)
        except NotFound:
            obj = None
        if len(self._sources) >= _REMEMBERED_SOURCES:
            self._sources.clear()
        self._sources[key] = (now, obj)
        return obj

    async def _bundles_of(self, wanted: str) -> Obj:
        """A list of the trust bundles of a signer that a selector selects."""
        projection = msgspec.json.decode(wanted)
        selector = parse_label_selector_object(projection["labelSelector"])
        listed = await self._client.list(CLUSTERTRUSTBUNDLES)
        items = [
            each
            for each in listed["items"]
            if each["spec"].get("signerName") == projection["signerName"]
            and selector.matches(each["metadata"].get("labels"))
        ]
        return {**listed, "items": items}

    async def _volume_of(self, namespace: str, name: str) -> Obj:
        """The volume of a claim; raises ConfigFault unless both say that they are bound to each other."""
        claim = await self._client.get(PERSISTENTVOLUMECLAIMS, name, namespace)
        wanted = claim["spec"].get("volumeName")
        if not wanted or (claim.get("status") or {}).get("phase") != "Bound":
            raise ConfigFault("the claim is not bound")
        volume = await self._client.get(PERSISTENTVOLUMES, wanted)
        if (volume["spec"].get("claimRef") or {}).get("uid") != claim["metadata"]["uid"]:
            raise ConfigFault(f'persistentvolume "{wanted}" is bound to another claim')
        return volume

    async def _request_token(self, pod: Obj, wish: TokenWish, now: datetime) -> _Token:
        metadata = pod["metadata"]
        account = pod["spec"].get("serviceAccountName") or "default"
        spec: Obj = {
            "audiences": [wish.audience] if wish.audience else [],
            "expirationSeconds": wish.expiration_seconds,
            "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]},
        }
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        try:
            answer = await self._client.create(
                SERVICEACCOUNTS, request, metadata["namespace"], name=account, subresource="token"
            )
        except (StatusError, aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ConfigFault(f"failed to fetch token: {error}") from error
        status = answer["status"]
        ends_at = parse_time(status["expirationTimestamp"])
        renew_at = now + min((ends_at - now) * _TOKEN_RENEWAL_RATIO, _TOKEN_MAX_AGE)
        return _Token(status["token"], renew_at, ends_at)


def _list_of(pod: Obj, container: str) -> str:
    """The field of the spec that a container stands in."""
    for field in ("initContainers", "ephemeralContainers"):
        if any(spec["name"] == container for spec in pod["spec"].get(field) or ()):
            return field
    return "containers"
