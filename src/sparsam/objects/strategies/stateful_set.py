"""StatefulSets."""

from __future__ import annotations

from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import forbidden, invalid, required
from sparsam.objects.names import dns_label_errors, validate_annotations, validate_labels
from sparsam.objects.strategies import int_or_percent, workloads
from sparsam.objects.strategies.common import non_negative, optional_one_of, put_default, text_causes
from sparsam.objects.strategies.pod_spec import default_pod_template, validate_pod_template
from sparsam.objects.strategies.storage import default_claim
from sparsam.objects.strategies.volumes import validate_claim_spec
from sparsam.objects.strategy import Obj, Strategy

_COUNTS = (
    "replicas",
    "readyReplicas",
    "currentReplicas",
    "updatedReplicas",
    "availableReplicas",
    "observedGeneration",
    "collisionCount",
)
_PARTS = ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
_MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)
_FORBIDDEN = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
_CLAIMS = "spec.volumeClaimTemplates"


def default_set(stateful: Obj) -> None:
    """One replica, started in order, updated from the last ordinal down; claims outlive the set."""
    spec = stateful.setdefault("spec", {})
    default_pod_template(spec.setdefault("template", {}))
    put_default(spec, "podManagementPolicy", "OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    put_default(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        put_default(rolling, "partition", 0)
    retention = spec.setdefault("persistentVolumeClaimRetentionPolicy", {})
    put_default(retention, "whenDeleted", "Retain")
    put_default(retention, "whenScaled", "Retain")
    put_default(spec, "replicas", 1)
    put_default(spec, "revisionHistoryLimit", 10)
    for claim in spec.get("volumeClaimTemplates") or []:
        claim.setdefault("status", {})
        default_claim(claim)
        claim["kind"], claim["apiVersion"] = "PersistentVolumeClaim", "v1"


def prepare_create(stateful: Obj) -> None:
    """A new set has no pods."""
    stateful["status"] = {"replicas": 0, "availableReplicas": 0}


def validate(stateful: Obj) -> list[Cause]:
    """Causes for a new StatefulSet: its spec, its service and its claims."""
    spec = stateful["spec"]
    causes = _spec(spec)
    if spec.get("serviceName"):
        causes += text_causes(spec["serviceName"], "spec.serviceName", dns_label_errors)
    for position, claim in enumerate(spec.get("volumeClaimTemplates") or []):
        causes += validate_claim_spec(claim.get("spec") or {}, f"{_CLAIMS}[{position}].spec")
    return causes


def _spec(spec: Obj) -> list[Cause]:
    causes = _policies(spec)
    causes += non_negative(spec.get("replicas"), "spec.replicas")
    causes += non_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    causes += non_negative((spec.get("ordinals") or {}).get("start"), "spec.ordinals.start")
    selector = spec.get("selector")
    causes += workloads.validate_selector(spec, "statefulset")
    if workloads.convertible(selector):
        causes += _template(spec)
    else:
        causes.append(invalid("spec.selector", selector, ""))
    return causes + workloads.validate_always_running(spec.get("template"), "StatefulSet")


def _policies(spec: Obj) -> list[Cause]:
    causes: list[Cause] = []
    policy = spec.get("podManagementPolicy", "")
    if policy not in ("OrderedReady", "Parallel"):
        causes.append(invalid("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'"))
    causes += _update_strategy(spec.get("updateStrategy") or {}, "spec.updateStrategy")
    retention = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for name in ("whenDeleted", "whenScaled"):
        path = f"spec.persistentVolumeClaimRetentionPolicy.{name}"
        causes += optional_one_of(retention.get(name, ""), path, ("Retain", "Delete"))
    return causes


def _update_strategy(strategy: Obj, path: str) -> list[Cause]:
    kind, rolling = strategy.get("type", ""), strategy.get("rollingUpdate")
    if kind == "OnDelete":
        if rolling is None:
            return []
        return [invalid(f"{path}.rollingUpdate", rolling, "only allowed for updateStrategy 'RollingUpdate'")]
    if kind == "RollingUpdate":
        return _rolling_update(rolling or {}, f"{path}.rollingUpdate")
    shown = None
    if rolling is not None:
        # Upstream prints its internal struct here.
        shown = {"Partition": rolling.get("partition", 0), "MaxUnavailable": rolling.get("maxUnavailable")}
    return [invalid(path, {"Type": kind, "RollingUpdate": shown}, "must be 'RollingUpdate' or 'OnDelete'")]


def _rolling_update(rolling: Obj, path: str) -> list[Cause]:
    causes = non_negative(rolling.get("partition"), f"{path}.partition")
    unavailable, here = rolling.get("maxUnavailable"), f"{path}.maxUnavailable"
    if unavailable is None:
        return causes
    causes += int_or_percent.validate_positive(unavailable, here)
    if int_or_percent.amount(unavailable) == 0:
        causes.append(invalid(here, unavailable, "cannot be 0"))
    return causes + int_or_percent.at_most_whole(unavailable, here)


def _template(spec: Obj) -> list[Cause]:
    template = spec.get("template") or {}
    labels = workloads.template_labels(template)
    causes: list[Cause] = []
    if not workloads.selects_template(spec.get("selector"), template):
        causes.append(invalid(f"{workloads.TEMPLATE}.metadata.labels", labels, workloads.MISMATCH))
    annotations = (template.get("metadata") or {}).get("annotations")
    # Upstream checks labels and annotations here and once more with the whole template.
    causes += validate_labels(labels, f"{workloads.TEMPLATE}.labels")
    causes += validate_annotations(annotations, f"{workloads.TEMPLATE}.annotations")
    return causes + validate_pod_template(_with_claims(spec, template), workloads.TEMPLATE)


def _with_claims(spec: Obj, template: Obj) -> Obj:
    """The template as its pods will be: each claim template is a volume."""
    claims = [(claim.get("metadata") or {}).get("name", "") for claim in spec.get("volumeClaimTemplates") or []]
    if not claims:
        return template
    pod: dict[str, Any] = template.get("spec") or {}
    volumes: list[Obj] = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims]
    volumes += [volume for volume in pod.get("volumes") or [] if volume.get("name") not in claims]
    return template | {"spec": pod | {"volumes": volumes}}


