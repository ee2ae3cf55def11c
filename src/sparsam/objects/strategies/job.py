"""Jobs."""

from __future__ import annotations

from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import invalid, not_supported, required, too_long
from sparsam.objects.names import dns_label_errors, label_value_errors, validate_immutable
from sparsam.objects.strategies import workloads
from sparsam.objects.strategies.common import MAX_INT32, non_negative, optional_one_of
from sparsam.objects.strategies.domain_path import validate_domain_path
from sparsam.objects.strategies.job_policies import validate_failure_policy, validate_success_policy
from sparsam.objects.strategies.pod_spec import default_pod_template, validate_pod_template
from sparsam.objects.strategies.selectors import validate_label_selector
from sparsam.objects.strategy import Obj, Strategy

JOB_NAME = "batch.kubernetes.io/job-name"
CONTROLLER_UID = "batch.kubernetes.io/controller-uid"
_LEGACY_JOB_NAME = "job-name"
_LEGACY_CONTROLLER_UID = "controller-uid"
_MAX_INDEXED = 100_000
_MAX_MANAGED_BY = 63
_LATER_IMMUTABLE = ("completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")
_STATUS_COUNTS = ("active", "succeeded", "failed", "ready", "terminating")
_SCHEDULING = ("nodeSelector", "tolerations", "schedulingGates")


def default_failure_policy(spec: Obj) -> None:
    """A condition without status means that it is true."""
    for rule in (spec.get("podFailurePolicy") or {}).get("rules") or []:
        for pattern in rule.get("onPodConditions") or []:
            if not pattern.get("status"):
                pattern["status"] = "True"


def _missing(spec: Obj, name: str, value: Any) -> None:
    if spec.get(name) is None:
        spec[name] = value


def default_job(job: Obj) -> None:
    """One pod at a time until one succeeded, six retries."""
    spec = job.setdefault("spec", {})
    default_pod_template(spec.setdefault("template", {}))
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    _missing(spec, "parallelism", 1)
    _missing(spec, "backoffLimit", 6 if spec.get("backoffLimitPerIndex") is None else MAX_INT32)
    labels = workloads.template_labels(spec["template"])
    meta = job.setdefault("metadata", {})
    if labels and not meta.get("labels"):
        meta["labels"] = dict(labels)
    _missing(spec, "completionMode", "NonIndexed")
    _missing(spec, "suspend", False)
    default_failure_policy(spec)
    _missing(spec, "manualSelector", False)
    policy = "TerminatingOrFailed" if spec.get("podFailurePolicy") is None else "Failed"
    _missing(spec, "podReplacementPolicy", policy)


def prepare_create(job: Obj) -> None:
    """A new job has not run; it selects its pods by its own uid unless told otherwise."""
    job["status"] = {}
    spec, meta = job["spec"], job["metadata"]
    if spec.get("manualSelector"):
        return
    template = spec["template"]
    if template.get("metadata") is None:
        template["metadata"] = {}
    # Labels that the client chose stay, and validation refuses the wrong ones.
    labels = _expected_labels(meta) | (template["metadata"].get("labels") or {})
    template["metadata"]["labels"] = dict(sorted(labels.items()))
    # Upstream copies the labels when it reads the job back, so that a name that makes no label is refused before.
    if not meta.get("labels") and not label_value_errors(meta.get("name", "")):
        meta["labels"] = dict(template["metadata"]["labels"])
    selector = spec.get("selector")
    if selector is None:
        selector = spec["selector"] = {}
    selector["matchLabels"] = {CONTROLLER_UID: meta["uid"]} | (selector.get("matchLabels") or {})


def _expected_labels(meta: Obj) -> dict[str, str]:
    name, uid = meta.get("name", ""), meta["uid"]
    return {_LEGACY_CONTROLLER_UID: uid, _LEGACY_JOB_NAME: name, CONTROLLER_UID: uid, JOB_NAME: name}


