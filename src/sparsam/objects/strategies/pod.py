"""The Pod kind: what is true of a pod but not of a template, and how it may change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import duplicate, forbidden, invalid, required
from sparsam.objects.names import dns_subdomain_errors, qualified_name_errors, validate_immutable
from sparsam.objects.strategies import containers, differences, resources
from sparsam.objects.strategies.affinity import REQUIRED, apply_label_keys, validate_tolerations
from sparsam.objects.strategies.common import MAX_INT32, dual_stack, inclusive, ip_causes, parse_ip, text_causes
from sparsam.objects.strategies.pod_spec import GRACE_SECONDS, default_pod_spec, validate_pod_spec
from sparsam.objects.strategies.pod_warnings import pod_warnings
from sparsam.objects.strategy import Obj, Strategy

_UPDATABLE = ",".join(
    (
        "`spec.containers[*].image`",
        "`spec.initContainers[*].image`",
        "`spec.activeDeadlineSeconds`",
        "`spec.tolerations` (only additions to existing tolerations)",
        "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
    )
)
_QOS_RESOURCES = ("cpu", "memory")


def default_pod(pod: Obj) -> None:
    """Defaults of a pod."""
    spec = pod.get("spec")
    if spec is None:
        spec = pod["spec"] = {}
    default_pod_spec(spec)
    for field in ("containers", "initContainers"):
        for container in spec.get(field) or []:
            resources.default_requests_from_limits(container)
    if spec.get("enableServiceLinks") is None:
        spec["enableServiceLinks"] = True
    status = pod.get("status")
    if status is not None:
        # A status as Kubernetes reads it always has a phase.
        status.setdefault("phase", "Pending")
        _same_address(status, "podIP", "podIPs")


def _same_address(status: Obj, single: str, plural: str) -> None:
    """Keep the older field and the first of the list alike; the older one wins."""
    address, every = status.get(single), status.get(plural) or []
    if address and (not every or every[0].get("ip") != address):
        status[plural] = [{"ip": address}]
    elif every and not address:
        status[single] = every[0].get("ip", "")


def prepare_create(pod: Obj) -> None:
    """A new pod is Pending, whatever its creator says."""
    spec = pod["spec"]
    apply_label_keys(spec, (pod.get("metadata") or {}).get("labels") or {})
    status: Obj = {"phase": "Pending", "qosClass": qos_class(spec)}
    if spec.get("schedulingGates"):
        status["conditions"] = [_gated(pod["metadata"].get("creationTimestamp"))]
    pod["status"] = status


def _gated(now: str | None) -> Obj:
    return {
        "type": "PodScheduled",
        "status": "False",
        "lastProbeTime": None,
        "lastTransitionTime": now,
        "reason": "SchedulingGated",
        "message": "Scheduling is blocked due to non-empty scheduling gates",
    }


def qos_class(spec: Mapping[str, Any]) -> str:
    """Guaranteed, Burstable or BestEffort, by what the containers (or the pod) ask of CPU and memory."""
    if spec.get("resources"):
        wanted = [spec["resources"]]
    else:
        wanted = [
            container.get("resources") or {}
            for field in ("containers", "initContainers")
            for container in spec.get(field) or []
        ]
    guaranteed, asked = True, False
    for each in wanted:
        limits, requests = _positive(each.get("limits")), _positive(each.get("requests"))
        asked = asked or bool(limits) or bool(requests)
        if len(limits) < len(_QOS_RESOURCES) or {**limits, **requests} != limits:
            guaranteed = False
    if not asked:
        return "BestEffort"
    return "Guaranteed" if guaranteed else "Burstable"


def _positive(amounts: Mapping[str, Any] | None) -> dict[str, Any]:
    amounts = amounts or {}
    values = {name: resources.quantity(amounts[name]) for name in _QOS_RESOURCES if name in amounts}
    return {name: value for name, value in values.items() if value > 0}


def prepare_update(pod: Obj, old: Obj) -> None:
    """Updates of the main resource leave the ephemeral containers alone."""
    spec, old_spec = pod["spec"], old.get("spec") or {}
    if "ephemeralContainers" in old_spec:
        spec["ephemeralContainers"] = old_spec["ephemeralContainers"]
    else:
        spec.pop("ephemeralContainers", None)


def prepare_status(pod: Obj, old: Obj) -> None:
    """Updates of the status keep what was decided at birth."""
    status, old_status = pod.setdefault("status", {}), old.get("status") or {}
    if not status.get("qosClass") and old_status.get("qosClass"):
        status["qosClass"] = old_status["qosClass"]
    meta, old_meta = pod["metadata"], old["metadata"]
    for name in ("deletionTimestamp", "ownerReferences"):
        if name in old_meta:
            meta[name] = old_meta[name]
        else:
            meta.pop(name, None)


def validate_whole(pod: Obj) -> list[Cause]:
    """Causes for a pod as it stands, whatever it was before."""
    spec, meta = pod["spec"], pod["metadata"]
    causes = validate_pod_spec(spec, "spec", meta, is_pod=True)
    if not spec.get("serviceAccountName"):
        causes += _tokens_without_account(spec)
    for field in ("containers", "initContainers"):
        for position, container in enumerate(spec.get(field) or []):
            causes += containers.image_whitespace(container, f"spec.{field}[{position}]")
    return causes


def _tokens_without_account(spec: Obj) -> list[Cause]:
    detail = "must not be specified when serviceAccountName is not set"
    return [
        forbidden(f"spec.volumes[{position}].projected.sources[{order}].serviceAccountToken", detail)
        for position, volume in enumerate(spec.get("volumes") or [])
        for order, source in enumerate((volume.get("projected") or {}).get("sources") or [])
        if source.get("serviceAccountToken") is not None
    ]


def validate(pod: Obj) -> list[Cause]:
    """Causes for a new pod."""
    spec = pod["spec"]
    causes = validate_whole(pod)
    # Only a pod that is being created is at its first generation: adding such a container later begins another.
    if spec.get("ephemeralContainers") and pod["metadata"].get("generation", 1) == 1:
        causes.append(forbidden("spec.ephemeralContainers", "cannot be set on create"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        causes.append(forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared"))
    return causes


def validate_update(pod: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed pod: nearly all of its spec is settled when it is created."""
    causes = validate_whole(pod)
    spec, old_spec = pod["spec"], old["spec"]
    for field in ("containers", "initContainers"):
        new_containers, old_containers = spec.get(field) or [], old_spec.get(field) or []
        if len(new_containers) != len(old_containers):
            return [*causes, forbidden(f"spec.{field}", "pod updates may not add or remove containers")]
        for position, container in enumerate(new_containers):
            if not container.get("image"):
                causes.append(required(f"spec.{field}[{position}].image"))
            causes += containers.image_whitespace(container, f"spec.{field}[{position}]")
    deadline, stop = _deadline_update(spec, old_spec)
    causes += deadline
    if stop:
        return causes
    causes += _tolerations_update(spec, old_spec)
    causes += _gates_update(spec, old_spec)
    if spec == old_spec:
        return causes
    return causes + _immutable_rest(spec, old_spec)


