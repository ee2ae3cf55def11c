"""What a grant consists of, and who lacks it. The whole path is in `test_roles`."""

from __future__ import annotations

import pytest

from sparsam.apiserver.admission import Attributes
from sparsam.apiserver.admission.escalation import Escalation
from sparsam.apiserver.authentication import authenticated
from sparsam.apiserver.authorization import Action
from sparsam.errors import Forbidden, NotFound
from sparsam.objects.kinds import CLUSTERROLEBINDINGS, CLUSTERROLES

JANE = authenticated("jane", ("g",))


class Holds:
    def __init__(self, *held: tuple[str, str]) -> None:
        self.held = held

    def allows(self, user, action: Action) -> bool:
        what = action.path or (f"{action.resource}/{action.subresource}" if action.subresource else action.resource)
        return (action.verb, what) in self.held


class Nothing:
    async def find(self, resource, name, namespace=""):
        return None


def attributes(resource=CLUSTERROLES) -> Attributes:
    return Attributes("CREATE", resource, "", "r", JANE)


def role(**rule) -> dict:
    return {"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], **rule}]}


async def test_paths_and_names_count_one_by_one():
    check = Escalation(Holds(("get", "/a")))
    await check(attributes(), role(verbs=["get"], nonResourceURLs=["/a"]), None, Nothing())
    with pytest.raises(Forbidden, match=r'\{NonResourceURLs:\["/b"\], Verbs:\["get"\]\}'):
        await check(attributes(), role(verbs=["get"], nonResourceURLs=["/a", "/b"]), None, Nothing())
    with pytest.raises(Forbidden, match=r'Resources:\["pods"\], ResourceNames:\["x"\], Verbs:\["get" "list"\]'):
        await check(attributes(), role(verbs=["get", "list"], resources=["pods"], resourceNames=["x"]), None, Nothing())


async def test_what_does_not_change_is_not_asked_about():
    old = role(verbs=["*"], resources=["*"])
    await Escalation(Holds())(attributes(), {**old, "metadata": {"name": "r", "labels": {"a": "b"}}}, old, Nothing())


async def test_the_verbs_escalate_and_bind_lift_the_check():
    everything = role(verbs=["*"], resources=["*"])
    await Escalation(Holds(("escalate", "clusterroles")))(attributes(), everything, None, Nothing())
    binding = {"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": []}
    await Escalation(Holds(("bind", "clusterroles")))(attributes(CLUSTERROLEBINDINGS), binding, None, Nothing())
    with pytest.raises(NotFound):
        await Escalation(Holds())(attributes(CLUSTERROLEBINDINGS), binding, None, Nothing())


async def test_only_administrators_gather_roles():
    gathering = {"metadata": {"name": "r"}, "aggregationRule": {"clusterRoleSelectors": [{}]}}
    with pytest.raises(Forbidden, match="must have cluster-admin privileges to use the aggregationRule"):
        await Escalation(Holds())(attributes(), gathering, None, Nothing())
