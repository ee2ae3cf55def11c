"""Volume mounts and block devices of containers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import forbidden, invalid, not_found, not_supported, required
from sparsam.objects.strategies.common import local_descending_path, path_no_backsteps
from sparsam.objects.strategy import Obj

Volumes = Mapping[str, Obj]

_PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
_READ_ONLY_MODES = ("Disabled", "IfPossible", "Enabled")


def validate_mounts(container: Obj, volumes: Volumes, path: str) -> list[Cause]:
    """Causes for the mounts and devices of one container."""
    mounts, devices = container.get("volumeMounts") or [], container.get("volumeDevices") or []
    causes = _mounts(mounts, {each.get("name", ""): each.get("devicePath", "") for each in devices}, volumes,
                     container, f"{path}.volumeMounts")  # fmt: skip
    mounted = {each.get("name", ""): each.get("mountPath", "") for each in mounts}
    return causes + _devices(devices, mounted, volumes, f"{path}.volumeDevices")


def _mounts(mounts: list[Obj], devices: dict[str, str], volumes: Volumes, container: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    taken: set[str] = set()
    for position, mount in enumerate(mounts):
        here = f"{path}[{position}]"
        name, mount_path = mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            causes.append(required(f"{here}.name"))
        if name not in volumes:
            causes.append(not_found(f"{here}.name", name))
        if not mount_path:
            causes.append(required(f"{here}.mountPath"))
        if mount_path in taken:
            causes.append(invalid(f"{here}.mountPath", mount_path, "must be unique"))
        taken.add(mount_path)
        if devices:
            causes += _overlap(name, mount_path, devices, here, devices=False)
        if len(mount) > 2:
            causes += _options(mount, volumes.get(name) or {}, container, here, path)
    return causes


def _overlap(name: str, place: str, others: dict[str, str], path: str, *, devices: bool) -> list[Cause]:
    field, where = ("devicePath", "volumeMounts") if devices else ("mountPath", "volumeDevices")
    causes: list[Cause] = []
    if name in others:
        causes.append(invalid(f"{path}.name", name, f"must not already exist in {where}"))
    if place in others.values():
        causes.append(invalid(f"{path}.{field}", place, f"must not already exist as a path in {where}"))
    return causes


def _options(mount: Obj, volume: Obj, container: Obj, path: str, list_path: str) -> list[Cause]:
    causes: list[Cause] = []
    sub_path, expression = mount.get("subPath", ""), mount.get("subPathExpr", "")
    # Upstream reports these at the list, not at its item.
    if sub_path:
        causes += local_descending_path(sub_path, f"{list_path}.subPath")
    if expression:
        if sub_path:
            detail = "subPathExpr and subPath are mutually exclusive"
            causes.append(invalid(f"{path}.subPathExpr", expression, detail))
        causes += local_descending_path(expression, f"{list_path}.subPathExpr")
    if mount.get("mountPropagation") is not None:
        causes += _propagation(mount["mountPropagation"], container, f"{list_path}.mountPropagation")
    if mount.get("recursiveReadOnly") is not None:
        causes += _recursive_read_only(mount, f"{list_path}.recursiveReadOnly")
    return causes


def _propagation(mode: str, container: Obj, path: str) -> list[Cause]:
    if mode not in _PROPAGATIONS:
        return [not_supported(path, mode, _PROPAGATIONS)]
    privileged = (container.get("securityContext") or {}).get("privileged")
    if mode == "Bidirectional" and not privileged:
        return [forbidden(path, "Bidirectional mount propagation is available only to privileged containers")]
    return []


def _recursive_read_only(mount: Mapping[str, Any], path: str) -> list[Cause]:
    mode = mount["recursiveReadOnly"]
    if mode not in _READ_ONLY_MODES:
        return [not_supported(path, mode, _READ_ONLY_MODES)]
    if mode == "Disabled":
        return []
    causes: list[Cause] = []
    if not mount.get("readOnly"):
        causes.append(forbidden(path, "may only be specified when readOnly is true"))
    if mount.get("mountPropagation") not in (None, "None"):
        causes.append(forbidden(path, "may only be specified when mountPropagation is None or not specified"))
    return causes


def _devices(devices: list[Obj], mounted: dict[str, str], volumes: Volumes, path: str) -> list[Cause]:
    causes: list[Cause] = []
    names: set[str] = set()
    places: set[str] = set()
    for position, device in enumerate(devices):
        here = f"{path}[{position}]"
        name, place = device.get("name", ""), device.get("devicePath", "")
        causes += _device_name(name, names, volumes, f"{here}.name")
        if not place:
            causes.append(required(f"{here}.devicePath"))
        if place in places:
            causes.append(invalid(f"{here}.devicePath", place, "must be unique"))
        if place and path_no_backsteps(place, path):
            causes.append(invalid(f"{here}.devicePath", place, "can not contain backsteps ('..')"))
        else:
            places.add(place)
        causes += _overlap(name, place, mounted, here, devices=True)
        if name:
            names.add(name)
    return causes


def _device_name(name: str, names: set[str], volumes: Volumes, path: str) -> list[Cause]:
    causes: list[Cause] = []
    volume = volumes.get(name)
    if not name:
        causes.append(required(path))
    if name in names:
        causes.append(invalid(path, name, "must be unique"))
    if volume is None:
        causes.append(not_found(path, name))
    elif volume.get("persistentVolumeClaim") is None and volume.get("ephemeral") is None:
        detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
        causes.append(invalid(path, name, detail))
    return causes
