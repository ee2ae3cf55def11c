"""Nobody hands out rights that they do not hold, by roles or by bindings.

Source: upstream's RBAC documentation, "Privilege escalation prevention and bootstrapping". The verbs `escalate` (on
roles) and `bind` (on the role that is bound) lift the check.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import product

from sparsam.apiserver.admission import Attributes, Reader, forbidden
from sparsam.apiserver.authentication import User
from sparsam.apiserver.authorization import Action, Authorizer
from sparsam.errors import NotFound
from sparsam.objects.kinds import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES, Resource
from sparsam.objects.strategy import Obj

Rule = Mapping[str, list[str]]


class Escalation:
    """A validator of what is granted."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def __call__(self, attributes: Attributes, new: Obj, old: Obj | None, reader: Reader) -> list[str]:
        """Raises Forbidden, or NotFound for a binding of a role that does not exist."""
        if attributes.operation not in ("CREATE", "UPDATE"):
            return []
        if attributes.resource in (ROLES, CLUSTERROLES):
            self._check_role(attributes, new, old)
        elif attributes.resource in (ROLEBINDINGS, CLUSTERROLEBINDINGS):
            await self._check_binding(attributes, new, old, reader)
        return []

    def _check_role(self, attributes: Attributes, new: Obj, old: Obj | None) -> None:
        parts = ("rules", "aggregationRule")
        if old is not None and all(new.get(part) == old.get(part) for part in parts):
            return
        if self._may(attributes, "escalate", attributes.resource, new["metadata"].get("name", "")):
            return
        everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
        if new.get("aggregationRule") is not None and self._missing(attributes, [everything]):
            raise forbidden(attributes, new, "must have cluster-admin privileges to use the aggregationRule")
        self._check_held(attributes, new, new.get("rules") or ())

    async def _check_binding(self, attributes: Attributes, new: Obj, old: Obj | None, reader: Reader) -> None:
        parts = ("roleRef", "subjects")
        if old is not None and all(new.get(part) == old.get(part) for part in parts):
            return
        kind = CLUSTERROLES if new["roleRef"]["kind"] == "ClusterRole" else ROLES
        name = new["roleRef"]["name"]
        if self._may(attributes, "bind", kind, name):
            return
        role = await reader.find(kind, name, attributes.namespace if kind.namespaced else "")
        if role is None:
            raise NotFound(f'{kind.group_resource} "{name}" not found')
        self._check_held(attributes, new, role.get("rules") or ())

    def _check_held(self, attributes: Attributes, new: Obj, rules: Iterable[Rule]) -> None:
        missing = self._missing(attributes, rules)
        if missing:
            user = attributes.user
            groups = " ".join(json.dumps(group) for group in user.groups)
            who = f'user "{user.name}" (groups=[{groups}])' if user.groups else f'user "{user.name}"'
            words = f"{who} is attempting to grant RBAC permissions not currently held:"
            raise forbidden(attributes, new, "\n".join([words, *missing]))

    def _missing(self, attributes: Attributes, rules: Iterable[Rule]) -> list[str]:
        """What the user may not do of some rules, one line for each resource or path."""
        lines: dict[str, list[str]] = {}
        for words, action in _parts(rules, attributes.namespace):
            if not self._authorizer.allows(attributes.user, action):
                lines.setdefault(words, []).append(action.verb)
        return [f"{{{words}, Verbs:{_quoted(dict.fromkeys(verbs))}}}" for words, verbs in sorted(lines.items())]

    def _may(self, attributes: Attributes, verb: str, kind: Resource, name: str) -> bool:
        user: User = attributes.user
        action = Action(
            verb=verb,
            group=kind.group,
            version=kind.version,
            resource=kind.plural,
            namespace=attributes.namespace,
            name=name,
        )
        return self._authorizer.allows(user, action)


def _parts(rules: Iterable[Rule], namespace: str) -> Iterator[tuple[str, Action]]:
    """Every single thing that rules allow, with the words for its rule apart from the verb."""
    for rule in rules:
        verbs = rule.get("verbs") or ()
        for verb, path in product(verbs, rule.get("nonResourceURLs") or ()):
            yield f"NonResourceURLs:{_quoted([path])}", Action(verb=verb, path=path)
        names = rule.get("resourceNames") or [""]
        for verb, group, what, name in product(verbs, rule.get("apiGroups") or (), rule.get("resources") or (), names):
            resource, _, part = what.partition("/")
            words = f"APIGroups:{_quoted([group])}, Resources:{_quoted([what])}"
            if name:
                words += f", ResourceNames:{_quoted([name])}"
            yield (
                words,
                Action(verb=verb, group=group, resource=resource, subresource=part, namespace=namespace, name=name),
            )


def _quoted(values: Iterable[str]) -> str:
    return f"[{' '.join(json.dumps(value) for value in values)}]"