def _deadline_update(spec: Obj, old: Obj) -> tuple[list[Cause], bool]:
    path = "spec.activeDeadlineSeconds"
    new_value, old_value = spec.get("activeDeadlineSeconds"), old.get("activeDeadlineSeconds")
    if new_value is None:
        if old_value is None:
            return [], False
        return [invalid(path, None, "must not update from a positive integer to nil value")], False
    if not 0 <= new_value <= MAX_INT32:
        return [invalid(path, new_value, inclusive(0, MAX_INT32))], True
    if old_value is not None and old_value < new_value:
        return [invalid(path, new_value, "must be less than or equal to previous value")], True
    return [], False


def _without_seconds(toleration: Obj) -> Obj:
    return {name: value for name, value in toleration.items() if name != "tolerationSeconds"}


def _tolerations_update(spec: Obj, old: Obj) -> list[Cause]:
    new_tolerations = spec.get("tolerations") or []
    known = [_without_seconds(toleration) for toleration in new_tolerations]
    for toleration in old.get("tolerations") or []:
        if _without_seconds(toleration) not in known:
            detail = "existing toleration can not be modified except its tolerationSeconds"
            return [forbidden("spec.tolerations", detail)]
    return validate_tolerations(new_tolerations, "spec.tolerations")


def _gates_update(spec: Obj, old: Obj) -> list[Cause]:
    known = {gate.get("name") for gate in old.get("schedulingGates") or []}
    return [
        forbidden(
            f"spec.schedulingGates[{position}].name",
            f"only deletion is allowed, but found new scheduling gate '{gate.get('name', '')}'",
        )
        for position, gate in enumerate(spec.get("schedulingGates") or [])
        if gate.get("name") not in known
    ]


