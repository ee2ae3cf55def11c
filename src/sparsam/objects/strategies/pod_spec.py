"""Pod specs, in pods and in the templates of workloads: defaults and validation.

For strategies of kinds that carry a template: `default_pod_template`, `validate_pod_template`,
`template_warnings` (in `pod_warnings`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import duplicate, forbidden, invalid, required
from sparsam.objects.names import (
    dns_label_errors,
    dns_subdomain_errors,
    qualified_name_errors,
    validate_annotations,
    validate_labels,
)
from sparsam.objects.strategies import containers, resources
from sparsam.objects.strategies.affinity import validate_affinity, validate_spread, validate_tolerations
from sparsam.objects.strategies.common import MAX_INT32, inclusive, ip_causes, one_of, put_default, text_causes
from sparsam.objects.strategies.pod_warnings import template_warnings
from sparsam.objects.strategies.security_context import validate_pod_security
from sparsam.objects.strategies.volumes import default_volume, validate_volumes
from sparsam.objects.strategy import Obj

__all__ = [
    "default_pod_spec",
    "default_pod_template",
    "template_warnings",
    "validate_pod_spec",
    "validate_pod_template",
]

GRACE_SECONDS = 30
_RESTART_POLICIES = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")


def default_pod_template(template: Obj) -> None:
    """Defaults of a pod template (`spec.template` of a workload)."""
    if template.get("spec") is None:
        template["spec"] = {}
    default_pod_spec(template["spec"])


def default_pod_spec(spec: Obj) -> None:
    """Defaults that pods and templates share; a pod has more (`pod`)."""
    put_default(spec, "dnsPolicy", "ClusterFirst")
    put_default(spec, "restartPolicy", "Always")
    put_default(spec, "schedulerName", "default-scheduler")
    if spec.get("securityContext") is None:
        spec["securityContext"] = {}
    if spec.get("terminationGracePeriodSeconds") is None:
        spec["terminationGracePeriodSeconds"] = GRACE_SECONDS
    # The older name of the account is still written, so that older clients read it.
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account
    for volume in spec.get("volumes") or []:
        default_volume(volume)
    for field in _CONTAINER_LISTS:
        for container in spec.get(field) or []:
            containers.default_container(container)
    if spec.get("hostNetwork"):
        _default_host_ports(spec)


def _default_host_ports(spec: Obj) -> None:
    for field in ("containers", "initContainers"):
        for container in spec.get(field) or []:
            for port in container.get("ports") or []:
                if not port.get("hostPort") and port.get("containerPort"):
                    port["hostPort"] = port["containerPort"]


def validate_pod_template(template: Obj | None, path: str) -> list[Cause]:
    """Causes for a pod template at `path` (such as `spec.template`)."""
    template = template or {}
    meta = template.get("metadata") or {}
    causes = validate_labels(meta.get("labels"), f"{path}.labels")
    causes += validate_annotations(meta.get("annotations"), f"{path}.annotations")
    spec = template.get("spec") or {}
    causes += validate_pod_spec(spec, f"{path}.spec")
    if spec.get("ephemeralContainers"):
        causes.append(forbidden(f"{path}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template"))
    return causes


def validate_pod_spec(
    spec: Obj, path: str, meta: Mapping[str, Any] | None = None, *, is_pod: bool = False
) -> list[Cause]:
    """Causes for a pod spec, in upstream's order. `meta` is that of the pod; a template has none."""
    grace = spec.get("terminationGracePeriodSeconds")
    causes: list[Cause] = []
    if grace is None:
        causes.append(required(f"{path}.terminationGracePeriodSeconds"))
    volumes, found = validate_volumes(spec.get("volumes") or [], f"{path}.volumes", meta)
    causes += found
    claims = spec.get("resourceClaims") or []
    if claims:
        causes += _resource_claims(claims, f"{path}.resourceClaims")
    pod = containers.PodView(
        volumes=volumes,
        claims=frozenset(claim.get("name", "") for claim in claims),
        grace_seconds=grace,
        restart_policy=spec.get("restartPolicy", ""),
        host_users=spec.get("hostUsers") is not False,
    )
    causes += _containers(spec, path, pod)
    if spec.get("hostNetwork"):
        causes += _host_network_ports(spec, path, is_pod)
    causes += one_of(spec.get("restartPolicy"), f"{path}.restartPolicy", _RESTART_POLICIES)
    causes += one_of(spec.get("dnsPolicy"), f"{path}.dnsPolicy", _DNS_POLICIES)
    if spec.get("nodeSelector"):
        causes += validate_labels(spec["nodeSelector"], f"{path}.nodeSelector")
    if spec.get("securityContext"):
        causes += validate_pod_security(spec["securityContext"], spec, f"{path}.securityContext")
    if spec.get("affinity"):
        causes += validate_affinity(spec["affinity"], f"{path}.affinity")
    causes += _dns_config(spec, f"{path}.dnsConfig")
    causes += _gates(spec, path)
    if spec.get("topologySpreadConstraints"):
        causes += validate_spread(spec["topologySpreadConstraints"], f"{path}.topologySpreadConstraints")
    if spec.get("hostUsers") is False:
        causes += _host_users(spec, path)
    return causes + _simple_fields(spec, path)


