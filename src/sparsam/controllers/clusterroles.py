"""Aggregated ClusterRoles: their rules are those of all roles that their aggregation rule selects.

Source: upstream's cluster role aggregation controller.
"""

from __future__ import annotations

from collections.abc import Iterable

from sparsam.controllers.runtime import Context, Controller, Key, Obj, key_of
from sparsam.errors import NotFound
from sparsam.objects.kinds import CLUSTERROLES
from sparsam.objects.selectors import parse_label_selector_object


def aggregated(role: Obj, roles: Iterable[Obj]) -> list[Obj] | None:
    """The rules of the selected roles, in the order of their names and each once; None for other roles."""
    rule = role.get("aggregationRule")
    if rule is None:
        return None
    by_name = sorted(roles, key=lambda each: str(each["metadata"]["name"]))
    found: list[Obj] = []
    for selector in rule.get("clusterRoleSelectors") or ():
        parsed = parse_label_selector_object(selector)
        for each in by_name:
            if each["metadata"]["name"] == role["metadata"]["name"]:
                continue
            if parsed.matches(each["metadata"].get("labels")):
                found += [own for own in each.get("rules") or () if own not in found]
    return found


class ClusterRoleAggregation:
    """Keyed by ClusterRole."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._roles = context.informer(CLUSTERROLES)
        self.controller = Controller("clusterrole-aggregation", context, self.sync)
        self.controller.watch(self._roles, self._concerned)

    def _concerned(self, _role: Obj) -> list[Key]:
        """Any role may be selected by any aggregated one."""
        return [key_of(each) for each in self._roles.items() if each.get("aggregationRule") is not None]

    async def sync(self, key: Key) -> None:
        """Bring one role's rules in order."""
        role = self._roles.get(*key)
        rules = aggregated(role, self._roles.items()) if role is not None else None
        if role is None or rules is None or rules == (role.get("rules") or []):
            return
        try:
            await self._client.update(CLUSTERROLES, {**role, "rules": rules})
        except NotFound:
            return
