"""The volumes of a pod: defaults and validation of their sources."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import duplicate, forbidden, invalid, key, quote, required
from sparsam.objects.names import dns_label_errors, dns_subdomain_errors
from sparsam.objects.strategies import downward, volume_sources
from sparsam.objects.strategies.common import local_descending_path, optional_one_of, path_no_backsteps, put_default
from sparsam.objects.strategies.images import is_latest
from sparsam.objects.strategies.resources import quantity
from sparsam.objects.strategies.selectors import validate_label_selector
from sparsam.objects.strategy import Obj

Source = Mapping[str, Any]
Check = Callable[[Source, str], list[Cause]]

DEFAULT_MODE = 0o644
TOKEN_SECONDS = 60 * 60
_MODE_TEXT = "must be a number between 0 and 0777 (octal), both inclusive"
_HOST_PATH_TYPES = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip
_ONE_TYPE = "may not specify more than 1 volume type"


def default_volume(volume: Obj) -> None:
    """Defaults of one volume; one without a source is an empty directory."""
    for kind, source in volume.items():
        if kind in _DEFAULTS and source is not None:
            _DEFAULTS[kind](source)
    if not any(volume.get(kind) is not None for kind in _SOURCES):
        volume["emptyDir"] = {}


def _default_mode(source: Obj) -> None:
    if source.get("defaultMode") is None:
        source["defaultMode"] = DEFAULT_MODE


def _default_downward(source: Obj) -> None:
    _default_mode(source)
    _default_downward_items(source)


def _default_downward_items(source: Obj) -> None:
    for item in source.get("items") or []:
        downward.default_field_ref(item.get("fieldRef"))
        downward.default_resource_field_ref(item.get("resourceFieldRef"))


def _default_projected(source: Obj) -> None:
    _default_mode(source)
    for projection in source.get("sources") or []:
        if projection.get("downwardAPI") is not None:
            _default_downward_items(projection["downwardAPI"])
        token = projection.get("serviceAccountToken")
        if token is not None and token.get("expirationSeconds") is None:
            token["expirationSeconds"] = TOKEN_SECONDS


def default_host_path(source: Obj) -> None:
    """A host path of any sort has the empty type."""
    if source.get("type") is None:
        source["type"] = ""


def default_claim_spec(spec: Obj) -> None:
    """Defaults of a claim's spec, in a claim or in a template of one."""
    put_default(spec, "volumeMode", "Filesystem")


def _default_ephemeral(source: Obj) -> None:
    template = source.get("volumeClaimTemplate")
    if template is not None:
        default_claim_spec(template.setdefault("spec", {}))


def _default_image(source: Obj) -> None:
    put_default(source, "pullPolicy", "Always" if is_latest(source.get("reference", "")) else "IfNotPresent")


_DEFAULTS: dict[str, Callable[[Obj], None]] = {
    "secret": _default_mode,
    "configMap": _default_mode,
    "downwardAPI": _default_downward,
    "projected": _default_projected,
    "hostPath": default_host_path,
    "ephemeral": _default_ephemeral,
    "image": _default_image,
    **volume_sources.DEFAULTS,
}


def validate_volumes(
    volumes: list[Obj], path: str, meta: Mapping[str, Any] | None = None
) -> tuple[dict[str, Obj], list[Cause]]:
    """The valid volumes by name, and causes. `meta` is the pod's own, for the names of ephemeral claims."""
    valid: dict[str, Obj] = {}
    causes: list[Cause] = []
    for position, volume in enumerate(volumes):
        found = _volume(volume, f"{path}[{position}]", meta)
        name = volume.get("name", "")
        if name in valid:
            found.append(duplicate(f"{path}[{position}].name", name))
        if found:
            causes += found
        else:
            valid[name] = volume
    return valid, causes


