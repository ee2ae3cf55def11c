"""Role-based access: what Roles and ClusterRoles grant through their bindings.

The rules are held in memory, kept by watching the store. Who may write roles and bindings hands out no more than what
they hold themselves: see `admission.escalation`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping

from sparsam.apiserver.authentication import User
from sparsam.apiserver.authorization import Action, Authorizer
from sparsam.apiserver.mirror import Mirror
from sparsam.objects.kinds import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES, Resource
from sparsam.objects.strategy import Obj
from sparsam.store.interface import Store

_ACCOUNT_PREFIX = "system:serviceaccount:"
_KINDS = (ROLES, CLUSTERROLES, ROLEBINDINGS, CLUSTERROLEBINDINGS)

Book = dict[Resource, dict[tuple[str, str], Obj]]
"""Objects by kind, namespace and name."""


class RoleAuthorizer:
    """Grants what another authorizer does, and what roles say."""

    def __init__(self, first: Authorizer, store: Store) -> None:
        self._first = first
        self._mirrors = {kind: Mirror(store, kind) for kind in _KINDS}

    @property
    def _book(self) -> Book:
        return {kind: mirror.objects for kind, mirror in self._mirrors.items()}

    def allows(self, user: User, action: Action) -> bool:
        """Whether the user may."""
        return self._first.allows(user, action) or granted(self._book, user, action)

    def why_not(self, user: User, action: Action) -> str:
        """Roles give no reason."""
        return self._first.why_not(user, action)

    def rules(self, user: User, namespace: str) -> list[Obj]:
        """What the user may do, each rule once."""
        found = self._first.rules(user, namespace)
        for rule in _rules_of(self._book, user, namespace):
            if rule not in found:
                found.append(dict(rule))
        return found

    async def run(self) -> None:
        """Keep the roles like the store until cancelled."""
        async with asyncio.TaskGroup() as group:
            for kind, mirror in self._mirrors.items():
                group.create_task(mirror.run(), name=f"roles {kind.plural}")


def granted(book: Book, user: User, action: Action) -> bool:
    """Whether some role that is bound to the user holds a rule for the action."""
    return any(rule_allows(rule, action) for rule in _rules_of(book, user, action.namespace))


def rule_allows(rule: Mapping[str, list[str]], action: Action) -> bool:
    """Whether one rule is about this action."""
    if not _has(rule.get("verbs"), action.verb):
        return False
    if not action.resource:
        return any(_path_matches(pattern, action.path) for pattern in rule.get("nonResourceURLs") or ())
    names = rule.get("resourceNames")
    return (
        _has(rule.get("apiGroups"), action.group)
        and _has_resource(rule.get("resources") or (), action)
        and (not names or action.name in names)
    )


def subject_matches(subject: Mapping[str, str], user: User, namespace: str) -> bool:
    """Whether a binding's subject is this user; `namespace` is the binding's own."""
    match subject.get("kind"):
        case "User":
            return subject.get("name") == user.name
        case "Group":
            return subject.get("name") in user.groups
        case "ServiceAccount":
            where = subject.get("namespace") or namespace
            return user.name == f"{_ACCOUNT_PREFIX}{where}:{subject.get('name')}"
        case _:
            return False


def _rules_of(book: Book, user: User, namespace: str) -> Iterator[Mapping[str, list[str]]]:
    for binding in book[CLUSTERROLEBINDINGS].values():
        if _binds(binding, user):
            yield from _rules(book[CLUSTERROLES].get(("", binding["roleRef"]["name"])))
    if not namespace:
        return
    for (where, _), binding in book[ROLEBINDINGS].items():
        if where != namespace or not _binds(binding, user):
            continue
        role = binding["roleRef"]
        if role["kind"] == "ClusterRole":
            yield from _rules(book[CLUSTERROLES].get(("", role["name"])))
        else:
            yield from _rules(book[ROLES].get((namespace, role["name"])))


def _binds(binding: Obj, user: User) -> bool:
    namespace = binding["metadata"].get("namespace", "")
    return any(subject_matches(subject, user, namespace) for subject in binding.get("subjects") or ())


def _rules(role: Obj | None) -> Iterable[Mapping[str, list[str]]]:
    return (role or {}).get("rules") or ()


def _has(values: list[str] | None, wanted: str) -> bool:
    return values is not None and (wanted in values or "*" in values)


def _has_resource(resources: Iterable[str], action: Action) -> bool:
    what = f"{action.resource}/{action.subresource}" if action.subresource else action.resource
    wanted = {"*", what} | ({f"*/{action.subresource}"} if action.subresource else set())
    return not wanted.isdisjoint(resources)


def _path_matches(pattern: str, path: str) -> bool:
    return pattern == path or (pattern.endswith("*") and path.startswith(pattern[:-1]))
