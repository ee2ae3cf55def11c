"""What a decision looks at: nodes, the pods bound to them, namespaces, services and budgets, as plain objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Obj = dict[str, Any]
HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"


class Cluster:
    """Nodes by name, and the pods bound to each."""

    def __init__(
        self,
        nodes: Iterable[Obj],
        pods: Iterable[Obj],
        namespaces: Iterable[Obj] = (),
        services: Iterable[Obj] = (),
        pdbs: Iterable[Obj] = (),
    ) -> None:
        self.nodes = {name_of(node): node for node in nodes}
        self.pods = list(pods)
        self.namespaces = {name_of(each): labels_of(each) for each in namespaces}
        self.services = list(services)
        self.pdbs = list(pdbs)

    def on(self, node: str) -> list[Obj]:
        """The pods of one node."""
        return [pod for pod in self.pods if pod["spec"].get("nodeName") == node]

    def placed(self) -> Iterable[tuple[Obj, Obj]]:
        """Each pod with its node; pods of nodes that are gone are left out."""
        for pod in self.pods:
            node = self.nodes.get(pod["spec"].get("nodeName", ""))
            if node is not None:
                yield pod, node

    def without(self, gone: Iterable[str]) -> Cluster:
        """The same cluster without some pods, by key."""
        names = set(gone)
        smaller = Cluster(self.nodes.values(), [pod for pod in self.pods if key_of(pod) not in names])
        smaller.namespaces, smaller.services, smaller.pdbs = self.namespaces, self.services, self.pdbs
        return smaller


def name_of(obj: Obj) -> str:
    """The object's name."""
    return str(obj["metadata"]["name"])


def namespace_of(obj: Obj) -> str:
    """The object's namespace."""
    return str(obj["metadata"].get("namespace", "default"))


def key_of(obj: Obj) -> str:
    """`namespace/name`."""
    return f"{namespace_of(obj)}/{name_of(obj)}"


def labels_of(obj: Obj) -> dict[str, str]:
    """The object's labels."""
    return obj["metadata"].get("labels") or {}


def priority_of(pod: Obj) -> int:
    """The pod's priority, 0 without one."""
    return int(pod["spec"].get("priority") or 0)


def terminating(pod: Obj) -> bool:
    """Whether the pod is being deleted."""
    return bool(pod["metadata"].get("deletionTimestamp"))


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a LabelSelector object matches; None matches nothing, an empty one everything."""
    if selector is None:
        return False
    equal = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return equal and all(expression_holds(each, labels) for each in selector.get("matchExpressions") or ())


def expression_holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether one matchExpression holds, with the operators of nodes' selectors too."""
    operator: str = expression["operator"]
    values: list[str] = expression.get("values") or []
    value = labels.get(expression["key"])
    if operator == "In":
        return value is not None and value in values
    if operator == "NotIn":
        return value is None or value not in values
    if operator in ("Exists", "DoesNotExist"):
        return (value is not None) == (operator == "Exists")
    if operator in ("Gt", "Lt"):
        return _compares(operator, value, values)
    raise ValueError(f"no such operator: {operator}")


def _compares(operator: str, value: str | None, values: list[str]) -> bool:
    try:
        [bound] = map(int, values)
        number = int(value or "")
    except ValueError:
        return False
    return number > bound if operator == "Gt" else number < bound
