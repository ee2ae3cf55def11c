"""Devices: DeviceClass, ResourceClaim, ResourceClaimTemplate, ResourceSlice. The CEL in selectors is not compiled."""

from __future__ import annotations

from sparsam.errors import Cause
from sparsam.objects.fields import duplicate, invalid, required, too_many
from sparsam.objects.names import dns_label_errors, dns_subdomain_errors, validate_immutable
from sparsam.objects.strategies.common import MAX_INT32, one_of, text_causes
from sparsam.objects.strategies.storage_classes import driver_name
from sparsam.objects.strategy import Obj, Strategy

GROUP = "resource.k8s.io"
_MAX_REQUESTS = 32
_MAX_SELECTORS = 32
_MAX_DEVICES = 128
_MODES = ("All", "ExactCount")


def default_claim(claim: Obj) -> None:
    """One device for each request."""
    _default_spec(claim.setdefault("spec", {}))


def default_template(template: Obj) -> None:
    """The claims made from a template have the same defaults."""
    _default_spec(template.setdefault("spec", {}).setdefault("spec", {}))


def _default_spec(spec: Obj) -> None:
    for request in (spec.get("devices") or {}).get("requests") or []:
        if request.get("exactly") is not None:
            _default_request(request["exactly"])
        for choice in request.get("firstAvailable") or []:
            _default_request(choice)


def _default_request(request: Obj) -> None:
    if not request.get("allocationMode"):
        request["allocationMode"] = "ExactCount"
    if request["allocationMode"] == "ExactCount" and not request.get("count"):
        request["count"] = 1
    for toleration in request.get("tolerations") or []:
        if not toleration.get("operator"):
            toleration["operator"] = "Equal"


def prepare_claim(claim: Obj) -> None:
    """A new claim has no device."""
    claim["status"] = {}


def validate_claim(claim: Obj) -> list[Cause]:
    """Causes for a ResourceClaim."""
    return _devices((claim.get("spec") or {}).get("devices") or {}, "spec.devices")


