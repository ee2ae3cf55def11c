"""From request bodies to objects, as Kubernetes' JSON and YAML decoders do it."""

from __future__ import annotations

from typing import Any

import msgspec
import yaml

from sparsam.errors import BadRequest
from sparsam.objects.kinds import Resource
from sparsam.objects.strategy import Obj


def decode(
    resource: Resource, raw: bytes, content_type: str, field_validation: str = "Warn", *, subresource: str = ""
) -> tuple[Obj, list[str]]:
    """The object in a request body and warnings; raises BadRequest."""
    try:
        obj: Any = yaml.safe_load(raw) if "yaml" in content_type else msgspec.json.decode(raw)
    except (msgspec.DecodeError, yaml.YAMLError) as error:
        raise BadRequest(f"the object provided is unrecognized (must be of type {resource.kind}): {error}") from error
    if not isinstance(obj, dict):
        raise BadRequest(f"the object provided is unrecognized (must be of type {resource.kind})")
    return {"kind": resource.kind, "apiVersion": resource.api_version} | obj, []


def decode_patched(
    resource: Resource, patched: Obj, field_validation: str = "Warn", *, subresource: str = ""
) -> tuple[Obj, list[str]]:
    """The outcome of a patch, decoded again."""
    return patched, []
