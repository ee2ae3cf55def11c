"""Who is asking: client certificates (checked by TLS before we see them) and bearer tokens."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sparsam.errors import Unauthorized

AUTHENTICATED_GROUP = "system:authenticated"
UNAUTHENTICATED_GROUP = "system:unauthenticated"
BOOTSTRAPPERS_GROUP = "system:bootstrappers"


@dataclass(frozen=True, slots=True)
class User:
    """An identity and the groups that it is in."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


ANONYMOUS = User("system:anonymous", (UNAUTHENTICATED_GROUP,))


class TokenAuthenticator(Protocol):
    """Something that knows some tokens."""

    async def authenticate(self, token: str) -> User | None:
        """The user behind a token; None when the token is not of this kind or not valid."""
        ...


class StaticTokens:
    """Tokens from a file of `token,user,uid,"group1,group2"` lines."""

    def __init__(self, path: Path) -> None:
        self._users: dict[str, User] = {}
        with path.open(newline="") as file:
            for row in csv.reader(file):
                if len(row) >= 3:
                    groups = tuple(part.strip() for part in row[3].split(",")) if len(row) > 3 else ()
                    self._users[row[0].strip()] = authenticated(row[1].strip(), groups, uid=row[2].strip())

    async def authenticate(self, token: str) -> User | None:
        """The user of a listed token."""
        return self._users.get(token)


def authenticated(
    name: str, groups: tuple[str, ...], *, uid: str = "", extra: Mapping[str, tuple[str, ...]] | None = None
) -> User:
    """A user that proved who it is, with the group that all of those share."""
    everyone = () if AUTHENTICATED_GROUP in groups else (AUTHENTICATED_GROUP,)
    return User(name, (*groups, *everyone), uid, extra or {})


def user_of_subject(subject: object) -> User | None:
    """The user that a verified client certificate names (CN, and one group for each O).

    `subject` is as `ssl.SSLSocket.getpeercert` gives it: a tuple of relative names, each a tuple of pairs.
    """
    if not isinstance(subject, tuple):
        return None
    pairs = [pair for relative_name in subject for pair in relative_name]
    name = next((value for key, value in pairs if key == "commonName"), "")
    if not name:
        return None
    return authenticated(name, tuple(value for key, value in pairs if key == "organizationName"))


class Authenticator:
    """Decides the user of each request: bearer token first, then certificate, else anonymous."""

    def __init__(self, token_authenticators: tuple[TokenAuthenticator, ...]) -> None:
        self._token_authenticators = token_authenticators

    async def authenticate(self, authorization: str, certificate_user: User | None) -> User:
        """Raises Unauthorized for a token that nobody knows."""
        if authorization:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() == "bearer" and token:
                return await self._of_token(token.strip(), certificate_user)
        return certificate_user or ANONYMOUS

    async def of_token(self, token: str) -> User | None:
        """The user of a bearer token, or None."""
        for authenticator in self._token_authenticators:
            user = await authenticator.authenticate(token)
            if user is not None:
                return user
        return None

    async def _of_token(self, token: str, certificate_user: User | None) -> User:
        user = await self.of_token(token) or certificate_user
        if user is None:
            raise Unauthorized("Unauthorized")
        return user
