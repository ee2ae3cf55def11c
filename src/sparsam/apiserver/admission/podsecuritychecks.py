"""The Pod Security Standards: what each level forbids a pod, in upstream's words. Pure.

Source: Kubernetes documentation "Pod Security Standards"; KEP-2579. A policy of an older version leaves out the checks
that came later; the checks that there are judge as the newest version does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

Obj = dict[str, Any]

LEVELS = ("privileged", "baseline", "restricted")
LATEST = 10_000
"""The minor version behind `latest`."""

_CAPABILITIES = frozenset(
    {"AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP"}
    | {"SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"}
)
_SYSCTLS = {
    "kernel.shm_rmid_forced": 0,
    "net.ipv4.ip_local_port_range": 0,
    "net.ipv4.tcp_syncookies": 0,
    "net.ipv4.ping_group_range": 0,
    "net.ipv4.ip_unprivileged_port_start": 0,
    "net.ipv4.ip_local_reserved_ports": 27,
    "net.ipv4.tcp_keepalive_time": 29,
    "net.ipv4.tcp_fin_timeout": 29,
    "net.ipv4.tcp_keepalive_intvl": 29,
    "net.ipv4.tcp_keepalive_probes": 29,
    "net.ipv4.tcp_rmem": 32,
    "net.ipv4.tcp_wmem": 32,
}
"""Sysctls that a pod may set, and the minor version that allowed them."""
_SELINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
_SECCOMP = frozenset({"RuntimeDefault", "Localhost"})
_VOLUMES = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected"}
    | {"secret"}
)
_APPARMOR_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"


@dataclass(frozen=True, slots=True)
class Subject:
    """A pod, or a pod template."""

    annotations: Obj
    spec: Obj
    minor: int = LATEST

    @property
    def context(self) -> Obj:
        """The pod's own security context."""
        found: Obj = self.spec.get("securityContext") or {}
        return found

    def containers(self) -> Iterator[tuple[Obj, Obj]]:
        """Every container with its security context; those that start first come first."""
        for field in ("initContainers", "containers", "ephemeralContainers"):
            for container in self.spec.get(field) or ():
                yield container, container.get("securityContext") or {}

    def named(self, test: Callable[[Obj], bool]) -> list[str]:
        """Names of containers whose security context is as the test asks."""
        return [container["name"] for container, context in self.containers() if test(context)]

    @property
    def is_windows(self) -> bool:
        """Whether the pod says that it is for Windows, where some fields have no meaning."""
        return (self.spec.get("os") or {}).get("name") == "windows"

    @property
    def own_users(self) -> bool:
        """Whether root in the pod is nobody outside (KEP-127)."""
        return self.spec.get("hostUsers") is False


@dataclass(frozen=True, slots=True)
class Violation:
    """What is forbidden, and where the pod has it."""

    reason: str
    detail: str = ""

    def __str__(self) -> str:
        """As refusals tell it."""
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


Check = Callable[[Subject], Violation | None]


def violations(level: str, subject: Subject) -> list[Violation]:
    """All that a level forbids the pod, in upstream's order."""
    return [found for since, check in _CHECKS[level] if since <= subject.minor and (found := check(subject))]


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _plural(names: Iterable[Any], one: str, more: str) -> str:
    return one if len(list(names)) == 1 else more


def _containers(names: list[str]) -> str:
    return f"{_plural(names, 'container', 'containers')} {_quoted(names)}"


def _setters(pod: bool, names: list[str]) -> str:
    return " and ".join([*(["pod"] if pod else []), *([_containers(names)] if names else [])])


# -- baseline -------------------------------------------------------------------------------------------------


def _apparmor(subject: Subject) -> Violation | None:
    def is_bad(context: Obj) -> bool:
        return (context.get("appArmorProfile") or {}).get("type", "RuntimeDefault") not in _SECCOMP

    names, pod = subject.named(is_bad), is_bad(subject.context)
    contexts = [subject.context, *(context for _, context in subject.containers())]
    values = sorted({context["appArmorProfile"]["type"] for context in contexts if is_bad(context)})
    annotated = sorted(
        f'{name}="{value}"'
        for name, value in subject.annotations.items()
        if name.startswith(_APPARMOR_ANNOTATION)
        and value not in ("", "runtime/default")
        and not value.startswith("localhost/")
    )
    if not values and not annotated:
        return None
    setters = [each for each in (_setters(pod, names),) if each]
    if annotated:
        setters.append(_plural(annotated, "annotation", "annotations"))
    values += annotated
    reason = _plural(values, "forbidden AppArmor profile", "forbidden AppArmor profiles")
    return Violation(reason, f"{' and '.join(setters)} must not set AppArmor profile type to {_quoted(values)}")