def _containers(spec: Obj, path: str, pod: containers.PodView) -> list[Cause]:
    regular, init = spec.get("containers") or [], spec.get("initContainers") or []
    ephemeral = spec.get("ephemeralContainers") or []
    causes = containers.validate_containers(regular, f"{path}.containers", pod)
    if init:
        causes += containers.validate_init_containers(init, regular, f"{path}.initContainers", pod)
    if ephemeral:
        here = f"{path}.ephemeralContainers"
        causes += containers.validate_ephemeral_containers(ephemeral, regular, init, here, pod)
    if spec.get("resources"):
        causes += _pod_resources(spec, f"{path}.resources")
    return causes


def _pod_resources(spec: Obj, path: str) -> list[Cause]:
    wanted = spec["resources"]
    causes: list[Cause] = []
    if wanted.get("claims"):
        causes.append(forbidden(f"{path}.claims", "claims cannot be set for Resources at pod-level"))
    causes += resources.validate_requirements({**wanted, "claims": None}, path)
    totals: dict[str, Any] = {}
    for container in spec.get("containers") or []:
        for name, value in ((container.get("resources") or {}).get("requests") or {}).items():
            totals[name] = totals.get(name, 0) + resources.quantity(value)
    requests, limits = wanted.get("requests") or {}, wanted.get("limits") or {}
    for name, total in totals.items():
        if total > resources.quantity(requests.get(name, "0")):
            detail = f"must be greater than or equal to aggregate container requests of {total}"
            causes.append(invalid(f"{path}.requests[{name}]", str(requests.get(name, "0")), detail))
    for position, container in enumerate(spec.get("containers") or []):
        for name, value in ((container.get("resources") or {}).get("limits") or {}).items():
            if name in limits and resources.quantity(value) > resources.quantity(limits[name]):
                detail = f"must be less than or equal to pod limits of {limits[name]}"
                causes.append(invalid(f"{path}.containers[{position}][{name}].limits", str(value), detail))
    return causes


def _resource_claims(claims: list[Obj], path: str) -> list[Cause]:
    causes: list[Cause] = []
    taken: set[str] = set()
    for position, claim in enumerate(claims):
        here, name = f"{path}[{position}]", claim.get("name", "")
        if not name:
            causes.append(required(f"{here}.name"))
        elif name in taken:
            causes.append(duplicate(f"{here}.name", name))
        else:
            causes += text_causes(name, f"{here}.name", dns_label_errors)
            taken.add(name)
        sources = [
            field for field in ("resourceClaimName", "resourceClaimTemplateName") if claim.get(field) is not None
        ]
        if len(sources) == 2:
            detail = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            causes.append(invalid(here, claim, detail))
        if not sources:
            detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            causes.append(invalid(here, claim, detail))
        for field in sources:
            causes += text_causes(claim[field], f"{here}.{field}", dns_subdomain_errors)
    return causes


def _host_network_ports(spec: Obj, path: str, is_pod: bool) -> list[Cause]:
    causes: list[Cause] = []
    for position, container in enumerate(spec.get("containers") or []):
        for order, port in enumerate(container.get("ports") or []):
            host = port.get("hostPort", 0)
            if (is_pod or host) and host != port.get("containerPort", 0):
                here = f"{path}.containers[{position}].ports[{order}].hostPort"
                causes.append(invalid(here, host, "must match `containerPort` when `hostNetwork` is true"))
    return causes


