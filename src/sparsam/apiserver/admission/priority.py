"""Priority: the number behind a pod's priority class. Upstream's Priority plug-in."""

from __future__ import annotations

from sparsam.apiserver import statuses
from sparsam.apiserver.admission import Admit, Attributes, Reader
from sparsam.errors import Forbidden
from sparsam.objects.kinds import PODS, PRIORITYCLASSES
from sparsam.objects.strategy import Obj

SYSTEM_CLASSES = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}
PREEMPT = "PreemptLowerPriority"


async def priority(attributes: Attributes, obj: Obj | None, reader: Reader) -> Admit | None:
    """Raises Forbidden for an unknown class, a number that contradicts the class, and the end of a system class."""
    if (
        attributes.resource is PRIORITYCLASSES
        and attributes.operation == "DELETE"
        and attributes.name in SYSTEM_CLASSES
    ):
        raise Forbidden(
            f'priorityclasses.scheduling.k8s.io "{attributes.name}" is forbidden: '
            "this is a system priority class and cannot be deleted",
            details=statuses.details_of(PRIORITYCLASSES, attributes.name),
        )
    if attributes.resource is not PODS or attributes.operation != "CREATE" or attributes.subresource or obj is None:
        return None
    spec = obj.get("spec") or {}
    name = spec.get("priorityClassName") or ""
    number, policy = 0, PREEMPT
    if name in SYSTEM_CLASSES:
        number = SYSTEM_CLASSES[name]
    elif name:
        found = await reader.find(PRIORITYCLASSES, name)
        if found is None:
            raise _forbidden(attributes, obj, f"no PriorityClass with name {name} was found")
        number, policy = found.get("value", 0), found.get("preemptionPolicy", PREEMPT)
    else:
        classes = [each for each in await reader.items(PRIORITYCLASSES) if each.get("globalDefault")]
        if classes:
            default = min(classes, key=lambda each: int(each.get("value", 0)))
            name = default["metadata"]["name"]
            number, policy = default.get("value", 0), default.get("preemptionPolicy", PREEMPT)
    if spec.get("priority") is not None and spec["priority"] != number:
        raise _forbidden(
            attributes,
            obj,
            f"the integer value of priority ({spec['priority']}) must not be provided in pod spec; "
            f"priority admission controller computed {number} from the given PriorityClass name",
        )
    if spec.get("preemptionPolicy") not in (None, policy):
        raise _forbidden(
            attributes,
            obj,
            f"the string value of PreemptionPolicy ({spec['preemptionPolicy']}) must not be provided in pod spec; "
            f"priority admission controller computed {policy} from the given PriorityClass name",
        )

    def admit(new: Obj, _old: Obj | None) -> None:
        if name:
            new["spec"]["priorityClassName"] = name
        new["spec"]["priority"] = number
        new["spec"]["preemptionPolicy"] = policy

    return admit


def _forbidden(attributes: Attributes, obj: Obj, why: str) -> Forbidden:
    name = (obj.get("metadata") or {}).get("name") or attributes.name
    return Forbidden(f'pods "{name}" is forbidden: {why}', details=statuses.details_of(PODS, name))
