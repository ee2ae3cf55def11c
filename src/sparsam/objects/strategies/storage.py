"""PersistentVolumes and PersistentVolumeClaims."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import forbidden, invalid, not_supported, required
from sparsam.objects.names import dns_subdomain_errors, validate_immutable
from sparsam.objects.strategies import volume_sources, volumes
from sparsam.objects.strategies.affinity import validate_node_selector
from sparsam.objects.strategies.common import optional_one_of, path_no_backsteps, put_default, text_causes
from sparsam.objects.strategies.differences import describe
from sparsam.objects.strategies.resources import quantity
from sparsam.objects.strategy import Obj, Strategy

Source = Mapping[str, Any]

_RECLAIM = ("Delete", "Recycle", "Retain")
_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
_CLAIM_IMMUTABLE = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
)
_ATTRIBUTES = "spec.volumeAttributesClassName"


def default_volume(volume: Obj) -> None:
    """Defaults of a PersistentVolume."""
    spec = volume.setdefault("spec", {})
    put_default(spec, "persistentVolumeReclaimPolicy", "Retain")
    put_default(spec, "volumeMode", "Filesystem")
    for kind, default in volume_sources.DEFAULTS.items():
        if spec.get(kind) is not None:
            default(spec[kind])
    if spec.get("hostPath") is not None:
        volumes.default_host_path(spec["hostPath"])
    if volume.get("status") is not None:
        put_default(volume["status"], "phase", "Pending")


def prepare_volume(volume: Obj) -> None:
    """A new volume is Pending."""
    volume["status"] = {
        "phase": "Pending",
        "lastPhaseTransitionTime": volume["metadata"].get("creationTimestamp"),
    }


def prepare_volume_status(volume: Obj, old: Obj) -> None:
    """Remember when the phase was entered; a client may say it, or it stays."""
    status, old_status = volume.setdefault("status", {}), old.get("status") or {}
    if status.get("phase") == old_status.get("phase") and "lastPhaseTransitionTime" in old_status:
        status.setdefault("lastPhaseTransitionTime", old_status["lastPhaseTransitionTime"])


def _local(source: Source, path: str) -> list[Cause]:
    if not source.get("path"):
        return [required(f"{path}.path")]
    return path_no_backsteps(source["path"], f"{path}.path")


def _csi(source: Source, path: str) -> list[Cause]:
    causes = volume_sources.csi_driver_name(source.get("driver", ""), f"{path}.driver")
    if not source.get("volumeHandle"):
        causes.append(required(f"{path}.volumeHandle"))
    for name in (
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeExpandSecretRef",
    ):
        reference = source.get(name)
        if reference is not None:
            causes += [required(f"{path}.{name}.{part}") for part in ("name", "namespace") if not reference.get(part)]
    return causes


_SOURCES: dict[str, Callable[[Source, str], list[Cause]]] = {
    "hostPath": volumes.host_path,
    **volume_sources.CLOUD_DISKS,
    **volume_sources.NETWORK,
    **volume_sources.OTHER,
    "local": _local,
    "csi": _csi,
}


def validate_volume(volume: Obj) -> list[Cause]:
    """Causes for a PersistentVolume."""
    spec = volume["spec"]
    modes, capacity = spec.get("accessModes") or [], spec.get("capacity")
    causes = volumes.access_modes(modes, "spec.accessModes") if modes else [required("spec.accessModes")]
    if not capacity:
        causes.append(required("spec.capacity"))
    if set(capacity or {}) != {"storage"}:
        shown = capacity if capacity is None else dict(sorted(capacity.items()))
        causes.append(not_supported("spec.capacity", shown, ("storage",)))
    for name, value in (capacity or {}).items():
        if quantity(value) <= 0:
            causes.append(invalid(f"spec.capacity[{name}]", str(value), "must be greater than zero"))
    causes += optional_one_of(
        spec.get("persistentVolumeReclaimPolicy", ""), "spec.persistentVolumeReclaimPolicy", _RECLAIM
    )
    affinity = spec.get("nodeAffinity")
    if affinity is not None:
        causes += _volume_affinity(affinity)
    causes += _one_source(spec)
    class_name = spec.get("storageClassName")
    if class_name:
        causes += text_causes(class_name, "spec.storageClassName", dns_subdomain_errors)
    causes += volumes.volume_mode(spec.get("volumeMode"), "spec.volumeMode")
    return causes + _volume_attributes(spec)


def _volume_affinity(affinity: Source) -> list[Cause]:
    if affinity.get("required") is None:
        return [required("spec.nodeAffinity.required", "must specify required node constraints")]
    return validate_node_selector(affinity["required"], "spec.nodeAffinity.required")


def _one_source(spec: Obj) -> list[Cause]:
    kinds = [kind for kind in _SOURCES if spec.get(kind) is not None]
    if not kinds:
        return [required("spec", "must specify a volume type")]
    causes = _SOURCES[kinds[0]](spec[kinds[0]], f"spec.{kinds[0]}")
    causes += [forbidden(f"spec.{kind}", "may not specify more than 1 volume type") for kind in kinds[1:]]
    if kinds[0] == "local" and spec.get("nodeAffinity") is None:
        causes.append(required("spec.nodeAffinity", "Local volume requires node affinity"))
    host = spec.get("hostPath") or {}
    if spec.get("persistentVolumeReclaimPolicy") == "Recycle" and posixpath.normpath(host.get("path") or ".") == "/":
        detail = "may not be 'recycle' for a hostPath mount of '/'"
        causes.append(forbidden("spec.persistentVolumeReclaimPolicy", detail))
    return causes


def _volume_attributes(spec: Obj) -> list[Cause]:
    name = spec.get("volumeAttributesClassName")
    if name is None:
        return []
    causes = text_causes(name, _ATTRIBUTES, dns_subdomain_errors) if name else []
    if not name:
        causes.append(required(_ATTRIBUTES, "an empty string is disallowed"))
    if spec.get("csi") is None:
        causes.append(required("spec.csi", "has to be specified when using volumeAttributesClassName"))
    return causes


def update_volume(volume: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed PersistentVolume: its source is settled."""
    # Upstream checks the whole twice here, so that each of its causes is listed twice.
    causes = validate_volume(volume) * 2
    spec, old_spec = volume["spec"], old["spec"]
    sources = {kind: spec[kind] for kind in _SOURCES if spec.get(kind) is not None}
    old_sources = {kind: old_spec[kind] for kind in _SOURCES if old_spec.get(kind) is not None}
    csi, old_csi = sources.get("csi"), old_sources.get("csi")
    if csi and old_csi and old_csi.get("controllerExpandSecretRef") is None:
        sources["csi"] = {name: value for name, value in csi.items() if name != "controllerExpandSecretRef"}
    if sources != old_sources:
        detail = f"spec.persistentvolumesource is immutable after creation\n{describe(old_sources, sources)}"
        causes.append(forbidden("spec.persistentvolumesource", detail))
    causes += validate_immutable(spec.get("volumeMode"), old_spec.get("volumeMode"), "volumeMode")
    if old_spec.get("nodeAffinity") is not None:
        causes += validate_immutable(spec.get("nodeAffinity"), old_spec["nodeAffinity"], "nodeAffinity")
    if old_spec.get("volumeAttributesClassName") is not None and spec.get("volumeAttributesClassName") is None:
        causes.append(forbidden(_ATTRIBUTES, "update from non-nil value to nil is forbidden"))
    return causes


