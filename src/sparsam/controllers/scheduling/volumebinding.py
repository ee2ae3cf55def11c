"""Carries out what the scheduler decided about a pod's claims, before the pod itself is bound.

A volume that exists is kept for its claim, a claim whose volume is to be made is told the node; the volume controller
and the provisioner do the rest, and the pod waits for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparsam.client.api import ApiClient
from sparsam.client.informer import Informer
from sparsam.clock import Clock
from sparsam.errors import SparsamError
from sparsam.objects.kinds import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from sparsam.scheduling.claims import SELECTED_NODE, compile_claim, compile_volume, kept_for
from sparsam.scheduling.storage import Promise

Obj = dict[str, Any]

TIMEOUT_SECONDS = 600.0
"""`bindTimeoutSeconds` of upstream's VolumeBindingArgs."""
LOOK_SECONDS = 0.1


class VolumesNotBound(SparsamError):
    """Claims could not be bound as decided; the pod is to be placed anew."""


class VolumeBinder:
    """Over the shared informers of claims and volumes."""

    def __init__(self, client: ApiClient, claims: Informer, volumes: Informer, clock: Clock) -> None:
        self._client, self._claims, self._volumes, self._clock = client, claims, volumes, clock

    async def carry_out(self, promises: Sequence[Promise]) -> None:
        """Returns when every claim is bound; raises VolumesNotBound, and what the client raises."""
        for each in promises:
            claim = self._claim(each)
            if each.volume:
                await self._keep(each, claim)
            elif (claim["metadata"].get("annotations") or {}).get(SELECTED_NODE) != each.node:
                patch = {"metadata": {"annotations": {SELECTED_NODE: each.node}, "uid": claim["metadata"]["uid"]}}
                await self._client.patch(
                    PERSISTENTVOLUMECLAIMS, claim["metadata"]["name"], patch, namespace=claim["metadata"]["namespace"]
                )
        deadline = self._clock.monotonic() + TIMEOUT_SECONDS
        told = set[str]()
        left = list(promises)
        while left := [each for each in left if not self._is_done(each, told)]:
            if self._clock.monotonic() > deadline:
                raise VolumesNotBound("timed out waiting for the condition")
            await self._clock.sleep(LOOK_SECONDS)

    async def _keep(self, promise: Promise, claim: Obj) -> None:
        volume = self._volumes.get("", promise.volume)
        if volume is None:
            raise VolumesNotBound(f'persistentvolume "{promise.volume}" not found')
        compiled = compile_volume(volume)
        if compiled.claim == promise.claim and compiled.claim_uid == claim["metadata"]["uid"]:
            return
        if compiled.claim not in ("", promise.claim):
            raise VolumesNotBound(f'persistentvolume "{promise.volume}" is kept for {compiled.claim}')
        await self._client.update(PERSISTENTVOLUMES, kept_for(volume, claim))

    def _is_done(self, promise: Promise, told: set[str]) -> bool:
        """Whether the claim is bound; `told` are the claims seen with their node."""
        claim = self._claim(promise)
        compiled = compile_claim(claim)
        if compiled.is_bound:
            if promise.volume and compiled.volume != promise.volume:
                raise VolumesNotBound(f"claim {promise.claim} was bound to {compiled.volume}, not {promise.volume}")
            return True
        if not promise.volume:
            if compiled.selected_node == promise.node:
                told.add(promise.claim)
            elif promise.claim in told:
                raise VolumesNotBound(f"no volume could be made for claim {promise.claim} on node {promise.node}")
        return False

    def _claim(self, promise: Promise) -> Obj:
        namespace, _, name = promise.claim.partition("/")
        claim = self._claims.get(namespace, name)
        if claim is None:
            raise VolumesNotBound(f'persistentvolumeclaim "{name}" not found')
        return claim