def validate_update(stateful: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed StatefulSet: only few fields may differ."""
    causes = _spec(stateful["spec"])
    kept = [{name: value for name, value in each["spec"].items() if name not in _MUTABLE} for each in (stateful, old)]
    if kept[0] != kept[1]:
        causes.append(forbidden("spec", _FORBIDDEN))
    return causes


def validate_status(stateful: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed status."""
    status = stateful.get("status") or {}
    causes = workloads.validate_counts(status, _COUNTS, parts=_PARTS)
    return causes + workloads.validate_collisions(status, old.get("status") or {})


def warnings(stateful: Obj, old: Obj | None) -> list[str]:
    """Warnings of the template and of a history without limit."""
    found = workloads.warnings(stateful, old)
    if (stateful["spec"].get("revisionHistoryLimit") or 0) < 0:
        text = "a negative value retains all historical revisions; a value >= 0 is recommended"
        found.append(f"spec.revisionHistoryLimit: {text}")
    return found


def validate_revision(revision: Obj) -> list[Cause]:
    """Causes for a ControllerRevision."""
    causes: list[Cause] = []
    if revision.get("data") is None:
        causes.append(required("data", "data is mandatory"))
    elif not isinstance(revision["data"], dict):
        causes.append(required("data", "data must be a valid JSON object"))
    return causes + non_negative(revision.get("revision"), "revision")


def validate_revision_update(revision: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed ControllerRevision: its data stays."""
    causes = validate_revision(revision)
    if revision.get("data") != old.get("data"):
        causes.append(invalid("data", revision.get("data"), "field is immutable"))
    return causes


STRATEGIES = {
    ("apps", "StatefulSet"): Strategy(
        default=default_set,
        prepare_create=prepare_create,
        validate=validate,
        validate_update=validate_update,
        validate_status=validate_status,
        warnings=warnings,
        name_rule="dns-label",
        has_generation=True,
    ),
    ("apps", "ControllerRevision"): Strategy(
        validate=validate_revision,
        validate_update=validate_revision_update,
        has_status=False,
    ),
}