def _volume(volume: Obj, path: str, meta: Mapping[str, Any] | None) -> list[Cause]:
    causes: list[Cause] = []
    name = volume.get("name", "")
    seen = False
    # A volume has two or three fields, so that the order among its sources is settled by a look at the table.
    for kind in _SOURCES if len(volume) > 2 else volume:
        check = _SOURCES.get(kind)
        source = volume.get(kind)
        if check is None or source is None:
            continue
        if seen:
            causes.append(forbidden(f"{path}.{kind}", _ONE_TYPE))
            continue
        seen = True
        causes += check(source, f"{path}.{kind}")
        if kind == "ephemeral":
            causes += _ephemeral_name(name, meta, path)
    if not seen:
        causes.append(required(path, "must specify a volume type"))
    if not name:
        causes.append(required(f"{path}.name"))
    else:
        causes += [invalid(f"{path}.name", name, error) for error in dns_label_errors(name)]
    return causes


def _ephemeral_name(name: str, meta: Mapping[str, Any] | None, path: str) -> list[Cause]:
    if not meta or not meta.get("name") or not name:
        return []
    claim = f"{meta['name']}-{name}"
    return [invalid(f"{path}.name", name, f"PVC name {quote(claim)}: {error}") for error in dns_subdomain_errors(claim)]


def mode_causes(mode: int | None, path: str) -> list[Cause]:
    """A cause for file permissions out of range."""
    return [] if mode is None or 0 <= mode <= 0o777 else [invalid(path, mode, _MODE_TEXT)]


def local_path(path_value: str, path: str) -> list[Cause]:
    """Causes for a path inside of a volume: relative, not climbing, not starting with two dots."""
    causes = local_descending_path(path_value, path)
    if path_value.startswith("..") and not path_value.startswith("../"):
        causes.append(invalid(path, path_value, "must not start with '..'"))
    return causes


def _key_to_path(item: Source, path: str) -> list[Cause]:
    causes = [] if item.get("key") else [required(f"{path}.key")]
    if not item.get("path"):
        causes.append(required(f"{path}.path"))
    causes += local_path(item.get("path", ""), f"{path}.path")
    return causes + mode_causes(item.get("mode"), f"{path}.mode")


def _items(source: Source, path: str) -> list[Cause]:
    causes: list[Cause] = []
    for position, item in enumerate(source.get("items") or []):
        causes += _key_to_path(item, f"{path}.items[{position}]")
    return causes