def validate(job: Obj) -> list[Cause]:
    """Causes for a Job."""
    spec, name = job["spec"], job["metadata"].get("name", "")
    causes = _generated_selector(job) + _spec(spec)
    completions = spec.get("completions")
    if spec.get("completionMode") == "Indexed" and completions:
        last = f"{name}-{completions - 1}"
        if dns_label_errors(last):
            detail = f"will not able to create pod with invalid DNS label: {last}"
            causes.append(invalid("metadata.name", name, detail))
    return causes


def _generated_selector(job: Obj) -> list[Cause]:
    spec = job["spec"]
    if spec.get("manualSelector") or spec.get("selector") is None:
        return []
    labels, expected = workloads.template_labels(spec.get("template")), _expected_labels(job["metadata"])
    causes: list[Cause] = []
    for label, value in expected.items():
        path = f"{workloads.TEMPLATE}.metadata.labels[{label}]"
        if label not in (labels or {}):
            causes.append(required(path, f"must be '{value}'"))
        elif labels is not None and labels[label] != value:
            causes.append(invalid(path, labels, f"must be '{value}'"))
    own: Obj = {"metadata": {"labels": expected}}
    if workloads.convertible(spec["selector"]) and not workloads.selects_template(spec["selector"], own):
        causes.append(invalid("spec.selector", spec["selector"], "`selector` not auto-generated"))
    return causes


def _spec(spec: Obj) -> list[Cause]:
    causes = validate_job_spec(spec, "spec")
    selector = spec.get("selector")
    if selector is None:
        causes.append(required("spec.selector"))
    else:
        causes += validate_label_selector(selector, "spec.selector")
    template = spec.get("template")
    if workloads.convertible(selector) and not workloads.selects_template(selector, template):
        labels = workloads.template_labels(template)
        causes.append(invalid(f"{workloads.TEMPLATE}.metadata.labels", labels, workloads.MISMATCH))
    return causes


def validate_job_spec(spec: Obj, path: str) -> list[Cause]:
    """Causes for the spec of a Job, or of a CronJob's template, at `path`."""
    causes: list[Cause] = []
    for name in ("parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"):
        causes += non_negative(spec.get(name), f"{path}.{name}")
    causes += _index_limits(spec, path)
    if spec.get("managedBy") is not None:
        causes += validate_domain_path(spec["managedBy"], f"{path}.managedBy")
        if len(spec["managedBy"]) > _MAX_MANAGED_BY:
            causes.append(too_long(f"{path}.managedBy", _MAX_MANAGED_BY))
    causes += _completion_mode(spec, path)
    if spec.get("podFailurePolicy") is not None:
        causes += validate_failure_policy(spec, path)
    if spec.get("successPolicy") is not None:
        causes += validate_success_policy(spec, path)
    if spec.get("podReplacementPolicy") is not None:
        known = ("Failed", "TerminatingOrFailed") if spec.get("podFailurePolicy") is None else ("Failed",)
        causes += optional_one_of(spec["podReplacementPolicy"], f"{path}.podReplacementPolicy", known)
    causes += validate_pod_template(spec.get("template"), f"{path}.template")
    return causes + _restart_policy(spec, f"{path}.template.spec.restartPolicy")


