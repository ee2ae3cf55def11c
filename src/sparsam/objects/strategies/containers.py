"""Containers of a pod: regular, init and ephemeral. Defaults and validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import duplicate, forbidden, invalid, not_found, not_supported, required
from sparsam.objects.names import dns_label_errors, port_name_errors, port_number_errors
from sparsam.objects.strategies import env, mounts, probes, resources
from sparsam.objects.strategies.common import PROTOCOLS, one_of, optional_one_of, put_default
from sparsam.objects.strategies.images import is_latest
from sparsam.objects.strategies.security_context import validate_container_security
from sparsam.objects.strategy import Obj

TERMINATION_LOG = "/dev/termination-log"
RESTART_POLICIES = ("Always", "Never", "OnFailure")
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_MESSAGE_POLICIES = ("File", "FallbackToLogsOnError")
_RESIZE_POLICIES = ("NotRequired", "RestartContainer")
_EPHEMERAL_FORBIDDEN = (
    "ports", "resources", "resizePolicy", "restartPolicy", "restartPolicyRules",
    "livenessProbe", "readinessProbe", "startupProbe", "lifecycle",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class PodView:
    """What a container's rules need to know of its pod."""

    volumes: Mapping[str, Obj]
    claims: frozenset[str] = frozenset()
    grace_seconds: int | None = None
    restart_policy: str = "Always"
    host_users: bool = True


def default_container(container: Obj) -> None:
    """Defaults of a container of any sort, but for its resources."""
    for port in container.get("ports") or []:
        put_default(port, "protocol", "TCP")
    env.default_env(container)
    if container.get("resources") is None:
        container["resources"] = {}
    for name in probes.PROBES:
        if container.get(name) is not None:
            probes.default_probe(container[name])
    if container.get("lifecycle") is not None:
        probes.default_lifecycle(container["lifecycle"])
    put_default(container, "terminationMessagePath", TERMINATION_LOG)
    put_default(container, "terminationMessagePolicy", "File")
    put_default(container, "imagePullPolicy", "Always" if is_latest(container.get("image", "")) else "IfNotPresent")
    security = container.get("securityContext")
    if security and security.get("procMount") == "":
        security["procMount"] = "Default"


def validate_containers(containers: list[Obj], path: str, pod: PodView) -> list[Cause]:
    """Causes for the regular containers."""
    if not containers:
        return [required(path)]
    causes: list[Cause] = []
    taken: set[str] = set()
    for position, container in enumerate(containers):
        here = f"{path}[{position}]"
        causes += _common(container, here, pod)
        name = container.get("name", "")
        if name in taken:
            causes.append(duplicate(f"{here}.name", name))
        taken.add(name)
        causes += probes.validate_probes(container, pod.grace_seconds, here)
        causes += _restart_rules(container, here)
    return causes + _host_port_conflicts(enumerate(containers), path)


def validate_init_containers(containers: list[Obj], regular: list[Obj], path: str, pod: PodView) -> list[Cause]:
    """Causes for the init containers, those that keep running (sidecars) included."""
    causes: list[Cause] = []
    taken = {container.get("name", "") for container in regular}
    for position, container in enumerate(containers):
        here = f"{path}[{position}]"
        causes += _common(container, here, pod)
        causes += _restart_rules(container, here)
        name = container.get("name", "")
        if name in taken:
            causes.append(duplicate(f"{here}.name", name))
        elif name:
            taken.add(name)
        causes += _host_port_conflicts([(0, container)], path)
        if container.get("restartPolicy") == "Always":
            causes += probes.validate_probes(container, pod.grace_seconds, here)
        else:
            detail = "may not be set for init containers without restartPolicy=Always"
            for field in ("lifecycle", *probes.PROBES):
                if container.get(field) is not None:
                    causes.append(forbidden(f"{here}.{field}", detail))
    return causes


def validate_ephemeral_containers(
    containers: list[Obj], regular: list[Obj], init: list[Obj], path: str, pod: PodView
) -> list[Cause]:
    """Causes for the ephemeral containers."""
    causes: list[Cause] = []
    others = {container.get("name", "") for container in (*regular, *init)}
    taken = set(others)
    for position, container in enumerate(containers):
        here = f"{path}[{position}]"
        causes += _common(container, here, pod)
        causes += image_whitespace(container, here)
        name, target = container.get("name", ""), container.get("targetContainerName", "")
        if name in taken:
            causes.append(duplicate(f"{here}.name", name))
        taken.add(name)
        if target and target not in others:
            causes.append(not_found(f"{here}.targetContainerName", target))
        detail = "cannot be set for an Ephemeral Container"
        causes += [forbidden(f"{here}.{field}", detail) for field in _EPHEMERAL_FORBIDDEN if container.get(field)]
        for order, mount in enumerate(container.get("volumeMounts") or []):
            for field in ("subPath", "subPathExpr"):
                if mount.get(field):
                    causes.append(forbidden(f"{here}.volumeMounts[{order}].{field}", detail))
    return causes


def image_whitespace(container: Mapping[str, Any], path: str) -> list[Cause]:
    """A rule that holds for pods but not for their templates."""
    image = container.get("image", "")
    if image != image.strip():
        return [invalid(f"{path}.image", image, "must not have leading or trailing whitespace")]
    return []


