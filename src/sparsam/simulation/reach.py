"""From which nodes the volumes of pods can be reached, as labels of nodes and selectors of pods.

A pod with a directory of its node is taken to need that node, which the scheduler does not know but its user does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparsam.objects.selectors import parse_label_selector_object

Obj = Mapping[str, Any]

VOLUME_LABEL = "volumes.sparsam.dev/set-"
"""Followed by a number: nodes that some pod's volumes can be reached from."""


@dataclass(frozen=True, slots=True)
class Volumes:
    """PersistentVolumes and claims, as far as they could be read."""

    claims: Sequence[Obj] = ()
    volumes: Sequence[Obj] = ()


class Reach:
    """Numbers the sets of nodes that pods' volumes leave them."""

    def __init__(self, nodes: Sequence[Obj], known: Volumes) -> None:
        self.labels: dict[int, dict[str, str]] = {}
        """Labels to add to nodes, by row."""
        self.tied = 0
        """Pods that got a selector."""
        self._nodes = nodes
        self._claims = {
            (each["metadata"].get("namespace", "default"), each["metadata"]["name"]): each["spec"].get("volumeName", "")
            for each in known.claims
        }
        self._affinities = {
            each["metadata"]["name"]: ((each["spec"].get("nodeAffinity") or {}).get("required") or {}).get(
                "nodeSelectorTerms"
            )
            for each in known.volumes
        }
        self._numbers: dict[frozenset[int], int] = {}

    def selector(self, pod: Obj, row: int) -> dict[str, str]:
        """What a pod on a node has to select; empty where its volumes can be had anywhere."""
        reached = frozenset(range(len(self._nodes)))
        for volume in pod["spec"].get("volumes") or ():
            reached &= self._rows(volume, pod["metadata"].get("namespace", "default"), row)
        if len(reached) == len(self._nodes):
            return {}
        self.tied += 1
        number = self._numbers.setdefault(reached | {row}, len(self._numbers))
        label = {f"{VOLUME_LABEL}{number}": "true"}
        for each in reached | {row}:
            self.labels.setdefault(each, {}).update(label)
        return label

    def _rows(self, volume: Obj, namespace: str, row: int) -> frozenset[int]:
        if "hostPath" in volume:
            return frozenset([row])
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        terms = self._affinities.get(self._claims.get((namespace, claim), "")) if claim else None
        if not terms:
            return frozenset(range(len(self._nodes)))
        return frozenset(number for number, node in enumerate(self._nodes) if any(_selects(t, node) for t in terms))


def _selects(term: Mapping[str, Any], node: Obj) -> bool:
    """Whether a node selector term holds; comparisons, which volumes do not have, hold everywhere."""
    usual = [each for each in term.get("matchExpressions") or () if each.get("operator") not in ("Gt", "Lt")]
    return parse_label_selector_object({"matchExpressions": usual}).matches(node["metadata"].get("labels") or {})