def _added_capabilities(subject: Subject, allowed: frozenset[str]) -> tuple[list[str], list[str]]:
    """Containers that add others than these, and what they add."""

    def bad(context: Obj) -> set[str]:
        return set((context.get("capabilities") or {}).get("add") or ()) - allowed

    added = {name for _, context in subject.containers() for name in bad(context)}
    return subject.named(lambda context: bool(bad(context))), sorted(added)


def _capabilities(subject: Subject) -> Violation | None:
    names, added = _added_capabilities(subject, _CAPABILITIES)
    if not names:
        return None
    detail = f"{_containers(names)} must not include {_quoted(added)} in securityContext.capabilities.add"
    return Violation("non-default capabilities", detail)


def _host_namespaces(subject: Subject) -> Violation | None:
    used = [f"{name}=true" for name in ("hostNetwork", "hostPID", "hostIPC") if subject.spec.get(name)]
    return Violation("host namespaces", ", ".join(used)) if used else None


def _host_paths(subject: Subject) -> Violation | None:
    names = [volume["name"] for volume in subject.spec.get("volumes") or () if volume.get("hostPath") is not None]
    return Violation("hostPath volumes", f"{_plural(names, 'volume', 'volumes')} {_quoted(names)}") if names else None


def _host_ports(subject: Subject) -> Violation | None:
    names, ports = [], set()
    for container, _ in subject.containers():
        own = {str(port["hostPort"]) for port in container.get("ports") or () if port.get("hostPort")}
        if own:
            names.append(container["name"])
            ports |= own
    if not names:
        return None
    uses, what = _plural(names, "uses", "use"), _plural(ports, "hostPort", "hostPorts")
    return Violation("hostPort", f"{_containers(names)} {uses} {what} {', '.join(sorted(ports))}")


def _probe_hosts(subject: Subject) -> Violation | None:
    names, hosts = set(), set()
    for container, _ in subject.containers():
        lifecycle = container.get("lifecycle") or {}
        handlers = [container.get(name) for name in ("livenessProbe", "readinessProbe", "startupProbe")]
        handlers += [lifecycle.get("postStart"), lifecycle.get("preStop")]
        for handler in handlers:
            for kind in ("httpGet", "tcpSocket"):
                host = ((handler or {}).get(kind) or {}).get("host")
                if host:
                    names.add(container["name"])
                    hosts.add(host)
    if not names:
        return None
    uses, what = _plural(names, "uses", "use"), _plural(hosts, "probe or lifecycle host", "probe or lifecycle hosts")
    return Violation("probe or lifecycle host", f"{_containers(sorted(names))} {uses} {what} {_quoted(sorted(hosts))}")


def _privileged(subject: Subject) -> Violation | None:
    names = subject.named(lambda context: bool(context.get("privileged")))
    return (
        Violation("privileged", f"{_containers(names)} must not set securityContext.privileged=true") if names else None
    )


def _proc_mount(subject: Subject) -> Violation | None:
    def kind(context: Obj) -> str:
        return str(context.get("procMount") or "Default")

    names = [] if subject.own_users else subject.named(lambda context: kind(context) != "Default")
    if not names:
        return None
    kinds = sorted({kind(context) for _, context in subject.containers()} - {"Default"})
    return Violation("procMount", f"{_containers(names)} must not set securityContext.procMount to {_quoted(kinds)}")


def _selinux(subject: Subject) -> Violation | None:
    def options(context: Obj) -> Obj:
        return context.get("seLinuxOptions") or {}

    def is_bad(context: Obj) -> bool:
        own = options(context)
        return own.get("type", "") not in _SELINUX_TYPES or bool(own.get("user")) or bool(own.get("role"))

    names, pod = subject.named(is_bad), is_bad(subject.context)
    if not names and not pod:
        return None
    known = [options(subject.context), *(options(context) for _, context in subject.containers())]
    types = sorted({own.get("type", "") for own in known} - _SELINUX_TYPES)
    faults = [f"{_plural(types, 'type', 'types')} {_quoted(types)}"] if types else []
    faults += [f"{field} may not be set" for field in ("user", "role") if any(own.get(field) for own in known)]
    setters = _setters(pod, names)
    return Violation("seLinuxOptions", f"{setters} set forbidden securityContext.seLinuxOptions: {'; '.join(faults)}")


def _bad_seccomp(subject: Subject) -> Violation | None:
    def kind(context: Obj) -> str:
        return str((context.get("seccompProfile") or {}).get("type", "RuntimeDefault"))

    names, pod = subject.named(lambda context: kind(context) not in _SECCOMP), kind(subject.context) not in _SECCOMP
    if not names and not pod:
        return None
    kinds = sorted({kind(subject.context), *(kind(context) for _, context in subject.containers())} - _SECCOMP)
    detail = f"{_setters(pod, names)} must not set securityContext.seccompProfile.type to {_quoted(kinds)}"
    return Violation("seccompProfile", detail)