def volume_warnings(volume: Obj, _old: Obj | None) -> list[str]:
    """Warnings for retired fields of a PersistentVolume."""
    found = []
    if _BETA_CLASS in (volume["metadata"].get("annotations") or {}):
        text = 'deprecated since v1.8; use "storageClassName" attribute instead'
        found.append(f"metadata.annotations[{_BETA_CLASS}]: {text}")
    if volume["spec"].get("persistentVolumeReclaimPolicy") == "Recycle":
        found.append("spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the "
                     "recommended approach is to use dynamic provisioning.")  # fmt: skip
    return found


def default_claim(claim: Obj) -> None:
    """Defaults of a PersistentVolumeClaim."""
    volumes.default_claim_spec(claim.setdefault("spec", {}))
    if claim.get("status") is not None:
        put_default(claim["status"], "phase", "Pending")


def prepare_claim(claim: Obj) -> None:
    """A new claim is Pending; a data source stands in both of its fields."""
    claim["status"] = {"phase": "Pending"}
    _normalise_sources(claim["spec"])


def _normalise_sources(spec: Obj) -> None:
    source, reference = spec.get("dataSource"), spec.get("dataSourceRef")
    if source is not None and reference is None:
        spec["dataSourceRef"] = dict(source)
    elif reference is not None and source is None and not reference.get("namespace"):
        spec["dataSource"] = {name: value for name, value in reference.items() if name != "namespace"}


