"""AdmissionReview: what a webhook is asked, and what its answer means. Pure.

Source: the API reference of admission.k8s.io/v1 and the page "Dynamic Admission Control"; the words of refusals are
upstream's.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from sparsam.apiserver.admission import Attributes
from sparsam.apiserver.authentication import User
from sparsam.apiserver.connections import kind_of
from sparsam.errors import ReportedStatus
from sparsam.objects.fields import quote
from sparsam.objects.kinds import NAMESPACES, Resource
from sparsam.objects.strategy import Obj

GROUP = "admission.k8s.io"
VERSIONS = ("v1", "v1beta1")
JSON_PATCH = "JSONPatch"


class BadAnswer(ValueError):
    """A webhook's answer that is none; the message completes `received invalid webhook response: `."""


class Unreadable(ValueError):
    """An answer that is no review at all; the message completes `failed to call webhook: `."""


class _Details(msgspec.Struct, omit_defaults=True, rename="camel"):
    name: str = ""
    group: str = ""
    kind: str = ""
    uid: str = ""
    causes: list[dict[str, str]] = []
    retry_after_seconds: int = 0


class _Status(msgspec.Struct, omit_defaults=True):
    status: str = ""
    message: str = ""
    reason: str = ""
    details: _Details | None = None
    code: int = 0


class _Response(msgspec.Struct, rename="camel"):
    uid: str = ""
    allowed: bool = False
    status: _Status | None = None
    patch: str | None = None
    patch_type: str | None = None
    audit_annotations: dict[str, str] | None = None
    warnings: list[str] | None = None


class _Review(msgspec.Struct, rename="camel"):
    kind: str = ""
    api_version: str = ""
    response: _Response | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a webhook decided."""

    allowed: bool
    status: Mapping[str, Any]
    """Why not, as far as it said."""
    patch: list[Obj]
    warnings: tuple[str, ...] = ()


def review_version(accepted: Sequence[str]) -> str | None:
    """The first version of a webhook's that is spoken here."""
    return next((version for version in accepted if version in VERSIONS), None)


def build(
    attributes: Attributes, seen_as: Resource, version: str, uid: str, objects: tuple[Obj | None, Obj | None]
) -> Obj:
    """The review of a request; `seen_as` is the resource by which a rule matched, `objects` are the new and the old."""
    new, old = objects
    name = attributes.name or ((new or {}).get("metadata") or {}).get("name") or ""
    namespace = name if attributes.resource == NAMESPACES else attributes.namespace
    request: Obj = {
        "uid": uid,
        "kind": _kind(kind_of(seen_as, attributes.subresource)),
        "resource": _resource(seen_as),
        "subResource": attributes.subresource,
        "requestKind": _kind(kind_of(attributes.resource, attributes.subresource)),
        "requestResource": _resource(attributes.resource),
        "requestSubResource": attributes.subresource,
        "name": name,
        "namespace": namespace,
        "operation": attributes.operation,
        "userInfo": _user(attributes.user),
        "object": new,
        "oldObject": old,
        "dryRun": attributes.dry_run,
        "options": attributes.options or None,
    }
    for empty in [key for key, value in request.items() if value == ""]:
        del request[empty]
    return {"kind": "AdmissionReview", "apiVersion": f"{GROUP}/{version}", "request": request}


def read(raw: bytes, version: str, uid: str, *, mutating: bool) -> Verdict:
    """The verdict in a webhook's answer; raises Unreadable, BadAnswer, and ValueError for a patch that is none."""
    try:
        review = msgspec.json.decode(raw, type=_Review)
    except msgspec.DecodeError as error:
        raise Unreadable(f"couldn't get version/kind; json parse error: {error}") from None
    except UnicodeDecodeError:
        raise Unreadable("couldn't get version/kind; json parse error: invalid UTF-8") from None
    except RecursionError:
        raise Unreadable("couldn't get version/kind; json parse error: exceeded max depth") from None
    response = review.response
    if response is None:
        raise BadAnswer("webhook response was absent")
    # The older version of the review was never checked this closely.
    if version == "v1":
        _check_identity(review, response, uid)
        _check_patch(response, mutating=mutating)
    patch = _patch(response.patch) if mutating and response.patch else []
    status = msgspec.to_builtins(response.status) if response.status else {}
    return Verdict(response.allowed, status, patch, tuple(response.warnings or ()))


def _check_identity(review: _Review, response: _Response, uid: str) -> None:
    if response.uid != uid:
        raise BadAnswer(f"expected response.uid={quote(uid)}, got {quote(response.uid)}")
    if (review.kind, review.api_version) != ("AdmissionReview", f"{GROUP}/v1"):
        group, _, version = review.api_version.rpartition("/")
        got = f"{group}/{version}, Kind={review.kind}"
        raise BadAnswer(f"expected webhook response of {GROUP}/v1, Kind=AdmissionReview, got {got}")


def _check_patch(response: _Response, *, mutating: bool) -> None:
    if not mutating:
        if response.patch:
            raise BadAnswer("validating webhook may not return response.patch")
        if response.patch_type is not None:
            raise BadAnswer("validating webhook may not return response.patchType")
        return
    if response.patch and response.patch_type is None:
        raise BadAnswer("webhook returned response.patch but not response.patchType")
    if not response.patch and response.patch_type is not None:
        raise BadAnswer("webhook returned response.patchType but not response.patch")
    if response.patch_type == "":
        raise BadAnswer('webhook returned invalid response.patchType of ""')
    if response.patch_type not in (None, JSON_PATCH):
        raise BadAnswer(f"unsupported patch type {quote(response.patch_type or '')}")


def _patch(encoded: str) -> list[Obj]:
    try:
        return msgspec.json.decode(base64.b64decode(encoded, validate=True), type=list[Obj])
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"the patch cannot be read: {error}") from None


def denial(webhook: str, status: Mapping[str, Any]) -> ReportedStatus:
    """The refusal of a request that a webhook does not allow."""
    told = dict(status)
    code = told.get("code", 0)
    # Neither a success nor what no HTTP answer can be goes along with a refusal.
    told["code"] = code if 400 <= code <= 599 else 400
    if told.get("status") in (None, "Success"):
        told["status"] = "Failure"
    denied = f"admission webhook {quote(webhook)} denied the request"
    explained = told.get("message") or told.get("reason")
    told["message"] = f"{denied}: {explained}" if explained else f"{denied} without explanation"
    return ReportedStatus(told)


def _kind(kind: tuple[str, str, str]) -> Obj:
    group, version, name = kind
    return {"group": group, "version": version, "kind": name}


def _resource(resource: Resource) -> Obj:
    return {"group": resource.group, "version": resource.version, "resource": resource.plural}


def _user(user: User) -> Obj:
    told: Obj = {"username": user.name, "uid": user.uid, "groups": list(user.groups)}
    told["extra"] = {key: list(values) for key, values in user.extra.items()}
    return {key: value for key, value in told.items() if value}