def _dns_config(spec: Obj, path: str) -> list[Cause]:
    config = spec.get("dnsConfig")
    if spec.get("dnsPolicy") == "None":
        if config is None:
            return [required(path, "must provide `dnsConfig` when `dnsPolicy` is None")]
        if not config.get("nameservers"):
            detail = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            return [required(f"{path}.nameservers", detail)]
    if config is None:
        return []
    servers, searches = config.get("nameservers") or [], config.get("searches") or []
    causes: list[Cause] = []
    if len(servers) > 3:
        causes.append(invalid(f"{path}.nameservers", servers, "must not have more than 3 nameservers"))
    for position, server in enumerate(servers):
        causes += ip_causes(server, f"{path}.nameservers[{position}]")
    causes += _searches(searches, f"{path}.searches")
    for position, option in enumerate(config.get("options") or []):
        if not option.get("name"):
            causes.append(required(f"{path}.options[{position}]", "must not be empty"))
    return causes


def _searches(searches: list[str], path: str) -> list[Cause]:
    causes: list[Cause] = []
    if len(searches) > 32:
        causes.append(invalid(path, searches, "must not have more than 32 search paths"))
    if len(" ".join(searches)) > 2048:
        detail = "must not have more than 2048 characters (including spaces) in the search list"
        causes.append(invalid(path, searches, detail))
    for position, search in enumerate(searches):
        # An underscore is accepted, and a dot at the end or alone.
        plain = search.removesuffix(".").replace("_", "a")
        if plain:
            here = f"{path}[{position}]"
            causes += [invalid(here, search.removesuffix("."), error) for error in dns_subdomain_errors(plain)]
    return causes


def _gates(spec: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    for position, gate in enumerate(spec.get("readinessGates") or []):
        here = f"{path}.readinessGates[{position}].conditionType"
        causes += text_causes(gate.get("conditionType", ""), here, qualified_name_errors)
    taken: set[str] = set()
    for position, gate in enumerate(spec.get("schedulingGates") or []):
        here, name = f"{path}.schedulingGates[{position}]", gate.get("name", "")
        causes += text_causes(name, here, qualified_name_errors)
        if name in taken:
            causes.append(duplicate(here, name))
        taken.add(name)
    return causes


def _host_users(spec: Obj, path: str) -> list[Cause]:
    # Upstream spells two of these fields with a capital.
    fields = (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC"))
    return [forbidden(f"{path}.{shown}", "when `hostUsers` is false") for name, shown in fields if spec.get(name)]


_TEXT_FIELDS = (
    ("serviceAccountName", dns_subdomain_errors),
    ("nodeName", dns_subdomain_errors),
)
_LATER_TEXT_FIELDS = (("hostname", dns_label_errors), ("subdomain", dns_label_errors))
_CLASS_FIELDS = (("priorityClassName", dns_subdomain_errors), ("runtimeClassName", dns_subdomain_errors))


def _simple_fields(spec: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    for name, rule in _TEXT_FIELDS:
        if spec.get(name):
            causes += text_causes(spec[name], f"{path}.{name}", rule)
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= MAX_INT32:
        causes.append(invalid(f"{path}.activeDeadlineSeconds", deadline, inclusive(1, MAX_INT32)))
    for name, rule in _LATER_TEXT_FIELDS:
        if spec.get(name):
            causes += text_causes(spec[name], f"{path}.{name}", rule)
    if spec.get("tolerations"):
        causes += validate_tolerations(spec["tolerations"], f"{path}.tolerations")
    causes += _host_aliases(spec.get("hostAliases") or [], f"{path}.hostAliases")
    for name, rule in _CLASS_FIELDS:
        if spec.get(name):
            causes += text_causes(spec[name], f"{path}.{name}", rule)
    if spec.get("preemptionPolicy") is not None:
        policies = ("PreemptLowerPriority", "Never")
        causes += one_of(spec["preemptionPolicy"], f"{path}.preemptionPolicy", policies)
    if spec.get("overhead"):
        causes += resources.validate_requirements({"limits": spec["overhead"]}, f"{path}.overhead")
    if spec.get("os") is not None:
        causes += one_of(spec["os"].get("name"), f"{path}.os.name", ("linux", "windows"))
    return causes


def _host_aliases(aliases: list[Obj], path: str) -> list[Cause]:
    causes: list[Cause] = []
    for position, alias in enumerate(aliases):
        here = f"{path}[{position}]"
        causes += ip_causes(alias.get("ip", ""), f"{here}.ip")
        for order, hostname in enumerate(alias.get("hostnames") or []):
            causes += text_causes(hostname, f"{here}.hostnames[{order}]", dns_subdomain_errors)
    return causes
