"""Patches of a JSON object."""

from __future__ import annotations

from typing import Any

import msgspec

from sparsam.errors import BadRequest
from sparsam.objects.kinds import Resource
from sparsam.objects.strategy import Obj


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386: `target` with `patch` merged in; neither is changed."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def apply(resource: Resource, old: Obj, patch_type: str, raw: bytes) -> Obj:
    """`old` with the patch applied; `old` stays as it is."""
    try:
        patch = msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise BadRequest(f"error decoding patch: {error}") from error
    merged: Obj = merge(old, patch)
    return merged
