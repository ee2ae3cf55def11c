"""What can be done to a Pod besides writing it: binding it to a node, asking for a container of it. Pure."""

from __future__ import annotations

from typing import Any

from sparsam.apiserver.statuses import conflict, invalid
from sparsam.errors import BadRequest, Cause, StatusError
from sparsam.objects.kinds import Resource
from sparsam.objects.strategy import Obj

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
