"""The API as CSI volumes need it: driver objects, attachments, secrets, tokens, claims and events."""

from __future__ import annotations

import base64
from typing import Protocol

import aiohttp

from sparsam.agent.podspec import Obj
from sparsam.agent.references import ConfigFault
from sparsam.client.api import ApiClient
from sparsam.client.events import EventRecorder
from sparsam.errors import NotFound, StatusError
from sparsam.objects.kinds import (
    CSIDRIVERS,
    PERSISTENTVOLUMECLAIMS,
    SECRETS,
    SERVICEACCOUNTS,
    VOLUMEATTACHMENTS,
    Resource,
)


class CsiApi(Protocol):
    """Errors are ConfigFaults."""

    async def driver(self, name: str) -> Obj | None:
        """A CSIDriver, or None."""
        ...

    async def attachment(self, name: str) -> Obj | None:
        """A VolumeAttachment, or None."""
        ...

    async def secret(self, namespace: str, name: str) -> dict[str, str]:
        """A Secret's entries as text."""
        ...

    async def token(self, pod: Obj, audience: str, seconds: int) -> dict[str, str]:
        """A token of the pod's service account, with its `expirationTimestamp`."""
        ...

    async def claim(self, namespace: str, name: str) -> Obj | None:
        """A PersistentVolumeClaim, or None."""
        ...

    async def patch_claim(self, claim: Obj, status: Obj) -> Obj:
        """Change the status of a claim that is still as it was read; returns it as it is then."""
        ...

    def event(self, about: Obj, kind: str, reason: str, message: str) -> None:
        """Record an event of kind Normal or Warning."""
        ...


class ClusterCsiApi(CsiApi):
    """`CsiApi` over the real API."""

    def __init__(self, client: ApiClient, recorder: EventRecorder) -> None:
        self._client, self._recorder = client, recorder

    async def driver(self, name: str) -> Obj | None:
        """A CSIDriver, or None."""
        return await self._find(CSIDRIVERS, name)

    async def attachment(self, name: str) -> Obj | None:
        """A VolumeAttachment, or None."""
        return await self._find(VOLUMEATTACHMENTS, name)

    async def secret(self, namespace: str, name: str) -> dict[str, str]:
        """A Secret's entries as text."""
        found = await self._find(SECRETS, name, namespace)
        if found is None:
            raise ConfigFault(f'secret "{name}" not found')
        return {key: base64.b64decode(value or "").decode() for key, value in (found.get("data") or {}).items()}

    async def token(self, pod: Obj, audience: str, seconds: int) -> dict[str, str]:
        """A token of the pod's service account, with its `expirationTimestamp`."""
        metadata = pod["metadata"]
        bound = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
        spec = {"audiences": [audience] if audience else [], "expirationSeconds": seconds, "boundObjectRef": bound}
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        account = pod["spec"].get("serviceAccountName") or "default"
        try:
            answer = await self._client.create(
                SERVICEACCOUNTS, request, metadata["namespace"], name=account, subresource="token"
            )
        except (StatusError, aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ConfigFault(f"failed to fetch token: {error}") from error
        status = answer["status"]
        return {"token": status["token"], "expirationTimestamp": status["expirationTimestamp"]}

    async def claim(self, namespace: str, name: str) -> Obj | None:
        """A PersistentVolumeClaim, or None."""
        return await self._find(PERSISTENTVOLUMECLAIMS, name, namespace)

    async def patch_claim(self, claim: Obj, status: Obj) -> Obj:
        """Change the status of a claim that is still as it was read; returns it as it is then."""
        metadata = claim["metadata"]
        patch = {"metadata": {"resourceVersion": metadata["resourceVersion"]}, "status": status}
        try:
            return await self._client.patch(
                PERSISTENTVOLUMECLAIMS,
                metadata["name"],
                patch,
                namespace=metadata["namespace"],
                subresource="status",
            )
        except (StatusError, aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ConfigFault(f"failed to patch persistentvolumeclaim {metadata['name']}: {error}") from error

    def event(self, about: Obj, kind: str, reason: str, message: str) -> None:
        """Record an event of kind Normal or Warning."""
        self._recorder.event(about, kind, reason, message)

    async def _find(self, resource: Resource, name: str, namespace: str = "") -> Obj | None:
        try:
            return await self._client.get(resource, name, namespace)
        except NotFound:
            return None
        except (StatusError, aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ConfigFault(f"failed to get {resource.kind.lower()} {name}: {error}") from error
