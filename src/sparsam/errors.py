"""The one error tree. Each error that may reach an API client mirrors a Kubernetes Status reason.

Cores raise ValueError on bad arguments and StatusError where a client is to blame; shells translate foreign
errors into these and chain the cause.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class SparsamError(Exception):
    """Root of all errors that this project raises on purpose."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One entry of `details.causes` in a Status: reason (`FieldValueInvalid`), message and field path."""

    reason: str
    message: str
    field: str = ""

    def as_json(self) -> dict[str, str]:
        """The cause as it stands in a Status; an empty field is left out."""
        cause = {"reason": self.reason, "message": self.message}
        if self.field:
            cause["field"] = self.field
        return cause


class StatusError(SparsamError):
    """An answer that is a Status of kind Failure.

    `details` follows `StatusDetails` (name, group, kind, causes, retryAfterSeconds); None leaves the key out,
    an empty mapping keeps it, as upstream does for some generic errors. `metadata` is that of a list, for lists.
    """

    code: int = 500
    reason: str = "InternalError"

    def __init__(
        self,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        headers: Sequence[tuple[str, str]] = (),
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.headers = tuple(headers)
        self.warnings: tuple[str, ...] = ()
        """What admission had to say before it refused."""
        self.metadata = metadata or {}

    def as_json(self) -> dict[str, Any]:
        """The Status object."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": dict(self.metadata),
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
        }
        if self.details is not None:
            status["details"] = dict(self.details)
        status["code"] = self.code
        return status


class ReportedStatus(StatusError):
    """The Status that another server gave for an answer, passed on as it is."""

    def __init__(self, status: Mapping[str, Any]) -> None:
        super().__init__(str(status.get("message", "")), details=status.get("details"))
        self.status = status
        self.code = status["code"]
        self.reason = str(status.get("reason", ""))

    def as_json(self) -> dict[str, Any]:
        """The Status object."""
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, **self.status}


class BadRequest(StatusError):
    """The request itself cannot be understood."""

    code = 400
    reason = "BadRequest"


class Unauthorized(StatusError):
    """No or wrong credentials."""

    code = 401
    reason = "Unauthorized"


class Forbidden(StatusError):
    """Known, but not allowed."""

    code = 403
    reason = "Forbidden"


class NotFound(StatusError):
    """No such object, resource or path."""

    code = 404
    reason = "NotFound"


class MethodNotAllowed(StatusError):
    """The resource does not answer this verb."""

    code = 405
    reason = "MethodNotAllowed"


class NotAcceptable(StatusError):
    """None of the media types that the client accepts can be produced."""

    code = 406
    reason = "NotAcceptable"


class AlreadyExists(StatusError):
    """Create of a name that is taken."""

    code = 409
    reason = "AlreadyExists"


class Conflict(StatusError):
    """Optimistic concurrency or a precondition failed."""

    code = 409
    reason = "Conflict"


class Gone(StatusError):
    """A resource version or watch window that is no longer kept (reason Expired)."""

    code = 410
    reason = "Expired"


class RequestEntityTooLarge(StatusError):
    """The body exceeds what is accepted."""

    code = 413
    reason = "RequestEntityTooLarge"


class UnsupportedMediaType(StatusError):
    """The body's content type is not read here."""

    code = 415
    reason = "UnsupportedMediaType"


class Invalid(StatusError):
    """The object is understood but breaks rules; `details.causes` names each field."""

    code = 422
    reason = "Invalid"


class TooManyRequests(StatusError):
    """Back off and try again."""

    code = 429
    reason = "TooManyRequests"


class InternalError(StatusError):
    """Our own fault; details go to the log only."""


class NotImplementedHere(StatusError):
    """A part of Kubernetes that is known but not offered yet."""

    code = 501
    reason = "NotImplemented"


class ServiceUnavailable(StatusError):
    """Not ready, or shutting down."""

    code = 503
    reason = "ServiceUnavailable"


class Timeout(StatusError):
    """The server could not answer in time (also: a resource version from the future)."""

    code = 504
    reason = "Timeout"