def _sysctls(subject: Subject) -> Violation | None:
    names = [each["name"] for each in subject.context.get("sysctls") or ()]
    bad = [name for name in names if _SYSCTLS.get(name, LATEST + 1) > subject.minor]
    return Violation("forbidden sysctls", ", ".join(bad)) if bad else None


def _host_process(subject: Subject) -> Violation | None:
    def is_bad(context: Obj) -> bool:
        return bool((context.get("windowsOptions") or {}).get("hostProcess"))

    names, pod = subject.named(is_bad), is_bad(subject.context)
    if not names and not pod:
        return None
    detail = f"{_setters(pod, names)} must not set securityContext.windowsOptions.hostProcess=true"
    return Violation("hostProcess", detail)


# -- restricted -----------------------------------------------------------------------------------------------


def _escalation(subject: Subject) -> Violation | None:
    names = subject.named(lambda context: context.get("allowPrivilegeEscalation") is not False)
    if not names or (subject.is_windows and subject.minor >= 25):
        return None
    detail = f"{_containers(names)} must set securityContext.allowPrivilegeEscalation=false"
    return Violation("allowPrivilegeEscalation != false", detail)


def _dropped_capabilities(subject: Subject) -> Violation | None:
    if subject.is_windows and subject.minor >= 25:
        return None
    keeping = subject.named(lambda context: "ALL" not in ((context.get("capabilities") or {}).get("drop") or ()))
    names, added = _added_capabilities(subject, frozenset({"NET_BIND_SERVICE"}))
    details = []
    if keeping:
        details.append(f'{_containers(keeping)} must set securityContext.capabilities.drop=["ALL"]')
    if names:
        details.append(f"{_containers(names)} must not include {_quoted(added)} in securityContext.capabilities.add")
    return Violation("unrestricted capabilities", "; ".join(details)) if details else None


def _restricted_volumes(subject: Subject) -> Violation | None:
    names, kinds = [], set()
    for volume in subject.spec.get("volumes") or ():
        kind = next((field for field, value in volume.items() if field != "name" and value is not None), "unknown")
        if kind not in _VOLUMES:
            names.append(volume["name"])
            kinds.add(kind)
    if not names:
        return None
    who, uses = _plural(names, "volume", "volumes"), _plural(names, "uses", "use")
    what = _plural(kinds, "type", "types")
    detail = f"{who} {_quoted(names)} {uses} restricted volume {what} {_quoted(sorted(kinds))}"
    return Violation("restricted volume types", detail)


def _non_root(subject: Subject) -> Violation | None:
    if subject.own_users:
        return None
    pod = subject.context.get("runAsNonRoot")
    refusing = subject.named(lambda context: context.get("runAsNonRoot") is False)
    if pod is False or refusing:
        detail = f"{_setters(pod is False, refusing)} must not set securityContext.runAsNonRoot=false"
        return Violation("runAsNonRoot != true", detail)
    silent = [] if pod else subject.named(lambda context: context.get("runAsNonRoot") is None)
    if not silent:
        return None
    return Violation("runAsNonRoot != true", f"pod or {_containers(silent)} must set securityContext.runAsNonRoot=true")


def _root_user(subject: Subject) -> Violation | None:
    names, pod = subject.named(lambda context: context.get("runAsUser") == 0), subject.context.get("runAsUser") == 0
    if subject.own_users or not (names or pod):
        return None
    return Violation("runAsUser=0", f"{_setters(pod, names)} must not set runAsUser=0")


def _seccomp(subject: Subject) -> Violation | None:
    if subject.is_windows and subject.minor >= 25:
        return None
    if (bad := _bad_seccomp(subject)) or subject.context.get("seccompProfile"):
        return bad
    silent = subject.named(lambda context: not context.get("seccompProfile"))
    if not silent:
        return None
    wanted = 'securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost"'
    return Violation("seccompProfile", f"pod or {_containers(silent)} must set {wanted}")


_ALWAYS: tuple[tuple[int, Check], ...] = (
    (0, _host_namespaces),
    (0, _host_ports),
    (34, _probe_hosts),
    (0, _privileged),
    (0, _proc_mount),
    (0, _selinux),
)
_CHECKS: dict[str, tuple[tuple[int, Check], ...]] = {
    "privileged": (),
    "baseline": (
        (0, _apparmor),
        (0, _capabilities),
        (0, _host_namespaces),
        (0, _host_paths),
        *_ALWAYS[1:],
        (19, _bad_seccomp),
        (0, _sysctls),
        (0, _host_process),
    ),
    "restricted": (
        (0, _apparmor),
        *_ALWAYS,
        (0, _sysctls),
        (0, _host_process),
        (8, _escalation),
        (22, _dropped_capabilities),
        (0, _restricted_volumes),
        (0, _non_root),
        (23, _root_user),
        (19, _seccomp),
    ),
}
"""Checks by level, each with the minor version that brought it. What a stricter check repeats is left out."""
