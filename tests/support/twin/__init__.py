"""kube-scheduler 1.36's default profile, slow and plain: the yardstick of the vectorised core."""

from tests.support.twin.cluster import Cluster
from tests.support.twin.decision import Decision, decide

__all__ = ["Cluster", "Decision", "decide"]
