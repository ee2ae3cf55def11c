"""The errors that storage and options give rise to, in upstream's words."""

from __future__ import annotations

from typing import Any

from sparsam.errors import AlreadyExists, BadRequest, Cause, Conflict, Gone, Invalid, NotFound, Timeout
from sparsam.objects.kinds import Resource

MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def not_found(resource: Resource, name: str) -> NotFound:
    """No such object."""
    return NotFound(f'{resource.group_resource} "{name}" not found', details=details_of(resource, name))


def already_exists(resource: Resource, name: str) -> AlreadyExists:
    """The name is taken."""
    return AlreadyExists(f'{resource.group_resource} "{name}" already exists', details=details_of(resource, name))


def conflict(resource: Resource, name: str, why: str = MODIFIED) -> Conflict:
    """The object is not as the writer believed."""
    return Conflict(
        f'Operation cannot be fulfilled on {resource.group_resource} "{name}": {why}',
        details=details_of(resource, name),
    )


def invalid(kind: str, name: str, causes: list[Cause], *, group: str = "") -> Invalid:
    """Fields that break rules; the message lists all, in brackets when there are several."""
    texts = [f"{cause.field}: {cause.message}" for cause in causes]
    listing = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    qualified = f"{kind}.{group}" if group else kind
    details: dict[str, Any] = {"name": name, "group": group, "kind": kind}
    details = {key: value for key, value in details.items() if value}
    details["causes"] = [cause.as_json() for cause in causes]
    return Invalid(f'{qualified} "{name}" is invalid: {listing}', details=details)


def invalid_options(kind: str, causes: list[Cause]) -> Invalid:
    """Query parameters or an options body that break rules."""
    return invalid(kind, "", causes, group="meta.k8s.io")


def malformed_number(text: str, parser: str = "ParseInt") -> BadRequest:
    """A parameter that should be a number and is not, as Go's strconv says it."""
    return BadRequest(f'strconv.{parser}: parsing "{text}": invalid syntax')


def too_large_version(asked: int, current: int) -> Timeout:
    """A resource version that has not happened yet."""
    return Timeout(
        f"Timeout: Too large resource version: {asked}, current: {current}",
        details={
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        },
    )


def expired(message: str, token: str = "") -> Gone:
    """A resource version that is no longer kept; `token` continues a list without it."""
    return Gone(message, metadata={"continue": token} if token else {})


def details_of(resource: Resource, name: str) -> dict[str, Any]:
    """`details` of a Status about one object."""
    details: dict[str, Any] = {"name": name, "group": resource.group, "kind": resource.plural}
    return {key: value for key, value in details.items() if value}