def _immutable_rest(spec: Obj, old: Obj) -> list[Cause]:
    causes: list[Cause] = []
    rest, old_rest = _settled(spec), _settled(old)
    grace = old.get("terminationGracePeriodSeconds")
    if grace is not None and grace < 0 and rest.get("terminationGracePeriodSeconds") == 1:
        rest["terminationGracePeriodSeconds"] = grace
    if old.get("schedulingGates"):
        causes += _gated_update(rest, old_rest)
    if rest != old_rest:
        difference = differences.describe(old_rest, rest)
        causes.append(forbidden("spec", f"pod updates may not change fields other than {_UPDATABLE}\n{difference}"))
    return causes


def _settled(spec: Obj) -> Obj:
    """The spec without what may change."""
    changing = ("activeDeadlineSeconds", "tolerations", "schedulingGates")
    rest = {name: value for name, value in spec.items() if name not in changing}
    for field in ("containers", "initContainers"):
        if field in rest:
            rest[field] = [{**container, "image": ""} for container in rest[field]]
    return rest


def _gated_update(rest: Obj, old: Obj) -> list[Cause]:
    """While scheduling gates hold a pod back, its node selection may still be narrowed."""
    causes: list[Cause] = []
    selector, old_selector = rest.get("nodeSelector") or {}, old.get("nodeSelector") or {}
    if selector != old_selector:
        if any(selector.get(name) != value for name, value in old_selector.items()):
            detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
            causes.append(invalid("spec.nodeSelector", selector, detail))
        _copy(rest, old, "nodeSelector")
    affinity, old_affinity = dict(rest.get("affinity") or {}), dict(old.get("affinity") or {})
    node, old_node = affinity.get("nodeAffinity"), old_affinity.get("nodeAffinity")
    if node != old_node:
        causes += _node_affinity_update(node or {}, old_node or {})
        _copy(affinity, old_affinity, "nodeAffinity")
        if affinity or "affinity" in old:
            rest["affinity"] = affinity
        else:
            rest.pop("affinity", None)
    return causes


def _copy(target: Obj, source: Obj, name: str) -> None:
    if name in source:
        target[name] = source[name]
    else:
        target.pop(name, None)


def _node_affinity_update(node: Obj, old: Obj) -> list[Cause]:
    wanted, old_wanted = node.get(REQUIRED), old.get(REQUIRED)
    # Without requirements before, any narrowing is fine; preferences may change at will.
    if old_wanted is None or wanted == old_wanted:
        return []
    path = f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms"
    terms, old_terms = (wanted or {}).get("nodeSelectorTerms") or [], old_wanted.get("nodeSelectorTerms") or []
    if len(terms) != len(old_terms):
        return [invalid(path, terms, "no additions/deletions to non-empty NodeSelectorTerms list are allowed")]
    causes: list[Cause] = []
    for position, (term, old_term) in enumerate(zip(terms, old_terms, strict=True)):
        for field in ("matchExpressions", "matchFields"):
            mine, before = term.get(field) or [], old_term.get(field) or []
            if mine[: len(before)] != before or (not old_term and mine):
                detail = "only additions are allowed (no mutations or deletions)"
                causes.append(invalid(f"{path}[{position}]", term, detail))
                break
    return causes