def prepare_claim_update(claim: Obj, _old: Obj) -> None:
    """Keep both fields of a data source alike."""
    _normalise_sources(claim["spec"])


def validate_claim(claim: Obj) -> list[Cause]:
    """Causes for a PersistentVolumeClaim."""
    return volumes.validate_claim_spec(claim["spec"], "spec")


def update_claim(claim: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed claim: only growth, and the class of a bound one."""
    causes = validate_claim(claim)
    spec, old_spec = claim["spec"], old["spec"]
    rest = dict(spec)
    # The volume's name is filled in when the claim is bound.
    if not old_spec.get("volumeName"):
        _like(rest, old_spec, "volumeName")
    if spec.get("storageClassName") is not None and old_spec.get("storageClassName") is None:
        _like(rest, old_spec, "storageClassName")
    new_size, old_size = _requested(spec), _requested(old_spec)
    status = claim.get("status") or {}
    if status.get("phase") == "Bound":
        rest["resources"] = old_spec.get("resources") or {}
        if spec.get("volumeAttributesClassName") is not None:
            _like(rest, old_spec, "volumeAttributesClassName")
    if rest != old_spec:
        causes.append(forbidden("spec", f"{_CLAIM_IMMUTABLE}\n{describe(old_spec, rest)}"))
    has = quantity(((old.get("status") or {}).get("capacity") or {}).get("storage", "0"))
    if new_size < old_size and new_size <= has:
        causes.append(forbidden("spec.resources.requests.storage", "field can not be less than status.capacity"))
    causes += validate_immutable(spec.get("volumeMode"), old_spec.get("volumeMode"), "volumeMode")
    if old_spec.get("volumeAttributesClassName") is not None and not spec.get("volumeAttributesClassName"):
        to = "nil" if spec.get("volumeAttributesClassName") is None else "an empty string"
        causes.append(forbidden(_ATTRIBUTES, f"update from non-nil value to {to} is forbidden"))
    return causes


def _like(target: Obj, source: Obj, name: str) -> None:
    if name in source:
        target[name] = source[name]
    else:
        target.pop(name, None)


def _requested(spec: Obj) -> Any:
    return quantity(((spec.get("resources") or {}).get("requests") or {}).get("storage", "0"))


def claim_status(claim: Obj, _old: Obj) -> list[Cause]:
    """Causes for a changed status of a claim."""
    causes: list[Cause] = []
    if not claim["spec"].get("accessModes"):
        causes.append(required("Spec.accessModes"))
    for name, value in ((claim.get("status") or {}).get("capacity") or {}).items():
        if quantity(value) < 0:
            detail = "must be a valid resource quantity"
            causes.append(invalid(f"status.capacity[{name}]", int(quantity(value)), detail))
    return causes


STRATEGIES = {
    ("", "PersistentVolume"): Strategy(
        default=default_volume,
        prepare_create=prepare_volume,
        prepare_status=prepare_volume_status,
        validate=validate_volume,
        validate_update=update_volume,
        warnings=volume_warnings,
    ),
    ("", "PersistentVolumeClaim"): Strategy(
        default=default_claim,
        prepare_create=prepare_claim,
        prepare_update=prepare_claim_update,
        validate=validate_claim,
        validate_update=update_claim,
        validate_status=claim_status,
    ),
}