def _index_limits(spec: Obj, path: str) -> list[Cause]:
    limit, failed = spec.get("backoffLimitPerIndex"), spec.get("maxFailedIndexes")
    causes = non_negative(limit, f"{path}.backoffLimitPerIndex")
    if limit is not None and spec.get("completionMode") != "Indexed":
        causes.append(invalid(f"{path}.backoffLimitPerIndex", limit, "requires indexed completion mode"))
    causes += non_negative(failed, f"{path}.maxFailedIndexes")
    if failed is not None and limit is None:
        causes.append(required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    return causes


def _completion_mode(spec: Obj, path: str) -> list[Cause]:
    mode, completions, parallelism = spec.get("completionMode"), spec.get("completions"), spec.get("parallelism")
    if mode is None:
        return []
    causes = optional_one_of(mode, f"{path}.completionMode", ("NonIndexed", "Indexed"))
    if mode != "Indexed":
        return causes
    if completions is None:
        causes.append(required(f"{path}.completions", "when completion mode is Indexed"))
    if parallelism is not None and parallelism > _MAX_INDEXED:
        detail = f"must be less than or equal to {_MAX_INDEXED} when completion mode is Indexed"
        causes.append(invalid(f"{path}.parallelism", parallelism, detail))
    return causes


def _restart_policy(spec: Obj, path: str) -> list[Cause]:
    policy = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy", "")
    if policy in ("", "Always"):
        return [required(path, 'valid values: "OnFailure", "Never"')]
    if policy not in ("OnFailure", "Never"):
        return [not_supported(path, policy, ("OnFailure", "Never"))]
    if spec.get("podFailurePolicy") is not None and policy != "Never":
        return [invalid(path, policy, 'only "Never" is supported when podFailurePolicy is specified')]
    return []


def validate_update(job: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed Job: most of it stays as it was started."""
    spec, old_spec = job["spec"], old["spec"]
    # Upstream checks the whole job and then its spec once more.
    causes = validate(job) + _spec(spec) + _completions(spec, old_spec)
    causes += validate_immutable(spec.get("selector"), old_spec.get("selector"), "spec.selector")
    causes += _template(job, old)
    for name in _LATER_IMMUTABLE:
        causes += validate_immutable(spec.get(name), old_spec.get(name), f"spec.{name}")
    return causes


def _completions(spec: Obj, old: Obj) -> list[Cause]:
    completions = spec.get("completions")
    if spec.get("completionMode") != "Indexed":
        return validate_immutable(completions, old.get("completions"), "spec.completions")
    if completions == old.get("completions") or completions == spec.get("parallelism"):
        return []
    detail = "can only be modified in tandem with spec.parallelism"
    return [invalid("spec.completions", completions, detail)]


def _template(job: Obj, old: Obj) -> list[Cause]:
    template, old_template = job["spec"].get("template"), old["spec"].get("template")
    allowed = old_template
    if old["spec"].get("suspend") and not (old.get("status") or {}).get("startTime"):
        allowed = _with_scheduling(old_template, template)
    return [] if template == allowed else [invalid("spec.template", template, "field is immutable")]


def _with_scheduling(old: Obj, new: Obj) -> Obj:
    """The old template with what may still change of a job that never started: where its pods run."""
    spec = {name: value for name, value in old["spec"].items() if name not in _SCHEDULING}
    spec |= {name: new["spec"][name] for name in _SCHEDULING if name in new["spec"]}
    affinity = {name: value for name, value in (spec.pop("affinity", None) or {}).items() if name != "nodeAffinity"}
    new_affinity = new["spec"].get("affinity")
    if new_affinity is not None:
        node = {name: value for name, value in new_affinity.items() if name == "nodeAffinity"}
        spec["affinity"] = affinity | node
    elif affinity:
        spec["affinity"] = affinity
    meta = {name: value for name, value in (old.get("metadata") or {}).items() if name not in ("labels", "annotations")}
    new_meta = new.get("metadata") or {}
    meta |= {name: new_meta[name] for name in ("labels", "annotations") if name in new_meta}
    return old | {"spec": spec, "metadata": meta}


def validate_status(job: Obj, _old: Obj) -> list[Cause]:
    """Causes for a changed status: counts below zero."""
    status = job.get("status") or {}
    return [cause for name in _STATUS_COUNTS for cause in non_negative(status.get(name), f"status.{name}")]


STRATEGIES = {
    ("batch", "Job"): Strategy(
        default=default_job,
        prepare_create=prepare_create,
        validate=validate,
        validate_update=validate_update,
        validate_status=validate_status,
        warnings=workloads.warnings,
        has_generation=True,
    ),
}
