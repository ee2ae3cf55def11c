"""Conversion of custom resources by the webhook that their definition names."""

from __future__ import annotations

import uuid

from sparsam.apiserver import conversionreview
from sparsam.apiserver.admission import Reader
from sparsam.apiserver.conversionreview import BadAnswer, BadConversion
from sparsam.apiserver.webhookclient import CallFailed, WebhookClient
from sparsam.errors import InternalError
from sparsam.objects.kinds import CUSTOMRESOURCEDEFINITIONS
from sparsam.objects.objecttypes import CustomResource
from sparsam.objects.strategy import Obj

CALL_SECONDS = 30.0
"""Upstream's limit for a conversion."""


class ConversionWebhooks:
    """Converts; the definition is read anew each time, so that it is never an old one that is followed."""

    def __init__(self, reader: Reader, client: WebhookClient) -> None:
        self._reader, self._client = reader, client

    async def convert(self, resource: CustomResource, objects: list[Obj], desired: str) -> list[Obj]:
        """The objects in the version `desired` of their API; raises InternalError in upstream's words.

        All must be of one version when they are asked for together; those of several are asked for by version.
        """
        by_version: dict[str, list[int]] = {}
        for position, obj in enumerate(objects):
            by_version.setdefault(obj["apiVersion"], []).append(position)
        converted = list(objects)
        for said, positions in by_version.items():
            found = await self._convert(resource, said, [objects[position] for position in positions], desired)
            for position, obj in zip(positions, found, strict=True):
                converted[position] = obj
        return converted

    async def _convert(self, resource: CustomResource, said: str, objects: list[Obj], desired: str) -> list[Obj]:
        words = f"conversion webhook for {said}, Kind={resource.kind}"
        definition = await self._reader.find(CUSTOMRESOURCEDEFINITIONS, f"{resource.plural}.{resource.group}")
        webhook = ((definition or {}).get("spec") or {}).get("conversion", {}).get("webhook") or {}
        version = conversionreview.review_version(webhook.get("conversionReviewVersions") or ())
        if version is None:
            raise InternalError(f"{words} failed: no supported conversion review versions", details={})
        uid = str(uuid.uuid4())
        review = conversionreview.build(version, uid, desired, objects)
        try:
            raw = await self._client.post(webhook["clientConfig"], review, CALL_SECONDS)
            return conversionreview.read(raw, version, uid, desired, objects)
        except (CallFailed, BadAnswer) as error:
            raise InternalError(f"{words} failed: {error}", details={}) from error
        except BadConversion as error:
            raise InternalError(f"{words} {error}", details={}) from error
