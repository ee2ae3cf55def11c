"""Security contexts of pods and containers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import duplicate, invalid, not_supported, required, too_long
from sparsam.objects.strategies.common import MAX_INT32, inclusive, local_descending_path, optional_one_of

Context = Mapping[str, Any]

_SYSCTL_SEGMENT = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTL = rf"({_SYSCTL_SEGMENT}[\./])*{_SYSCTL_SEGMENT}"
_SYSCTL_RE = re.compile(_SYSCTL + r"\Z", re.ASCII)
_NET_SYSCTLS = ("net.", "net/")
_IPC_SYSCTLS = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")
_PROFILE_TYPES = ("Localhost", "RuntimeDefault", "Unconfined")
_PATH_MAX = 4095


def _id(context: Context, name: str, path: str) -> list[Cause]:
    value = context.get(name)
    if value is None or 0 <= value <= MAX_INT32:
        return []
    return [invalid(f"{path}.{name}", value, inclusive(0, MAX_INT32))]


def validate_pod_security(context: Context, spec: Context, path: str) -> list[Cause]:
    """Causes for the security context of a whole pod."""
    causes: list[Cause] = []
    for name in ("fsGroup", "runAsUser", "runAsGroup"):
        causes += _id(context, name, path)
    for position, group in enumerate(context.get("supplementalGroups") or []):
        if not 0 <= group <= MAX_INT32:
            causes.append(invalid(f"{path}.supplementalGroups[{position}]", group, inclusive(0, MAX_INT32)))
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        detail = "ShareProcessNamespace and HostPID cannot both be enabled"
        causes.append(invalid(f"{path}.shareProcessNamespace", True, detail))
    causes += _sysctls(context, spec, f"{path}.sysctls")
    causes += _choice(context, "fsGroupChangePolicy", ("Always", "OnRootMismatch"), path)
    causes += _seccomp(context.get("seccompProfile"), f"{path}.seccompProfile")
    causes += _app_armor(context.get("appArmorProfile"), f"{path}.appArmorProfile")
    causes += _choice(context, "supplementalGroupsPolicy", ("Merge", "Strict"), path)
    return causes + _choice(context, "seLinuxChangePolicy", ("MountOption", "Recursive"), path)


def _choice(context: Context, name: str, supported: tuple[str, ...], path: str) -> list[Cause]:
    value = context.get(name)
    return [] if value is None else optional_one_of(value, f"{path}.{name}", supported)


def _sysctls(context: Context, spec: Context, path: str) -> list[Cause]:
    causes: list[Cause] = []
    taken: set[str] = set()
    for position, sysctl in enumerate(context.get("sysctls") or []):
        here, name = f"{path}[{position}].name", sysctl.get("name", "")
        if not name:
            causes.append(required(here))
        elif len(name) > 253 or not _SYSCTL_RE.match(name):
            causes.append(invalid(here, name, f"must have at most 253 characters and match regex ^{_SYSCTL}$"))
        elif name in taken:
            causes.append(duplicate(here, name))
        if spec.get("hostNetwork") and name.startswith(_NET_SYSCTLS):
            causes.append(invalid(here, name, "may not be specified when 'hostNetwork' is true"))
        elif spec.get("hostIPC") and name.replace("/", ".").startswith(_IPC_SYSCTLS):
            causes.append(invalid(here, name, "may not be specified when 'hostIPC' is true"))
        taken.add(name)
    return causes


def _seccomp(profile: Context | None, path: str) -> list[Cause]:
    if profile is None:
        return []
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    causes: list[Cause] = []
    if not kind:
        causes.append(required(f"{path}.type", "type is required when seccompProfile is set"))
    elif kind not in _PROFILE_TYPES:
        causes.append(not_supported(f"{path}.type", kind, _PROFILE_TYPES))
    here = f"{path}.localhostProfile"
    if kind != "Localhost":
        if local is not None:
            causes.append(invalid(here, dict(profile), "can only be set when seccomp type is Localhost"))
        return causes
    if local is None:
        return [*causes, required(here, "must be set when seccomp type is Localhost")]
    return causes + local_descending_path(local, here)


def _app_armor(profile: Context | None, path: str) -> list[Cause]:
    if profile is None:
        return []
    kind, local = profile.get("type", ""), profile.get("localhostProfile")
    here = f"{path}.localhostProfile"
    if kind == "Localhost":
        return _app_armor_local(local, here)
    if not kind:
        return [required(f"{path}.type", "type is required when appArmorProfile is set")]
    if kind not in _PROFILE_TYPES:
        return [not_supported(f"{path}.type", kind, _PROFILE_TYPES)]
    return [] if local is None else [invalid(here, local, "can only be set when AppArmor type is Localhost")]


def _app_armor_local(local: str | None, path: str) -> list[Cause]:
    if not local:
        return [required(path, "must be set when AppArmor type is Localhost")]
    causes = [] if local == local.strip() else [invalid(path, local, "must not be padded with whitespace")]
    return [*causes, too_long(path, _PATH_MAX)] if len(local) > _PATH_MAX else causes


def validate_container_security(context: Context, path: str, host_users: bool) -> list[Cause]:
    """Causes for the security context of one container."""
    causes = _id(context, "runAsUser", path) + _id(context, "runAsGroup", path)
    mount = context.get("procMount")
    if mount is not None:
        causes += optional_one_of(mount, f"{path}.procMount", ("Default", "Unmasked"))
        if mount == "Unmasked" and host_users:
            causes.append(invalid(f"{path}.procMount", mount, "`hostUsers` must be false to use `Unmasked`"))
    causes += _seccomp(context.get("seccompProfile"), f"{path}.seccompProfile")
    if context.get("allowPrivilegeEscalation") is False:
        causes += _escalation(context, path)
    return causes + _app_armor(context.get("appArmorProfile"), f"{path}.appArmorProfile")


def _escalation(context: Context, path: str) -> list[Cause]:
    causes: list[Cause] = []
    start = "cannot set `allowPrivilegeEscalation` to false and"
    if context.get("privileged"):
        causes.append(invalid(path, dict(context), f"{start} `privileged` to true"))
    added = (context.get("capabilities") or {}).get("add") or []
    detail = f"{start} `capabilities.Add` CAP_SYS_ADMIN"
    return causes + [invalid(path, dict(context), detail) for each in added if each == "CAP_SYS_ADMIN"]