def _common(container: Obj, path: str, pod: PodView) -> list[Cause]:
    name = container.get("name")
    causes: list[Cause] = []
    if not name:
        causes.append(required(f"{path}.name"))
    else:
        causes += [invalid(f"{path}.name", name, error) for error in dns_label_errors(name)]
    if not container.get("image"):
        causes.append(required(f"{path}.image"))
    causes += one_of(container.get("terminationMessagePolicy"), f"{path}.terminationMessagePolicy", _MESSAGE_POLICIES)
    for field, check in _LISTS:
        if container.get(field):
            causes += check(container[field], f"{path}.{field}")
    if container.get("volumeMounts") or container.get("volumeDevices"):
        causes += mounts.validate_mounts(container, pod.volumes, path)
    causes += one_of(container.get("imagePullPolicy"), f"{path}.imagePullPolicy", _PULL_POLICIES)
    if container.get("resources"):
        causes += resources.validate_requirements(container["resources"], f"{path}.resources", pod.claims)
    if container.get("resizePolicy"):
        causes += _resize_policy(container["resizePolicy"], f"{path}.resizePolicy", pod.restart_policy)
    if container.get("securityContext"):
        causes += validate_container_security(container["securityContext"], f"{path}.securityContext", pod.host_users)
    return causes


def _ports(ports: list[Obj], path: str) -> list[Cause]:
    causes: list[Cause] = []
    taken: set[str] = set()
    for position, port in enumerate(ports):
        here = f"{path}[{position}]"
        name = port.get("name")
        if name:
            errors = port_name_errors(name)
            causes += [invalid(f"{here}.name", name, error) for error in errors]
            if not errors and name in taken:
                causes.append(duplicate(f"{here}.name", name))
            taken.add(name)
        number = port.get("containerPort", 0)
        if number == 0:
            causes.append(required(f"{here}.containerPort"))
        else:
            causes += [invalid(f"{here}.containerPort", number, error) for error in port_number_errors(number)]
        host = port.get("hostPort", 0)
        if host:
            causes += [invalid(f"{here}.hostPort", host, error) for error in port_number_errors(host)]
        causes += one_of(port.get("protocol"), f"{here}.protocol", PROTOCOLS)
    return causes


_LISTS: tuple[tuple[str, Callable[[list[Obj], str], list[Cause]]], ...] = (
    ("ports", _ports),
    ("env", env.validate_env),
    ("envFrom", env.validate_env_from),
)


def _host_port_conflicts(containers: Any, path: str) -> list[Cause]:
    causes: list[Cause] = []
    taken: set[str] = set()
    for position, container in containers:
        for order, port in enumerate(container.get("ports") or []):
            if not port.get("hostPort"):
                continue
            text = f"{port.get('protocol', '')}/{port.get('hostIP', '')}/{port['hostPort']}"
            if text in taken:
                causes.append(duplicate(f"{path}[{position}].ports[{order}].hostPort", text))
            taken.add(text)
    return causes


def _resize_policy(policies: list[Obj], path: str, restart_policy: str) -> list[Cause]:
    causes: list[Cause] = []
    taken: set[str] = set()
    for position, policy in enumerate(policies):
        name, restart = policy.get("resourceName", ""), policy.get("restartPolicy", "")
        if name in taken:
            causes.append(duplicate(f"{path}[{position}]", name))
        taken.add(name)
        causes += one_of(name, path, ("cpu", "memory"))
        causes += one_of(restart, path, _RESIZE_POLICIES)
        if restart_policy == "Never" and restart != "NotRequired":
            causes.append(invalid(path, restart, "must be 'NotRequired' when `restartPolicy` is 'Never'"))
    return causes


def _restart_rules(container: Obj, path: str) -> list[Cause]:
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or []
    causes: list[Cause] = []
    if policy is not None:
        causes += optional_one_of(policy, f"{path}.restartPolicy", RESTART_POLICIES)
    elif rules:
        causes.append(required(f"{path}.restartPolicy", "must specify restartPolicy when restart rules are used"))
    if len(rules) > 20:
        causes.append(invalid(f"{path}.restartPolicyRules", len(rules), "must have at most 20 rules"))
    for position, rule in enumerate(rules):
        causes += _restart_rule(rule, f"{path}.restartPolicyRules[{position}]")
    return causes


def _restart_rule(rule: Obj, path: str) -> list[Cause]:
    causes = optional_one_of(rule.get("action", ""), f"{path}.action", ("Restart", "RestartAllContainers"))
    exit_codes = rule.get("exitCodes")
    if exit_codes is None:
        return [*causes, required(f"{path}.exitCodes", "must be specified")]
    operator = exit_codes.get("operator", "")
    if operator not in ("In", "NotIn"):
        causes.append(not_supported(f"{path}.exitCodes.operator", operator, ("In", "NotIn")))
    if len(exit_codes.get("values") or []) > 255:
        causes.append(invalid(f"{path}.exitCodes.values", exit_codes["values"], "must have at most 255 values"))
    return causes