def validate_status(pod: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed status."""
    status, old_status = pod.get("status") or {}, old.get("status") or {}
    causes: list[Cause] = []
    for position, condition in enumerate(status.get("conditions") or []):
        kind = condition.get("type", "")
        if kind not in ("PodScheduled", "Ready", "Initialized"):
            causes += text_causes(kind, f"metadata.conditions[{position}].Type", qualified_name_errors)
    nominated = status.get("nominatedNodeName", "")
    if nominated and nominated != old_status.get("nominatedNodeName", ""):
        causes += text_causes(nominated, "status.nominatedNodeName", dns_subdomain_errors)
    causes += validate_immutable(status.get("qosClass", ""), old_status.get("qosClass", ""), "status.qosClass")
    fields = ["ephemeralContainerStatuses"]
    if not _all_restart(status) and not _all_restart(old_status):
        fields = ["containerStatuses", "initContainerStatuses", *fields]
    for field in fields:
        causes += _transitions(status.get(field) or [], old_status.get(field) or [], f"status.{field}", old["spec"])
    causes += _addresses(status, "podIPs", "status.podIPs")
    if status.get("hostIPs"):
        first = status["hostIPs"][0].get("ip", "")
        if first != status.get("hostIP", ""):
            causes.append(invalid("status.hostIPs[0].ip", first, "must be equal to `hostIP`"))
        causes += _addresses(status, "hostIPs", "status.hostIPs")
    return causes


def _all_restart(status: Obj) -> bool:
    """Whether a container's end has all containers started anew (KEP-5532)."""
    conditions = status.get("conditions") or []
    return any((each.get("type"), each.get("status")) == ("AllContainersRestarting", "True") for each in conditions)


def _transitions(statuses: list[Obj], old: list[Obj], path: str, spec: Obj) -> list[Cause]:
    known = [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]
    containers = {each.get("name"): each for each in known}
    running = {each.get("name") for each in statuses if not (each.get("state") or {}).get("terminated")}
    causes: list[Cause] = []
    for position, status in enumerate(old):
        ended, container = (status.get("state") or {}).get("terminated"), containers.get(status.get("name"))
        if ended is None or (container and _runs_again(container, spec, ended.get("exitCode", 0))):
            continue
        if status.get("name") in running:
            causes.append(forbidden(f"{path}[{position}].state", "may not be transitioned to non-terminated state"))
    return causes


def _runs_again(container: Obj, spec: Obj, exit_code: int) -> bool:
    """Whether a container that ended so may run again: by its own rules and policy (KEP-5307), else the pod's."""
    for rule in container.get("restartPolicyRules") or []:
        codes = rule.get("exitCodes") or {}
        if (exit_code in (codes.get("values") or [])) == (codes.get("operator") == "In"):
            return True
    policy = container.get("restartPolicy") or spec.get("restartPolicy", "Always")
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def _addresses(status: Obj, field: str, path: str) -> list[Cause]:
    items = status.get(field) or []
    texts = [item.get("ip", "") for item in items]
    causes = [cause for position, text in enumerate(texts) for cause in ip_causes(text, f"{path}[{position}]")]
    if len(texts) > 1:
        families = [address.version for address in map(parse_ip, texts) if address]
        if not dual_stack(families):
            causes.append(invalid(path, items, "may specify no more than one IP for each IP family"))
        for position, text in enumerate(texts):
            if text in texts[:position]:
                causes.append(duplicate(f"{path}[{position}]", items[position]))
    return causes


def warnings(pod: Obj, old: Obj | None) -> list[str]:
    """Warnings for a new pod; an update has none, since it comes from programs."""
    if old is not None:
        return []
    return pod_warnings(pod["spec"], pod["metadata"], "spec", "metadata")


def grace_seconds(pod: Obj) -> int:
    """How long a deleted pod has to stop: at once when it was never bound to a node or has ended."""
    if not pod["spec"].get("nodeName") or (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded"):
        return 0
    seconds = pod["spec"].get("terminationGracePeriodSeconds")
    return GRACE_SECONDS if seconds is None else int(seconds)


STRATEGIES = {
    ("", "Pod"): Strategy(
        default=default_pod,
        prepare_create=prepare_create,
        prepare_update=prepare_update,
        prepare_status=prepare_status,
        validate=validate,
        validate_update=validate_update,
        validate_status=validate_status,
        warnings=warnings,
        has_generation=True,
        grace_seconds=grace_seconds,
    )
}
