"""Acting as somebody else: the Impersonate-* headers, for those who may.

Source: upstream's authentication reference, "User impersonation".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import unquote

from sparsam.apiserver.authentication import ANONYMOUS, AUTHENTICATED_GROUP, UNAUTHENTICATED_GROUP, User
from sparsam.apiserver.authorization import Action, Authorizer, require
from sparsam.errors import BadRequest

_PREFIX = b"impersonate-"
_EXTRA = "extra-"
_AUTHENTICATION = "authentication.k8s.io"
_ACCOUNT = "system:serviceaccount:"


def impersonated(user: User, headers: Iterable[tuple[bytes, bytes]], authorizer: Authorizer) -> User:
    """Who a request of `user` acts as; raises Forbidden for what they may not, BadRequest without a name."""
    sent = [(key.removeprefix(_PREFIX), value) for key, value in headers if key.startswith(_PREFIX)]
    asked = [(key.decode("latin-1"), value.decode("latin-1")) for key, value in sent]
    if not asked:
        return user
    names = [value for key, value in asked if key == "user"]
    if not names or not names[0]:
        raise BadRequest("requested impersonation without impersonating a user")
    groups = [value for key, value in asked if key == "group"]
    uid = next((value for key, value in asked if key == "uid"), "")
    extra: dict[str, tuple[str, ...]] = {}
    for key, value in asked:
        if key.startswith(_EXTRA):
            name = unquote(key.removeprefix(_EXTRA))
            extra[name] = (*extra.get(name, ()), value)
    for action in _actions(names[0], groups, uid, extra):
        require(authorizer, user, action)
    return User(names[0], _all_groups(names[0], groups), uid, extra)


def _actions(name: str, groups: list[str], uid: str, extra: dict[str, tuple[str, ...]]) -> Iterator[Action]:
    namespace, _, account = name.removeprefix(_ACCOUNT).partition(":")
    if name.startswith(_ACCOUNT) and account:
        yield Action(verb="impersonate", version="v1", resource="serviceaccounts", namespace=namespace, name=account)
    else:
        yield Action(verb="impersonate", version="v1", resource="users", name=name)
    for group in groups:
        yield Action(verb="impersonate", version="v1", resource="groups", name=group)
    if uid:
        yield Action(verb="impersonate", group=_AUTHENTICATION, version="v1", resource="uids", name=uid)
    for key, values in extra.items():
        for value in values:
            yield Action(
                verb="impersonate",
                group=_AUTHENTICATION,
                version="v1",
                resource="userextras",
                subresource=key,
                name=value,
            )


def _all_groups(name: str, groups: list[str]) -> tuple[str, ...]:
    """The groups asked for, and those that the user is in by being who it is."""
    namespace, _, account = name.removeprefix(_ACCOUNT).partition(":")
    if name.startswith(_ACCOUNT) and account and not groups:
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
    if name == ANONYMOUS.name:
        return tuple(dict.fromkeys((*groups, UNAUTHENTICATED_GROUP)))
    if UNAUTHENTICATED_GROUP in groups:
        return tuple(groups)
    return tuple(dict.fromkeys((*groups, AUTHENTICATED_GROUP)))
