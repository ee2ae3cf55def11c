"""Small fixed additions: tolerations, the taint of a node that is not ready yet, finalizers of volumes.

Upstream's plug-ins DefaultTolerationSeconds, TaintNodesByCondition and StorageObjectInUseProtection.
"""

from __future__ import annotations

from sparsam.apiserver.admission import Admit, Attributes, Reader
from sparsam.objects.kinds import (
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    VOLUMEATTRIBUTESCLASSES,
    Resource,
)
from sparsam.objects.strategy import Obj

NOT_READY = "node.kubernetes.io/not-ready"
UNREACHABLE = "node.kubernetes.io/unreachable"
TOLERATION_SECONDS = 300
FINALIZERS: dict[Resource, str] = {
    PERSISTENTVOLUMECLAIMS: "kubernetes.io/pvc-protection",
    PERSISTENTVOLUMES: "kubernetes.io/pv-protection",
    VOLUMEATTRIBUTESCLASSES: "kubernetes.io/vac-protection",
}


async def fixed_additions(attributes: Attributes, _obj: Obj | None, _reader: Reader) -> Admit | None:
    """Never refuses."""
    if attributes.operation == "DELETE" or attributes.subresource:
        return None
    if attributes.resource is PODS:
        # At updates too: a pod that lost these tolerations gets them back.
        return _tolerate_lost_nodes
    if attributes.operation != "CREATE":
        return None
    if attributes.resource is NODES:
        return _taint_until_ready
    finalizer = FINALIZERS.get(attributes.resource)
    if finalizer is None:
        return None

    def protect(new: Obj, _old: Obj | None) -> None:
        finalizers = new["metadata"].setdefault("finalizers", [])
        if finalizer not in finalizers:
            finalizers.append(finalizer)

    return protect


def _tolerate_lost_nodes(new: Obj, _old: Obj | None) -> None:
    tolerations = new["spec"].setdefault("tolerations", [])
    missing = [key for key in (NOT_READY, UNREACHABLE) if not any(_covers(each, key) for each in tolerations)]
    for key in missing:
        tolerations.append(
            {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": TOLERATION_SECONDS}
        )


def _covers(toleration: Obj, key: str) -> bool:
    return toleration.get("key", "") in ("", key) and toleration.get("effect", "") in ("", "NoExecute")


def _taint_until_ready(new: Obj, _old: Obj | None) -> None:
    taints = new.setdefault("spec", {}).setdefault("taints", [])
    if not any(each.get("key") == NOT_READY and each.get("effect") == "NoSchedule" for each in taints):
        taints.append({"key": NOT_READY, "effect": "NoSchedule"})
