"""What the workload kinds share: a selector, the pod template it must match, and counts that fit together."""

from __future__ import annotations

from collections.abc import Iterable

from sparsam.errors import Cause
from sparsam.objects.fields import child, forbidden, invalid, not_supported, required
from sparsam.objects.names import dns_label_errors
from sparsam.objects.strategies.common import non_negative
from sparsam.objects.strategies.pod_spec import template_warnings, validate_pod_template
from sparsam.objects.strategies.selectors import is_empty, matches, validate_label_selector
from sparsam.objects.strategy import Obj

TEMPLATE = "spec.template"
MISMATCH = "`selector` does not match template `labels`"


def validate_selector(spec: Obj, kind: str, path: str = "spec.selector") -> list[Cause]:
    """Causes for a selector that must be given and must require something."""
    selector = spec.get("selector")
    if selector is None:
        return [required(path)]
    causes = validate_label_selector(selector, path)
    if is_empty(selector):
        causes.append(invalid(path, selector, f"empty selector is invalid for {kind}"))
    return causes


def convertible(selector: Obj | None) -> bool:
    """Whether the selector can be evaluated at all."""
    return not validate_label_selector(selector, "")


def template_labels(template: Obj | None) -> dict[str, str] | None:
    """Labels of a pod template, None when it has none."""
    labels: dict[str, str] | None = ((template or {}).get("metadata") or {}).get("labels")
    return labels


def selects_template(selector: Obj | None, template: Obj | None) -> bool:
    """Whether the pods made from the template belong to the selector; a missing selector selects nothing."""
    return selector is not None and matches(selector, template_labels(template))


def validate_matched_template(spec: Obj, owner: str, *, path: str = TEMPLATE) -> list[Cause]:
    """Causes for the template of a ReplicaSet, Deployment or StatefulSet with a selector that can be evaluated."""
    template, selector = spec.get("template"), spec.get("selector")
    causes: list[Cause] = []
    if not selects_template(selector, template):
        causes.append(invalid(f"{path}.metadata.labels", template_labels(template), MISMATCH))
    causes += validate_pod_template(template, path)
    return causes + validate_always_running(template, owner, path)


def validate_always_running(template: Obj | None, owner: str, path: str = TEMPLATE) -> list[Cause]:
    """Causes for pods that would end by themselves."""
    pod = (template or {}).get("spec") or {}
    causes: list[Cause] = []
    if pod.get("restartPolicy") != "Always":
        causes.append(not_supported(f"{path}.spec.restartPolicy", pod.get("restartPolicy", ""), ("Always",)))
    if pod.get("activeDeadlineSeconds") is not None:
        detail = f"activeDeadlineSeconds in {owner} is not Supported"
        causes.append(forbidden(f"{path}.spec.activeDeadlineSeconds", detail))
    return causes


def validate_counts(
    status: Obj, counts: Iterable[str], *, parts: Iterable[str], total: str = "replicas"
) -> list[Cause]:
    """Causes for negative counts, and for parts of `replicas` that exceed it."""
    causes = [cause for name in counts for cause in non_negative(status.get(name), f"status.{name}")]
    causes += [
        invalid(child("status", name), status[name], "cannot be greater than status.replicas")
        for name in parts
        if (status.get(name) or 0) > (status.get(total) or 0)
    ]
    if (status.get("availableReplicas") or 0) > (status.get("readyReplicas") or 0):
        detail = "cannot be greater than readyReplicas"
        causes.append(invalid("status.availableReplicas", status["availableReplicas"], detail))
    return causes


def validate_collisions(status: Obj, old: Obj) -> list[Cause]:
    """A cause for a collision count that went down or away."""
    now, before = status.get("collisionCount"), old.get("collisionCount")
    if before is None or (now is not None and now >= before):
        return []
    return [invalid("status.collisionCount", now or 0, "cannot be decremented")]


def name_warnings(obj: Obj) -> list[str]:
    """A warning for a name that cannot be part of a hostname."""
    errors = dns_label_errors(obj["metadata"].get("name", ""))
    if not errors:
        return []
    text = "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior"
    return [f"{text}; a DNS label is recommended: [{' '.join(errors)}]"]


def warnings(obj: Obj, old: Obj | None) -> list[str]:
    """Warnings of a workload: its name when it is new, its template when that may have changed."""
    if old is None:
        return name_warnings(obj) + template_warnings(obj["spec"].get("template"), TEMPLATE)
    if obj["metadata"].get("generation") == old["metadata"].get("generation"):
        return []
    return template_warnings(obj["spec"].get("template"), TEMPLATE)
