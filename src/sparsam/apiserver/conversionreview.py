"""ConversionReview: what a definition's webhook is asked to convert, and what its answer may be. Pure.

A webhook converts what the definition's schemas describe. Of the metadata it may change labels and annotations alone;
changes of anything else are undone, and another identity is an error. Source: the page "Versions in
CustomResourceDefinitions"; the words of errors are upstream's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from sparsam.objects.fields import quote
from sparsam.objects.strategy import Obj

GROUP = "apiextensions.k8s.io"
VERSIONS = ("v1", "v1beta1")
_IDENTITY = (("kind", "kind"), ("name", "name"), ("namespace", "namespace"), ("uid", "UID"))


class BadAnswer(ValueError):
    """An answer that is none; the message completes `conversion webhook for KIND failed: `."""


class BadConversion(ValueError):
    """A converted object that is not what it may be; the message completes `conversion webhook for KIND `."""


class _Result(msgspec.Struct):
    status: str = ""
    message: str = ""


class _Response(msgspec.Struct, rename="camel"):
    uid: str = ""
    converted_objects: list[dict[str, Any]] | None = None
    result: _Result = msgspec.field(default_factory=_Result)


class _Review(msgspec.Struct, rename="camel"):
    kind: str = ""
    api_version: str = ""
    response: _Response | None = None


def review_version(accepted: Sequence[str]) -> str | None:
    """The first version of a webhook's that is spoken here."""
    return next((version for version in accepted if version in VERSIONS), None)


def build(version: str, uid: str, desired: str, objects: Sequence[Obj]) -> Obj:
    """The review that asks for objects in the version `desired` of their API."""
    request = {"uid": uid, "desiredAPIVersion": desired, "objects": list(objects)}
    return {"kind": "ConversionReview", "apiVersion": f"{GROUP}/{version}", "request": request}


def read(raw: bytes, version: str, uid: str, desired: str, originals: Sequence[Obj]) -> list[Obj]:
    """The converted objects of an answer, in order; raises BadAnswer and BadConversion."""
    converted = _objects(raw, version, uid)
    if len(converted) != len(originals):
        raise BadConversion(f"returned {len(converted)} objects, expected {len(originals)}")
    for position, (original, obj) in enumerate(zip(originals, converted, strict=True)):
        try:
            _check(original, obj, desired)
        except ValueError as error:
            raise BadConversion(f"returned invalid converted object at index {position}: {error}") from None
        try:
            _restore(original, obj)
        except ValueError as error:
            raise BadConversion(f"returned invalid metadata in object at index {position}: {error}") from None
    return converted


def _objects(raw: bytes, version: str, uid: str) -> list[Obj]:
    try:
        review = msgspec.json.decode(raw, type=_Review)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadAnswer(f"couldn't get version/kind; json parse error: {error}") from None
    wanted = f"{GROUP}/{version}"
    if (review.kind, review.api_version) != ("ConversionReview", wanted):
        group, _, said = review.api_version.rpartition("/")
        got = f"{group}/{said}, Kind={review.kind}"
        raise BadAnswer(f"expected webhook response of {wanted}, Kind=ConversionReview, got {got}")
    response = review.response
    if response is None:
        raise BadAnswer("no response provided")
    # The older version of the review was never checked this closely.
    if version == "v1" and response.uid != uid:
        raise BadAnswer(f"expected response.uid={quote(uid)}, got {quote(response.uid)}")
    if response.result.status != "Success":
        told = response.result.message
        raise BadAnswer(told or f"response.result.status was '{response.result.status}', not 'Success'")
    return response.converted_objects or []


def _check(original: Obj, converted: Obj, desired: str) -> None:
    said = converted.get("apiVersion")
    if said != desired:
        raise ValueError(f"invalid groupVersion (expected {desired}, received {said or ''})")
    metadata = converted.get("metadata")
    if not isinstance(metadata, dict):
        raise ValueError("missing metadata")
    before = {**original["metadata"], "kind": original["kind"]}
    after = {**metadata, "kind": converted.get("kind")}
    for field, words in _IDENTITY:
        if before.get(field) != after.get(field):
            raise ValueError(f"must have the same {words}: {before.get(field, '')} != {after.get(field) or ''}")


def _restore(original: Obj, converted: Obj) -> None:
    """Take back, in place, what a webhook may not change of the metadata; raises ValueError."""
    metadata = dict(original["metadata"])
    for field in ("labels", "annotations"):
        wished = converted["metadata"].get(field)
        metadata.pop(field, None)
        if wished is None:
            continue
        if not isinstance(wished, dict) or not all(isinstance(value, str) for value in wished.values()):
            raise ValueError(f"metadata.{field} must be an object of strings")
        metadata[field] = wished
    converted["metadata"] = metadata
