"""Who may do what: administrators everything, all others what `roles` grants them.

The seam is `Authorizer.allows`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sparsam.apiserver.authentication import AUTHENTICATED_GROUP, BOOTSTRAPPERS_GROUP, User
from sparsam.errors import Forbidden, StatusError, Unauthorized
from sparsam.objects.strategy import Obj

OPEN_PATHS = frozenset({"/healthz", "/livez", "/readyz", "/version", "/version/"})
_OPEN_PREFIXES = ("/healthz/", "/livez/", "/readyz/")
_DISCOVERY_PREFIXES = ("/api", "/apis", "/openapi")

_ALMIGHTY_GROUP = "system:masters"
_REQUEST_VERBS = frozenset({"create", "get", "list", "watch"})
_SELF_REVIEWS = frozenset({"selfsubjectreviews", "selfsubjectaccessreviews", "selfsubjectrulesreviews"})


@dataclass(frozen=True, slots=True)
class Action:
    """What a request wants: a verb on a resource, or (`path` set) on a plain path."""

    verb: str
    path: str = ""
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    field_selector: str = ""
    label_selector: str = ""
    """Of a request on many objects; one that asks for a name has it in `name` too."""


class Authorizer(Protocol):
    """Decides on actions."""

    def allows(self, user: User, action: Action) -> bool:
        """Whether the user may."""
        ...

    def why_not(self, user: User, action: Action) -> str:
        """A reason for a refusal, if there is one to tell."""
        ...

    def rules(self, user: User, namespace: str) -> list[Obj]:
        """What the user may do in a namespace and outside of any, as rules of roles."""
        ...


class ComponentAuthorizer:
    """Administrators may do all; other known users see what is served and who they are."""

    def allows(self, user: User, action: Action) -> bool:
        """Whether the user may."""
        if _is_almighty(user):
            return True
        if action.path in OPEN_PATHS or action.path.startswith(_OPEN_PREFIXES):
            return True
        if AUTHENTICATED_GROUP not in user.groups:
            return False
        if action.resource:
            if BOOTSTRAPPERS_GROUP in user.groups and _asks_for_certificate(action):
                return True
            return action.resource in _SELF_REVIEWS and action.verb == "create"
        return action.verb == "get" and action.path.startswith(_DISCOVERY_PREFIXES)

    def why_not(self, _user: User, _action: Action) -> str:
        """Nothing to tell."""
        return ""

    def rules(self, user: User, namespace: str) -> list[Obj]:
        """Everything for the almighty; what others may by themselves the default roles say too."""
        if not _is_almighty(user):
            return []
        return [
            {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
            {"verbs": ["*"], "nonResourceURLs": ["*"]},
        ]


def _is_almighty(user: User) -> bool:
    return _ALMIGHTY_GROUP in user.groups


def _asks_for_certificate(action: Action) -> bool:
    """All that a node with nothing but a bootstrap token may do: file a signing request and see what becomes of it."""
    resource = (action.group, action.resource, action.subresource)
    return resource == ("certificates.k8s.io", "certificatesigningrequests", "") and action.verb in _REQUEST_VERBS


def require(authorizer: Authorizer, user: User, action: Action) -> None:
    """Raises Unauthorized or Forbidden unless the user may."""
    if not authorizer.allows(user, action):
        raise denial(user, action, authorizer.why_not(user, action))


def asked_value(selector: str, key: str) -> str:
    """The one value that a selector allows a key to have; empty when it allows others too."""
    for requirement in selector.split(","):
        name, equals, value = requirement.partition("=")
        if equals and name.strip() == key:
            return value.removeprefix("=").strip()
    return ""


def denial(user: User, action: Action, why: str = "") -> StatusError:
    """The answer to a forbidden request, in upstream's words; the unknown are asked for credentials."""
    if AUTHENTICATED_GROUP not in user.groups:
        return Unauthorized("Unauthorized")
    if not action.resource:
        return Forbidden(f'forbidden: User "{user.name}" cannot {action.verb} path "{action.path}"', details={})
    resource = f"{action.resource}.{action.group}" if action.group else action.resource
    what = f"{action.resource}/{action.subresource}" if action.subresource else action.resource
    quoted = f'{resource} "{action.name}"' if action.name else resource
    scope = f'in the namespace "{action.namespace}"' if action.namespace else "at the cluster scope"
    details = {"name": action.name, "group": action.group, "kind": action.resource}
    reason = f": {why}" if why else ""
    return Forbidden(
        f'{quoted} is forbidden: User "{user.name}" cannot {action.verb} resource "{what}" '
        f'in API group "{action.group}" {scope}{reason}',
        details={key: value for key, value in details.items() if value},
    )
