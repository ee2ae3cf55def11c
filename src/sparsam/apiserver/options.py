"""Options of writes: dryRun, fieldValidation, DeleteOptions, from the query and the body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from sparsam.apiserver import protobuf
from sparsam.apiserver.deletion import DeleteOptions
from sparsam.apiserver.listing import integer
from sparsam.apiserver.statuses import invalid_options
from sparsam.errors import BadRequest, Cause, UnsupportedMediaType
from sparsam.objects import documents
from sparsam.objects.fields import forbidden, invalid, required, too_long
from sparsam.objects.ownership import LONGEST_MANAGER_BYTES

_VALIDATIONS = ("Ignore", "Strict", "Warn")


class _Preconditions(msgspec.Struct):
    uid: str | None = None
    resourceVersion: str | None = None  # noqa: N815 the name on the wire


class _Body(msgspec.Struct):
    kind: str | None = None
    apiVersion: str | None = None  # noqa: N815 the name on the wire
    gracePeriodSeconds: int | None = None  # noqa: N815 the name on the wire
    preconditions: _Preconditions | None = None
    orphanDependents: bool | None = None  # noqa: N815 the name on the wire
    propagationPolicy: str | None = None  # noqa: N815 the name on the wire
    dryRun: list[str] | None = None  # noqa: N815 the name on the wire


def dry_run(query: Mapping[str, str], options_kind: str) -> bool:
    """Whether nothing is to be stored; raises Invalid."""
    value = query.get("dryRun", "")
    return _dry_run([value] if value else [], options_kind)


def _dry_run(values: list[str], options_kind: str) -> bool:
    if any(value != "All" for value in values):
        listing = " ".join(f'"{value}"' for value in values)
        message = f'Unsupported value: [{listing}]: supported values: "All"'
        raise invalid_options(options_kind, [Cause("FieldValueNotSupported", message, "dryRun")])
    return bool(values)


def field_validation(query: Mapping[str, str], options_kind: str) -> str:
    """Strict, Warn or Ignore; raises Invalid."""
    value = query.get("fieldValidation", "")
    if value and value not in _VALIDATIONS:
        message = f'Unsupported value: "{value}": supported values: "", "Ignore", "Strict", "Warn"'
        raise invalid_options(options_kind, [Cause("FieldValueNotSupported", message, "fieldValidation")])
    return value or "Warn"


def field_manager(query: Mapping[str, str], options_kind: str, user_agent: str) -> str:
    """The name under which a write is remembered: as asked for, else that of the program; raises Invalid."""
    value = query.get("fieldManager", "")
    if value:
        if causes := _manager_causes(value):
            raise invalid_options(options_kind, causes)
        return value
    program = user_agent.partition("/")[0].encode()[:LONGEST_MANAGER_BYTES].decode("utf-8", "ignore")
    return "".join(filter(str.isprintable, program)) or "unknown"


def sent_options(query: Mapping[str, str], options_kind: str) -> dict[str, Any]:
    """The options of a write as an object, as admission is told them: what the client said, and no more."""
    told: dict[str, Any] = {"kind": options_kind, "apiVersion": "meta.k8s.io/v1"}
    if query.get("dryRun"):
        told["dryRun"] = [query["dryRun"]]
    for name in ("fieldManager", "fieldValidation"):
        if query.get(name):
            told[name] = query[name]
    if query.get("force", "").lower() in ("true", "1"):
        told["force"] = True
    return told


def _manager_causes(value: str) -> list[Cause]:
    causes = []
    if len(value.encode()) > LONGEST_MANAGER_BYTES:
        causes.append(too_long("fieldManager", LONGEST_MANAGER_BYTES))
    place = 0
    for character in value:
        if not character.isprintable():
            # A place in the text as Go counts it: in bytes.
            named = f"U+{ord(character):04X}"
            causes.append(invalid("fieldManager", value, f"invalid character {named} (at position {place})"))
        place += len(character.encode())
    return causes


def forced(query: Mapping[str, str], *, applying: bool) -> bool:
    """Whether an apply may take fields from others; raises Invalid for what does not belong to this kind of patch."""
    if not applying and "force" in query:
        raise invalid_options("PatchOptions", [forbidden("force", "may not be specified for non-apply patch")])
    if applying and not query.get("fieldManager"):
        raise invalid_options("PatchOptions", [required("fieldManager", "is required for apply patch")])
    return query.get("force", "false").lower() not in ("false", "0")


def delete_options(raw: bytes, content_type: str, query: Mapping[str, str]) -> DeleteOptions:
    """From the body, or from the query when there is no body; raises BadRequest and Invalid."""
    body = _decode(raw, content_type) if raw else _from_query(query)
    preconditions = body.preconditions or _Preconditions()
    options = DeleteOptions(
        grace_seconds=body.gracePeriodSeconds,
        uid=preconditions.uid,
        resource_version=preconditions.resourceVersion,
        orphan_dependents=body.orphanDependents,
        policy=body.propagationPolicy,
        dry_run=_dry_run(body.dryRun or [], "DeleteOptions"),
    )
    options.validate()
    return options


def _decode(raw: bytes, content_type: str) -> _Body:
    if content_type == protobuf.CONTENT_TYPE:
        raw, content_type = protobuf.to_json(raw), "application/json"
    if "cbor" in content_type:
        raise UnsupportedMediaType(
            "the body of the request was in an unknown format - "
            "accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf"
        )
    try:
        parsed = documents.parse_yaml(raw) if content_type.endswith("yaml") else documents.parse_json(raw)
        body = msgspec.convert(parsed, _Body)
    except (documents.Malformed, msgspec.ValidationError) as error:
        raise BadRequest(f"couldn't decode the DeleteOptions in the body: {error}") from None
    if body.kind not in (None, "", "DeleteOptions"):
        raise BadRequest(f'decoded object cannot be converted to DeleteOptions: it is of kind "{body.kind}"')
    return body


def _from_query(query: Mapping[str, str]) -> _Body:
    orphan = query.get("orphanDependents")
    return _Body(
        gracePeriodSeconds=integer(query, "gracePeriodSeconds"),
        orphanDependents=None if orphan is None else orphan.lower() not in ("false", "0"),
        propagationPolicy=query.get("propagationPolicy"),
        dryRun=[query["dryRun"]] if query.get("dryRun") else None,
    )
