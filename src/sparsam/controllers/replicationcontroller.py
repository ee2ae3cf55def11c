"""ReplicationControllers: the ReplicaSet of old, with a plain map as selector."""

from __future__ import annotations

from sparsam.controllers.replicaset import ReplicaSetController
from sparsam.controllers.runtime import Obj
from sparsam.objects.kinds import REPLICATIONCONTROLLERS
from sparsam.objects.selectors import LabelSelector, label_selector_from_map


class ReplicationControllerController(ReplicaSetController):
    """Keyed by ReplicationController."""

    name = "replication-controller"
    resource = REPLICATIONCONTROLLERS
    unreported = frozenset({"terminatingReplicas"})

    @staticmethod
    def selector_of(owner: Obj) -> LabelSelector:
        """What its pods look like."""
        return label_selector_from_map(owner["spec"].get("selector"))