def _empty_dir(source: Source, path: str) -> list[Cause]:
    limit = source.get("sizeLimit")
    if limit is not None and quantity(limit) < 0:
        return [forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")]
    medium = source.get("medium", "")
    if medium in ("", "Memory", "HugePages") or medium.startswith("HugePages-"):
        return []
    return [invalid(f"{path}.medium", medium, "must be Memory, HugePages or HugePages-<size>")]


def _secret(source: Source, path: str) -> list[Cause]:
    causes = [] if source.get("secretName") else [required(f"{path}.secretName")]
    return causes + mode_causes(source.get("defaultMode"), f"{path}.defaultMode") + _items(source, path)


def _config_map(source: Source, path: str) -> list[Cause]:
    causes = [] if source.get("name") else [required(f"{path}.name")]
    return causes + mode_causes(source.get("defaultMode"), f"{path}.defaultMode") + _items(source, path)


def host_path(source: Source, path: str) -> list[Cause]:
    """Causes for a hostPath source."""
    if not source.get("path"):
        return [required(f"{path}.path")]
    causes = path_no_backsteps(source["path"], f"{path}.path")
    return causes + optional_one_of(source.get("type") or "", f"{path}.type", _HOST_PATH_TYPES)


def _downward_file(item: Source, path: str) -> list[Cause]:
    causes = [] if item.get("path") else [required(f"{path}.path")]
    causes += local_path(item.get("path", ""), f"{path}.path")
    field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
    if field is not None:
        causes += downward.validate_field_ref(field, downward.VOLUME_FIELDS, f"{path}.fieldRef")
        if resource is not None:
            detail = "fieldRef and resourceFieldRef can not be specified simultaneously"
            causes.append(invalid(path, "resource", detail))
    elif resource is not None:
        causes += downward.validate_resource_field_ref(resource, f"{path}.resourceFieldRef", volume=True)
    else:
        causes.append(required(path, "one of fieldRef and resourceFieldRef is required"))
    return causes + mode_causes(item.get("mode"), f"{path}.mode")


def _downward_api(source: Source, path: str) -> list[Cause]:
    causes = mode_causes(source.get("defaultMode"), f"{path}.defaultMode")
    for item in source.get("items") or []:
        causes += _downward_file(item, path)
    return causes


def _projected(source: Source, path: str) -> list[Cause]:
    causes = mode_causes(source.get("defaultMode"), f"{path}.defaultMode")
    taken: set[str] = set()
    for position, projection in enumerate(source.get("sources") or []):
        here = f"{path}.sources[{position}]"
        number = 0
        for kind, check in _PROJECTIONS.items():
            if projection.get(kind) is not None:
                number += 1
                causes += check(projection[kind], f"{here}.{kind}", path, taken)
        if number > 1:
            causes.append(forbidden(here, "may not specify more than 1 volume type per source"))
    return causes


def _take(path_value: str, shown: str, path: str, taken: set[str]) -> list[Cause]:
    if path_value and path_value in taken:
        return [invalid(path, shown, "conflicting duplicate paths")]
    taken.add(path_value)
    return []


def _project_keys(source: Source, path: str, volume_path: str, taken: set[str]) -> list[Cause]:
    causes = [] if source.get("name") else [required(f"{path}.name")]
    for position, item in enumerate(source.get("items") or []):
        causes += _key_to_path(item, f"{path}.items[{position}]")
        causes += _take(item.get("path", ""), source.get("name", ""), volume_path, taken)
    return causes


def _project_downward(source: Source, path: str, volume_path: str, taken: set[str]) -> list[Cause]:
    causes: list[Cause] = []
    for item in source.get("items") or []:
        causes += _downward_file(item, path)
        causes += _take(item.get("path", ""), item.get("path", ""), volume_path, taken)
    return causes


def _project_token(source: Source, path: str, volume_path: str, _taken: set[str]) -> list[Cause]:
    seconds = source.get("expirationSeconds", 0)
    here = f"{path}.expirationSeconds"
    causes: list[Cause] = []
    if seconds < 600:
        causes.append(invalid(here, seconds, "may not specify a duration less than 10 minutes"))
    if seconds > 1 << 32:
        causes.append(invalid(here, seconds, "may not specify a duration larger than 2^32 seconds"))
    # Upstream reports the path at the volume, not at the token.
    if not source.get("path"):
        return [*causes, required(f"{volume_path}.path")]
    return causes + local_path(source["path"], f"{volume_path}.path")


def _project_trust(source: Source, path: str, volume_path: str, taken: set[str]) -> list[Cause]:
    name, signer = source.get("name"), source.get("signerName")
    causes: list[Cause] = []
    if name is not None and signer is not None:
        causes.append(invalid(path, source, "only one of name and signerName may be used"))
    elif name is not None:
        if not name:
            causes.append(required(f"{path}.name", "must be a valid object name"))
        if source.get("labelSelector") is not None:
            detail = "labelSelector must be unset if name is specified"
            causes.append(invalid(f"{path}.labelSelector", source["labelSelector"], detail))
    elif signer is not None:
        if not signer:
            causes.append(required(f"{path}.signerName", "must be a valid signer name"))
        causes += validate_label_selector(source.get("labelSelector"), f"{path}.labelSelector")
    else:
        causes.append(required(path, "either name or signerName must be specified"))
    if not source.get("path"):
        causes.append(required(f"{path}.path"))
    causes += local_path(source.get("path", ""), f"{path}.path")
    return causes + _take(source.get("path", ""), source.get("path", ""), volume_path, taken)


_PROJECTIONS: dict[str, Callable[[Source, str, str, set[str]], list[Cause]]] = {
    "secret": _project_keys,
    "configMap": _project_keys,
    "downwardAPI": _project_downward,
    "serviceAccountToken": _project_token,
    "clusterTrustBundle": _project_trust,
}


def _claim(source: Source, path: str) -> list[Cause]:
    return [] if source.get("claimName") else [required(f"{path}.claimName")]


def _ephemeral(source: Source, path: str) -> list[Cause]:
    template = source.get("volumeClaimTemplate")
    if template is None:
        return [required(f"{path}.volumeClaimTemplate")]
    here = f"{path}.volumeClaimTemplate"
    causes = [
        forbidden(key(f"{here}.metadata", name), "not allowed in ephemeral volume claim template")
        for name in template.get("metadata") or {}
        if name not in ("labels", "annotations")
    ]
    return causes + validate_claim_spec(template.get("spec") or {}, f"{here}.spec")


def _image(source: Source, path: str) -> list[Cause]:
    causes = [] if source.get("reference") else [required(f"{path}.reference")]
    return causes + optional_one_of(
        source.get("pullPolicy", ""), f"{path}.pullPolicy", ("Always", "IfNotPresent", "Never")
    )


_ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
_VOLUME_MODES = ("Block", "Filesystem")


def access_modes(modes: list[str], path: str) -> list[Cause]:
    """Causes for the access modes of a claim or volume."""
    if not modes:
        return [required(path, "at least 1 access mode is required")]
    causes = [cause for mode in modes for cause in optional_one_of(mode, path, _ACCESS_MODES)]
    if "ReadWriteOncePod" in modes and len(set(modes)) > 1:
        causes.append(forbidden(path, "may not use ReadWriteOncePod with other access modes"))
    return causes


def volume_mode(mode: str | None, path: str) -> list[Cause]:
    """Causes for a volumeMode."""
    return [] if mode is None else optional_one_of(mode, path, _VOLUME_MODES)


def validate_claim_spec(spec: Source, path: str) -> list[Cause]:
    """Causes for the spec of a PersistentVolumeClaim."""
    causes = access_modes(spec.get("accessModes") or [], f"{path}.accessModes")
    causes += validate_label_selector(spec.get("selector"), f"{path}.selector")
    requests = (spec.get("resources") or {}).get("requests") or {}
    if "storage" not in requests:
        causes.append(required(key(f"{path}.resources", "storage")))
    elif quantity(requests["storage"]) <= 0:
        detail = "must be greater than zero"
        causes.append(invalid(key(f"{path}.resources", "storage"), str(requests["storage"]), detail))
    class_name = spec.get("storageClassName")
    if class_name:
        causes += [invalid(f"{path}.storageClassName", class_name, error) for error in dns_subdomain_errors(class_name)]
    causes += volume_mode(spec.get("volumeMode"), f"{path}.volumeMode")
    causes += _data_sources(spec, path)
    attributes = spec.get("volumeAttributesClassName")
    if attributes:
        here = f"{path}.volumeAttributesClassName"
        causes += [invalid(here, attributes, error) for error in dns_subdomain_errors(attributes)]
    return causes


def _data_sources(spec: Source, path: str) -> list[Cause]:
    causes: list[Cause] = []
    for name in ("dataSource", "dataSourceRef"):
        source = spec.get(name)
        if source is None:
            continue
        here = f"{path}.{name}"
        causes += [required(f"{here}.{part}") for part in ("name", "kind") if not source.get(part)]
        group = source.get("apiGroup") or ""
        if not group and source.get("kind") != "PersistentVolumeClaim":
            causes.append(
                invalid(
                    here,
                    source.get("kind", ""),
                    "must be 'PersistentVolumeClaim' when referencing the default apiGroup",
                )
            )
        elif group:
            causes += [invalid(f"{here}.apiGroup", group, error) for error in dns_subdomain_errors(group)]
    if spec.get("dataSource") is not None and spec.get("dataSourceRef") is not None:
        first, second = dict(spec["dataSource"]), dict(spec["dataSourceRef"])
        if first != second:
            causes.append(invalid(path, f"{path}.dataSource", "must match dataSourceRef"))
    return causes


_SOURCES: dict[str, Check] = {
    "emptyDir": _empty_dir,
    "hostPath": host_path,
    **volume_sources.CLOUD_DISKS,
    "secret": _secret,
    **volume_sources.NETWORK,
    "persistentVolumeClaim": _claim,
    "downwardAPI": _downward_api,
    "configMap": _config_map,
    "projected": _projected,
    **volume_sources.OTHER,
    "ephemeral": _ephemeral,
    "image": _image,
}
