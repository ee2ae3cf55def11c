"""APIServices: which server answers for a group and version."""

from __future__ import annotations

from sparsam.errors import Cause
from sparsam.objects.fields import invalid, required
from sparsam.objects.names import dns1035_label_errors, dns_subdomain_errors
from sparsam.objects.strategies.common import inclusive, text_causes
from sparsam.objects.strategies.webhook_clients import SERVICE_PORT
from sparsam.objects.strategy import Obj, Strategy

_MAX_GROUP_PRIORITY = 20_000
_MAX_VERSION_PRIORITY = 1000


def default_service(api: Obj) -> None:
    """Extension servers answer on the port of HTTPS."""
    service = (api.get("spec") or {}).get("service")
    if service is not None and service.get("port") is None:
        service["port"] = SERVICE_PORT


def prepare_create(api: Obj) -> None:
    """Availability is the server's to find out."""
    api["status"] = {}


def validate(api: Obj) -> list[Cause]:
    """Causes for an APIService."""
    spec, name = api.get("spec") or {}, api["metadata"].get("name", "")
    group, version = spec.get("group", ""), spec.get("version", "")
    causes: list[Cause] = []
    if name and name != f"{version}.{group}":
        causes.append(invalid("metadata.name", name, 'must be `spec.version+"."+spec.group`'))
    if group:
        causes += text_causes(group, "spec.group", dns_subdomain_errors)
    causes += text_causes(version, "spec.version", dns1035_label_errors)
    for field, limit in (("groupPriorityMinimum", _MAX_GROUP_PRIORITY), ("versionPriority", _MAX_VERSION_PRIORITY)):
        value = spec.get(field) or 0
        if not 0 < value <= limit:
            causes.append(invalid(f"spec.{field}", value, f"must be positive and less than {limit}"))
    if spec.get("service") is None:
        return causes + _local(spec)
    if spec.get("insecureSkipTLSVerify") and spec.get("caBundle"):
        causes.append(invalid("spec.insecureSkipTLSVerify", True, "may not be true if caBundle is present"))
    return causes + _service(spec["service"], "spec.service")


def _local(spec: Obj) -> list[Cause]:
    causes: list[Cause] = []
    if spec.get("caBundle"):
        causes.append(
            invalid("spec.caBundle", f"{len(spec['caBundle'])} bytes", "local APIServices may not have a caBundle")
        )
    if spec.get("insecureSkipTLSVerify"):
        detail = "local APIServices may not have insecureSkipTLSVerify"
        causes.append(invalid("spec.insecureSkipTLSVerify", True, detail))
    return causes


def _service(service: Obj, path: str) -> list[Cause]:
    causes = [required(f"{path}.{name}") for name in ("namespace", "name") if not service.get(name)]
    port = service.get("port", SERVICE_PORT)
    if not 1 <= port <= 65535:
        causes.append(invalid(f"{path}.port", port, f"port is not valid: {inclusive(1, 65535)}"))
    return causes


STRATEGIES = {
    ("apiregistration.k8s.io", "APIService"): Strategy(
        default=default_service,
        prepare_create=prepare_create,
        validate=validate,
        validate_update=lambda new, _old: validate(new),
        name_rule="path-segment",
        allow_unconditional_update=False,
    )
}
