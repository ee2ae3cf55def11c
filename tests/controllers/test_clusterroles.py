"""Aggregated roles."""

from __future__ import annotations

from typing import Any

from sparsam.controllers.clusterroles import ClusterRoleAggregation, aggregated
from sparsam.objects.kinds import CLUSTERROLES
from tests.support.controllers import controlled, eventually


def role(name: str, *resources: str, **labels: str) -> dict[str, Any]:
    rules = [{"apiGroups": [""], "resources": [each], "verbs": ["get"]} for each in resources]
    return {"metadata": {"name": name, "labels": labels}, "rules": rules}


def whole(name: str = "whole", **labels: str) -> dict[str, Any]:
    rule = {"clusterRoleSelectors": [{"matchLabels": {"to": name}}]}
    return {"metadata": {"name": name, "labels": labels}, "aggregationRule": rule}


def test_rules_come_in_the_order_of_names_and_once():
    roles = [role("b", "pods", "nodes", to="whole"), role("a", "pods", to="whole"), role("c", "secrets")]
    rules = aggregated(whole(to="whole"), [*roles, whole(to="whole")])
    assert rules is not None
    assert [each["resources"] for each in rules] == [["pods"], ["nodes"]]
    assert aggregated(roles[0], roles) is None


async def test_a_role_follows_those_that_it_selects(tmp_path: Any):
    async with controlled(tmp_path, ClusterRoleAggregation) as client:
        await client.create(CLUSTERROLES, whole())

        async def holds(*resources: str) -> bool:
            found = await client.get(CLUSTERROLES, "whole")
            return [each["resources"][0] for each in found.get("rules") or ()] == list(resources)

        await client.create(CLUSTERROLES, role("a", "pods", to="whole"))
        await eventually(lambda: holds("pods"))
        await client.create(CLUSTERROLES, role("b", "nodes", to="whole"))
        await eventually(lambda: holds("pods", "nodes"))
        await client.delete(CLUSTERROLES, "a")
        await eventually(lambda: holds("nodes"))
