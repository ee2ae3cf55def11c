"""Ingresses and IngressClasses."""

from __future__ import annotations

from sparsam.errors import Cause
from sparsam.objects.fields import forbidden, invalid, not_supported, required, too_long
from sparsam.objects.names import (
    dns_label_errors,
    dns_subdomain_errors,
    path_segment_errors,
    validate_immutable,
    wildcard_subdomain_errors,
)
from sparsam.objects.strategies.common import ip_causes, parse_ip, port_causes, put_default, text_causes
from sparsam.objects.strategies.domain_path import validate_domain_path
from sparsam.objects.strategy import Obj, Strategy

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_PATH_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
_PATH_ENDINGS = ("/..", "/.")
_SCOPES = ("Cluster", "Namespace")
_CONTROLLER_MAX = 250
_ANY = "*"


def prepare_create(ingress: Obj) -> None:
    """A new ingress has no address."""
    ingress["status"] = {"loadBalancer": {}}


def validate(ingress: Obj) -> list[Cause]:
    """Causes for a new Ingress; the class stands in its field or in the old annotation, not in both."""
    class_name = (ingress["metadata"].get("annotations") or {}).get(CLASS_ANNOTATION)
    causes: list[Cause] = []
    if class_name is not None and (ingress.get("spec") or {}).get("ingressClassName") is not None:
        path = f"metadata.annotations[{CLASS_ANNOTATION}]"
        causes.append(invalid(path, class_name, "can not be set when the class field is also set"))
    return causes + _spec(ingress.get("spec") or {})


def _spec(spec: Obj) -> list[Cause]:
    rules, backend = spec.get("rules"), spec.get("defaultBackend")
    causes: list[Cause] = []
    if not rules and backend is None:
        causes.append(invalid("spec", rules, "either `defaultBackend` or `rules` must be specified"))
    if backend is not None:
        causes += _backend(backend, "spec.defaultBackend")
    for position, rule in enumerate(rules or []):
        causes += _rule(rule, f"spec.rules[{position}]")
    for position, tls in enumerate(spec.get("tls") or []):
        causes += _tls(tls, f"spec.tls[{position}]")
    if spec.get("ingressClassName") is not None:
        causes += text_causes(spec["ingressClassName"], "spec.ingressClassName", dns_subdomain_errors)
    return causes


def _host(host: str, path: str) -> list[Cause]:
    return text_causes(host, path, wildcard_subdomain_errors if _ANY in host else dns_subdomain_errors)


