"""What can be done to a Pod besides writing it: binding it to a node, and evicting it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparsam.apiserver.statuses import conflict, invalid
from sparsam.errors import BadRequest, Cause, InternalError, StatusError, TooManyRequests
from sparsam.objects.kinds import Resource
from sparsam.objects.selectors import parse_label_selector_object
from sparsam.objects.strategy import Obj

EVICTIONS = Resource("policy", "v1", "Eviction", "evictions", verbs=("create",))
VIOLATION = "Cannot evict pod as it would violate the pod's disruption budget."
_BINDINGS_OF_PODS = Resource("", "v1", "Binding", "pods/binding")


def check_binding(binding: Obj, pod_name: str) -> None:
    """Raises BadRequest and Invalid for a Binding that cannot be meant."""
    name = (binding.get("metadata") or {}).get("name") or pod_name
    if name != pod_name:
        raise BadRequest("name in URL does not match name in Binding object")
    target, causes = binding.get("target") or {}, []
    if target.get("kind") not in (None, "", "Node"):
        message = f'Unsupported value: "{target["kind"]}": supported values: "Node", "<empty>"'
        causes.append(Cause("FieldValueNotSupported", message, "target.kind"))
    if not target.get("name"):
        causes.append(Cause("FieldValueRequired", "Required value", "target.name"))
    if causes:
        raise invalid("Binding", pod_name, causes)


def bind(pod: Obj, binding: Obj, now: str) -> None:
    """Assign a Pod to the Binding's target, in place; raises Conflict."""
    metadata, spec = pod["metadata"], pod["spec"]
    name, wanted = metadata["name"], binding.get("metadata") or {}
    if wanted.get("uid") and wanted["uid"] != metadata["uid"]:
        raise _cannot_bind(
            name, f"Precondition failed: UID in precondition: {wanted['uid']}, UID in object meta: {metadata['uid']}"
        )
    if wanted.get("resourceVersion") and wanted["resourceVersion"] != metadata["resourceVersion"]:
        raise _cannot_bind(
            name,
            f"Precondition failed: ResourceVersion in precondition: {wanted['resourceVersion']}, "
            f"ResourceVersion in object meta: {metadata['resourceVersion']}",
        )
    if "deletionTimestamp" in metadata:
        raise _cannot_bind(name, f"pod {name} is being deleted, cannot be assigned to a host")
    if spec.get("nodeName"):
        raise _cannot_bind(name, f'pod {name} is already assigned to node "{spec["nodeName"]}"')
    if spec.get("schedulingGates"):
        raise _cannot_bind(name, f"pod {name} has non-empty .spec.schedulingGates")
    spec["nodeName"] = binding["target"]["name"]
    for kept in ("annotations", "labels"):
        if wanted.get(kept):
            metadata[kept] = {**(metadata.get(kept) or {}), **wanted[kept]}
    status = pod.setdefault("status", {})
    status.pop("nominatedNodeName", None)
    set_condition(status, {"type": "PodScheduled", "status": "True", "lastTransitionTime": now}, now)


def mark_disrupted(pod: Obj, now: str) -> None:
    """Say in the Pod's conditions that an eviction ends it."""
    condition = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
    }
    set_condition(pod.setdefault("status", {}), condition, now)


def set_condition(status: dict[str, Any], condition: dict[str, Any], now: str) -> None:
    """Put a condition among a Pod's, keeping the time of its last change of status."""
    conditions: list[dict[str, Any]] = status.setdefault("conditions", [])
    for index, known in enumerate(conditions):
        if known["type"] == condition["type"]:
            changed = known.get("status") != condition["status"]
            moment = now if changed else known.get("lastTransitionTime", now)
            conditions[index] = {"lastProbeTime": None, **condition, "lastTransitionTime": moment}
            return
    conditions.append({"lastProbeTime": None, **condition, "lastTransitionTime": now})


def needs_budget(pod: Obj) -> bool:
    """Whether evicting the Pod disrupts anything: those that ended, wait for a node or go already do not."""
    phase = pod.get("status", {}).get("phase")
    return phase not in ("Succeeded", "Failed", "Pending") and "deletionTimestamp" not in pod["metadata"]


def budget_of(pod: Obj, budgets: Sequence[Obj]) -> Obj | None:
    """The one disruption budget that covers a Pod; raises InternalError for several."""
    labels = pod["metadata"].get("labels") or {}
    covering = [
        budget
        for budget in budgets
        if budget["spec"].get("selector") is not None
        and parse_label_selector_object(budget["spec"]["selector"]).matches(labels)
    ]
    if len(covering) > 1:
        raise InternalError(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
            details={},
        )
    return covering[0] if covering else None


def spend(budget: Obj, pod: Obj, now: str) -> None:
    """Take one disruption from a budget, in place; raises TooManyRequests when there is none left."""
    name, status = budget["metadata"]["name"], budget.setdefault("status", {})
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        raise _too_many(f"The disruption budget {name} is still being processed by the server.", retry_seconds=10)
    if status.get("disruptionsAllowed", 0) < 1:
        healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
        raise _too_many(f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently")
    status["disruptionsAllowed"] -= 1
    status.setdefault("disruptedPods", {})[pod["metadata"]["name"]] = now


def _too_many(message: str, *, retry_seconds: int = 0) -> StatusError:
    details: dict[str, Any] = {"causes": [{"reason": "DisruptionBudget", "message": message}]}
    if retry_seconds:
        details["retryAfterSeconds"] = retry_seconds
    return TooManyRequests(VIOLATION, details=details)


def _cannot_bind(name: str, why: str) -> StatusError:
    return conflict(_BINDINGS_OF_PODS, name, why)


def container_for_logs(pod: Obj, wanted: str) -> str:
    """The container whose log or shell is meant; raises BadRequest."""
    spec, name = pod["spec"], pod["metadata"]["name"]
    containers = [each["name"] for each in spec.get("containers") or []]
    init = [each["name"] for each in spec.get("initContainers") or []]
    ephemeral = [each["name"] for each in spec.get("ephemeralContainers") or []]
    if wanted:
        if wanted not in (*containers, *init, *ephemeral):
            raise BadRequest(f"container {wanted} is not valid for pod {name}")
        return wanted
    annotations: dict[str, str] = pod["metadata"].get("annotations") or {}
    default = annotations.get("kubectl.kubernetes.io/default-container", "")
    if default in containers:
        return default
    if len(containers) == 1:
        return str(containers[0])
    choices = f"a container name must be specified for pod {name}, choose one of: [{' '.join(containers)}]"
    if init:
        choices += f" or one of the init containers: [{' '.join(init)}]"
    if ephemeral:
        choices += f" or one of the ephemeral containers: [{' '.join(ephemeral)}]"
    raise BadRequest(choices)
