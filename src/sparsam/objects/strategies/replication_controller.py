"""ReplicationControllers and PodTemplates."""

from __future__ import annotations

from sparsam.errors import Cause
from sparsam.objects.fields import forbidden, invalid, not_supported, required
from sparsam.objects.strategies.common import non_negative
from sparsam.objects.strategies.pod_spec import default_pod_template, template_warnings, validate_pod_template
from sparsam.objects.strategy import Obj, Strategy

_COUNTS = ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas", "observedGeneration")


def default_controller(controller: Obj) -> None:
    """One replica; selector and labels follow from the template's labels."""
    spec = controller.setdefault("spec", {})
    template = spec.get("template")
    if template is not None:
        default_pod_template(template)
        labels = (template.get("metadata") or {}).get("labels")
        if labels:
            if not spec.get("selector"):
                spec["selector"] = dict(labels)
            meta = controller.setdefault("metadata", {})
            if not meta.get("labels"):
                meta["labels"] = dict(labels)
    if spec.get("replicas") is None:
        spec["replicas"] = 1


def prepare_create(controller: Obj) -> None:
    """A new controller has no pods."""
    controller["status"] = {"replicas": 0}


def validate(controller: Obj) -> list[Cause]:
    """Causes for a ReplicationController."""
    spec = controller["spec"]
    selector, template, path = spec.get("selector") or {}, spec.get("template"), "spec.template"
    causes = non_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    if not selector:
        causes.append(required("spec.selector"))
    causes += non_negative(spec.get("replicas"), "spec.replicas")
    if template is None:
        return [*causes, required(path)]
    labels = (template.get("metadata") or {}).get("labels")
    if any((labels or {}).get(name) != value for name, value in selector.items()):
        causes.append(invalid(f"{path}.metadata.labels", labels, "`selector` does not match template `labels`"))
    causes += validate_pod_template(template, path)
    pod = template.get("spec") or {}
    if pod.get("restartPolicy") != "Always":
        causes.append(not_supported(f"{path}.spec.restartPolicy", pod.get("restartPolicy", ""), ("Always",)))
    if pod.get("activeDeadlineSeconds") is not None:
        detail = "activeDeadlineSeconds in ReplicationController is not Supported"
        causes.append(forbidden(f"{path}.spec.activeDeadlineSeconds", detail))
    return causes


def validate_update(controller: Obj, _old: Obj) -> list[Cause]:
    """Causes for a changed ReplicationController."""
    return validate(controller)


def validate_status(controller: Obj, _old: Obj) -> list[Cause]:
    """Causes for a changed status: counts that make no sense together."""
    status = controller.get("status") or {}
    causes = [cause for name in _COUNTS for cause in non_negative(status.get(name), f"status.{name}")]
    total = status.get("replicas", 0)
    causes += [
        invalid(f"status.{name}", status[name], "cannot be greater than status.replicas")
        for name in _COUNTS[1:4]
        if status.get(name, 0) > total
    ]
    if status.get("availableReplicas", 0) > status.get("readyReplicas", 0):
        detail = "cannot be greater than readyReplicas"
        causes.append(invalid("status.availableReplicas", status["availableReplicas"], detail))
    return causes


def warnings(controller: Obj, old: Obj | None) -> list[str]:
    """Warnings of the template."""
    template = controller["spec"].get("template")
    if old is not None and (old.get("spec") or {}).get("template") == template:
        return []
    return template_warnings(template, "spec.template")


def default_template(pod_template: Obj) -> None:
    """Defaults of a PodTemplate."""
    default_pod_template(pod_template.setdefault("template", {}))


def validate_template(pod_template: Obj) -> list[Cause]:
    """Causes for a PodTemplate."""
    return validate_pod_template(pod_template.get("template"), "template")


def update_template(pod_template: Obj, _old: Obj) -> list[Cause]:
    """Causes for a changed PodTemplate."""
    return validate_template(pod_template)


def pod_template_warnings(pod_template: Obj, old: Obj | None) -> list[str]:
    """Warnings of a PodTemplate."""
    if old is not None and old.get("template") == pod_template.get("template"):
        return []
    return template_warnings(pod_template.get("template"), "template")


STRATEGIES = {
    ("", "ReplicationController"): Strategy(
        default=default_controller,
        prepare_create=prepare_create,
        validate=validate,
        validate_update=validate_update,
        validate_status=validate_status,
        warnings=warnings,
        has_generation=True,
    ),
    ("", "PodTemplate"): Strategy(
        default=default_template,
        validate=validate_template,
        validate_update=update_template,
        warnings=pod_template_warnings,
        has_status=False,
        has_generation=True,
        generation_fields=("template",),
    ),
}