def _rule(rule: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    host = rule.get("host")
    if host:
        if parse_ip(host):
            causes.append(invalid(f"{path}.host", host, "must be a DNS name, not an IP address"))
        causes += _host(host, f"{path}.host")
    if rule.get("http") is None:
        return causes
    paths = rule["http"].get("paths") or []
    if not paths:
        causes.append(required(f"{path}.http.paths"))
    for position, each in enumerate(paths):
        causes += _http_path(each, f"{path}.http.paths[{position}]")
    return causes


def _tls(tls: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    for position, host in enumerate(tls.get("hosts") or []):
        causes += _host(host, f"{path}.hosts[{position}]")
    if tls.get("secretName"):
        causes += text_causes(tls["secretName"], f"{path}.secretName", dns_subdomain_errors)
    return causes


def _http_path(entry: Obj, path: str) -> list[Cause]:
    kind, location, here = entry.get("pathType"), entry.get("path", ""), f"{path}.path"
    causes: list[Cause] = []
    if kind is None:
        causes.append(required(f"{path}.pathType", "pathType must be specified"))
    elif kind in ("Exact", "Prefix"):
        if not location.startswith("/"):
            causes.append(invalid(here, location, "must be an absolute path"))
        causes += _segments(location, here)
    elif kind == "ImplementationSpecific":
        if location and not location.startswith("/"):
            causes.append(invalid(here, location, "must be an absolute path"))
    else:
        causes.append(not_supported(f"{path}.pathType", kind, _PATH_TYPES))
    return causes + _backend(entry.get("backend") or {}, f"{path}.backend")


def _segments(location: str, path: str) -> list[Cause]:
    found = [f"must not contain '{text}'" for text in _PATH_SEQUENCES if text in location]
    found += [f"cannot end with '{text}'" for text in _PATH_ENDINGS if location.endswith(text)]
    return [invalid(path, location, detail) for detail in found]


def _backend(backend: Obj, path: str) -> list[Cause]:
    service, resource = backend.get("service"), backend.get("resource")
    if resource is not None and service is not None:
        return [invalid(path, "", "cannot set both resource and service backends")]
    if resource is not None:
        return _local_reference(resource, f"{path}.resource")
    if service is None:
        return [invalid(path, "", "resource or service backend is required")]
    name, port = service.get("name"), service.get("port") or {}
    causes = text_causes(name, f"{path}.service.name", dns_label_errors) if name else [required(f"{path}.service.name")]
    if port.get("name") and port.get("number"):
        causes.append(invalid(path, "", "cannot set both port name & port number"))
    elif port.get("name"):
        causes += port_causes(port["name"], f"{path}.service.port.name")
    elif port.get("number"):
        causes += port_causes(port["number"], f"{path}.service.port.number")
    else:
        causes.append(required(path, "port name or number is required"))
    return causes


def _local_reference(reference: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    if reference.get("apiGroup"):
        causes += text_causes(reference["apiGroup"], f"{path}.apiGroup", dns_subdomain_errors)
    for name in ("kind", "name"):
        value = reference.get(name, "")
        if value:
            causes += text_causes(value, f"{path}.{name}", path_segment_errors)
        else:
            causes.append(required(f"{path}.{name}", f"{name} is required"))
    return causes


def validate_update(ingress: Obj, _old: Obj) -> list[Cause]:
    """Causes for a changed Ingress."""
    return _spec(ingress.get("spec") or {})


def validate_status(ingress: Obj, _old: Obj) -> list[Cause]:
    """Causes for the addresses in a changed status."""
    causes: list[Cause] = []
    entries = ((ingress.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    for position, entry in enumerate(entries):
        path = f"status.loadBalancer.ingress[{position}]"
        if entry.get("ip"):
            causes += ip_causes(entry["ip"], f"{path}.ip")
        host = entry.get("hostname")
        if host:
            causes += text_causes(host, f"{path}.hostname", dns_subdomain_errors)
            if parse_ip(host):
                causes.append(invalid(f"{path}.hostname", host, "must be a DNS name, not an IP address"))
    return causes


def warnings(ingress: Obj, _old: Obj | None) -> list[str]:
    """The annotation for the class is out of use."""
    if CLASS_ANNOTATION not in (ingress["metadata"].get("annotations") or {}):
        return []
    return [f"annotation \"{CLASS_ANNOTATION}\" is deprecated, please use 'spec.ingressClassName' instead"]


def default_class(ingress_class: Obj) -> None:
    """Parameters are those of the whole cluster."""
    parameters = (ingress_class.get("spec") or {}).get("parameters")
    if parameters is not None:
        put_default(parameters, "scope", "Cluster")


def validate_class(ingress_class: Obj) -> list[Cause]:
    """Causes for an IngressClass."""
    spec = ingress_class.get("spec") or {}
    controller = spec.get("controller", "")
    causes = [too_long("spec.controller", _CONTROLLER_MAX)] if len(controller) > _CONTROLLER_MAX else []
    causes += validate_domain_path(controller, "spec.controller")
    if spec.get("parameters") is not None:
        causes += _parameters(spec["parameters"], "spec.parameters")
    return causes


def _parameters(parameters: Obj, path: str) -> list[Cause]:
    causes = _local_reference(parameters, path)
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    if scope is None:
        return [*causes, required(f"{path}.scope")]
    if scope not in _SCOPES:
        causes.append(not_supported(f"{path}.scope", scope, _SCOPES))
    if scope == "Namespace":
        if not namespace:
            detail = "`parameters.scope` is set to 'Namespace'"
            causes.append(required(f"{path}.namespace", detail))
        else:
            causes += text_causes(namespace, f"{path}.namespace", dns_label_errors)
    if scope == "Cluster" and namespace is not None:
        causes.append(forbidden(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'"))
    return causes


def validate_class_update(ingress_class: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed IngressClass: its controller stays."""
    new, before = ingress_class.get("spec") or {}, old.get("spec") or {}
    causes = validate_immutable(new.get("controller"), before.get("controller"), "spec.controller")
    if new.get("parameters") is not None:
        causes += _parameters(new["parameters"], "spec.parameters")
    return causes


STRATEGIES = {
    ("networking.k8s.io", "Ingress"): Strategy(
        prepare_create=prepare_create,
        validate=validate,
        validate_update=validate_update,
        validate_status=validate_status,
        warnings=warnings,
        has_generation=True,
    ),
    ("networking.k8s.io", "IngressClass"): Strategy(
        default=default_class,
        validate=validate_class,
        validate_update=validate_class_update,
        has_status=False,
        has_generation=True,
    ),
}