def validate_claim_update(claim: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed ResourceClaim: what it asks for stays."""
    return validate_immutable(claim.get("spec"), old.get("spec"), "spec") + validate_claim(claim)


def validate_template(template: Obj) -> list[Cause]:
    """Causes for a ResourceClaimTemplate."""
    spec = (template.get("spec") or {}).get("spec") or {}
    return _devices(spec.get("devices") or {}, "spec.spec.devices")


def validate_template_update(template: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed ResourceClaimTemplate: all of it stays."""
    return validate_immutable(template.get("spec"), old.get("spec"), "spec")


def _devices(devices: Obj, path: str) -> list[Cause]:
    requests, here = devices.get("requests") or [], f"{path}.requests"
    causes = [too_many(here, len(requests), _MAX_REQUESTS)] if len(requests) > _MAX_REQUESTS else []
    names: set[str] = set()
    for position, request in enumerate(requests):
        where, name = f"{here}[{position}]", request.get("name", "")
        causes += text_causes(name, f"{where}.name", dns_label_errors) if name else [required(f"{where}.name")]
        if name and name in names:
            causes.append(duplicate(f"{where}.name", name))
        names.add(name)
        causes += _choice(request, where)
    for position, constraint in enumerate(devices.get("constraints") or []):
        causes += _references(constraint, names, f"{path}.constraints[{position}].requests")
    for position, config in enumerate(devices.get("config") or []):
        where = f"{path}.config[{position}]"
        causes += _references(config, names, f"{where}.requests")
        causes += _configuration(config, where)
    return causes


def _choice(request: Obj, path: str) -> list[Cause]:
    exactly, choices = request.get("exactly"), request.get("firstAvailable") or []
    if (exactly is None) == (not choices):
        detail = "exactly one of `exactly` or `firstAvailable` is required"
        return [required(path, detail) if exactly is None else invalid(path, request, detail)]
    if exactly is not None:
        return _exact(exactly, f"{path}.exactly")
    causes: list[Cause] = []
    for position, choice in enumerate(choices):
        here, name = f"{path}.firstAvailable[{position}]", choice.get("name", "")
        causes += text_causes(name, f"{here}.name", dns_label_errors) if name else [required(f"{here}.name")]
        causes += _exact(choice, here)
    return causes


def _exact(request: Obj, path: str) -> list[Cause]:
    name, here = request.get("deviceClassName"), f"{path}.deviceClassName"
    causes = text_causes(name, here, dns_subdomain_errors) if name else [required(here)]
    causes += _selectors(request.get("selectors") or [], f"{path}.selectors")
    mode, count = request.get("allocationMode"), request.get("count") or 0
    causes += one_of(mode, f"{path}.allocationMode", _MODES)
    if mode == "All" and count:
        causes.append(invalid(f"{path}.count", count, "must not be specified when allocationMode is 'All'"))
    elif mode == "ExactCount" and not 0 < count <= MAX_INT32:
        causes.append(invalid(f"{path}.count", count, "must be greater than zero"))
    return causes


def _selectors(selectors: list[Obj], path: str) -> list[Cause]:
    causes = [too_many(path, len(selectors), _MAX_SELECTORS)] if len(selectors) > _MAX_SELECTORS else []
    for position, selector in enumerate(selectors):
        cel, here = selector.get("cel"), f"{path}[{position}].cel"
        if cel is None:
            causes.append(required(here))
        elif not cel.get("expression"):
            causes.append(required(f"{here}.expression"))
    return causes


def _references(holder: Obj, names: set[str], path: str) -> list[Cause]:
    return [
        invalid(f"{path}[{position}]", name, "must be the name of a request in the claim")
        for position, name in enumerate(holder.get("requests") or [])
        if name.partition("/")[0] not in names
    ]


def _configuration(config: Obj, path: str) -> list[Cause]:
    opaque, here = config.get("opaque"), f"{path}.opaque"
    if opaque is None:
        return [required(here)]
    causes = driver_name(opaque.get("driver", ""), f"{here}.driver")
    if opaque.get("parameters") is None:
        causes.append(required(f"{here}.parameters"))
    return causes


def validate_class(device_class: Obj) -> list[Cause]:
    """Causes for a DeviceClass."""
    spec = device_class.get("spec") or {}
    causes = _selectors(spec.get("selectors") or [], "spec.selectors")
    for position, config in enumerate(spec.get("config") or []):
        causes += _configuration(config, f"spec.config[{position}]")
    return causes


def validate_slice(resource_slice: Obj) -> list[Cause]:
    """Causes for a ResourceSlice."""
    spec = resource_slice.get("spec") or {}
    causes = driver_name(spec.get("driver", ""), "spec.driver")
    causes += _pool(spec.get("pool") or {}, "spec.pool")
    places = [name for name in ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection") if spec.get(name)]
    detail = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
    if not places:
        causes.append(required("spec", detail))
    elif len(places) > 1:
        causes.append(invalid("spec", f"{{{', '.join(f'`{name}`' for name in places)}}}", detail))
    if spec.get("nodeName"):
        causes += text_causes(spec["nodeName"], "spec.nodeName", dns_subdomain_errors)
    devices = spec.get("devices") or []
    if len(devices) > _MAX_DEVICES:
        causes.append(too_many("spec.devices", len(devices), _MAX_DEVICES))
    names: set[str] = set()
    for position, device in enumerate(devices):
        here, name = f"spec.devices[{position}].name", device.get("name", "")
        causes += text_causes(name, here, dns_label_errors) if name else [required(here)]
        if name and name in names:
            causes.append(duplicate(here, name))
        names.add(name)
    return causes


def _pool(pool: Obj, path: str) -> list[Cause]:
    name, count, generation = pool.get("name"), pool.get("resourceSliceCount") or 0, pool.get("generation") or 0
    causes: list[Cause] = []
    if not name:
        causes.append(required(f"{path}.name"))
    else:
        for part in name.split("/"):
            causes += text_causes(part, f"{path}.name", dns_subdomain_errors)
    if count <= 0:
        causes.append(invalid(f"{path}.resourceSliceCount", count, "must be greater than zero"))
    if generation < 0:
        causes.append(invalid(f"{path}.generation", generation, "must be greater than or equal to zero"))
    return causes


def validate_slice_update(resource_slice: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed ResourceSlice: its driver, node and pool stay."""
    spec, before = resource_slice.get("spec") or {}, old.get("spec") or {}
    causes = validate_slice(resource_slice)
    for name in ("driver", "nodeName"):
        causes += validate_immutable(spec.get(name), before.get(name), f"spec.{name}")
    pool, old_pool = (each.get("pool") or {} for each in (spec, before))
    return causes + validate_immutable(pool.get("name"), old_pool.get("name"), "spec.pool.name")


STRATEGIES = {
    (GROUP, "DeviceClass"): Strategy(
        validate=validate_class,
        validate_update=lambda new, _old: validate_class(new),
        has_status=False,
        has_generation=True,
    ),
    (GROUP, "ResourceClaim"): Strategy(
        default=default_claim,
        prepare_create=prepare_claim,
        validate=validate_claim,
        validate_update=validate_claim_update,
    ),
    (GROUP, "ResourceClaimTemplate"): Strategy(
        default=default_template,
        validate=validate_template,
        validate_update=validate_template_update,
        has_status=False,
    ),
    (GROUP, "ResourceSlice"): Strategy(
        validate=validate_slice,
        validate_update=validate_slice_update,
        has_status=False,
        has_generation=True,
    ),
}
