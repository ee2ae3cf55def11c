"""Who a request acts as."""

from __future__ import annotations

import pytest

from sparsam.apiserver.authentication import authenticated
from sparsam.apiserver.authorization import Action, ComponentAuthorizer
from sparsam.apiserver.impersonation import impersonated
from sparsam.errors import BadRequest, Forbidden

ADMIN, JANE = authenticated("a", ("system:masters",)), authenticated("jane", ())


def headers(**asked: str) -> list[tuple[bytes, bytes]]:
    return [(b"accept", b"*/*"), *((f"impersonate-{key}".encode(), value.encode()) for key, value in asked.items())]


def test_without_headers_everybody_is_themselves():
    assert impersonated(JANE, headers(), ComponentAuthorizer()) is JANE


def test_an_administrator_may_be_anybody():
    user = impersonated(ADMIN, [*headers(user="bob", uid="7"), (b"impersonate-group", b"g")], ComponentAuthorizer())
    assert (user.name, user.groups, user.uid) == ("bob", ("g", "system:authenticated"), "7")


def test_a_service_account_is_in_its_groups():
    user = impersonated(ADMIN, headers(user="system:serviceaccount:d:robot"), ComponentAuthorizer())
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:d", "system:authenticated")


def test_others_may_not():
    with pytest.raises(Forbidden, match='users "bob" is forbidden: User "jane" cannot impersonate resource "users"'):
        impersonated(JANE, headers(user="bob"), ComponentAuthorizer())


def test_extra_values_are_asked_for_one_by_one():
    class Asked(ComponentAuthorizer):
        def allows(self, user, action: Action) -> bool:
            asked.append((action.resource, action.subresource, action.name))
            return True

    asked: list[tuple[str, str, str]] = []
    sent = [*headers(user="bob"), (b"impersonate-extra-acme.com%2Fx", b"1"), (b"impersonate-extra-acme.com%2Fx", b"2")]
    assert impersonated(JANE, sent, Asked()).extra == {"acme.com/x": ("1", "2")}
    assert asked == [("users", "", "bob"), ("userextras", "acme.com/x", "1"), ("userextras", "acme.com/x", "2")]


def test_a_group_needs_a_user():
    with pytest.raises(BadRequest):
        impersonated(ADMIN, headers(group="g"), ComponentAuthorizer())
