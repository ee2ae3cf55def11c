"""Probes and lifecycle handlers of containers: defaults and validation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import forbidden, invalid, required
from sparsam.objects.names import http_header_errors
from sparsam.objects.strategies.common import non_negative, optional_one_of, port_causes, put_default
from sparsam.objects.strategy import Obj

PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")
_DEFAULTS = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}
_NUMBERS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")


def default_probe(probe: Obj) -> None:
    """Timing and handler defaults of a probe."""
    for name, value in _DEFAULTS.items():
        if not probe.get(name):
            probe[name] = value
    default_handler(probe)
    grpc = probe.get("grpc")
    if grpc is not None and grpc.get("service") is None:
        grpc["service"] = ""


def default_handler(handler: Obj) -> None:
    """Path and scheme of an HTTP handler."""
    http = handler.get("httpGet")
    if http is not None:
        put_default(http, "path", "/")
        put_default(http, "scheme", "HTTP")


def default_lifecycle(lifecycle: Obj) -> None:
    """Defaults of both lifecycle hooks."""
    for name in ("postStart", "preStop"):
        if lifecycle.get(name) is not None:
            default_handler(lifecycle[name])


def validate_probes(container: Mapping[str, Any], grace_seconds: int | None, path: str) -> list[Cause]:
    """Causes for the lifecycle and the three probes of a container."""
    causes: list[Cause] = []
    if container.get("lifecycle") is not None:
        causes += _lifecycle(container["lifecycle"], grace_seconds, f"{path}.lifecycle")
    for name in PROBES:
        probe = container.get(name)
        if probe is not None:
            causes += _probe(name, probe, grace_seconds, f"{path}.{name}")
    return causes


def _probe(name: str, probe: Mapping[str, Any], grace_seconds: int | None, path: str) -> list[Cause]:
    causes = _handler(probe, grace_seconds, path, _HANDLERS[:4])
    for number in _NUMBERS:
        causes += non_negative(probe.get(number), f"{path}.{number}")
    grace = probe.get("terminationGracePeriodSeconds")
    grace_path = f"{path}.terminationGracePeriodSeconds"
    if grace is not None and grace <= 0:
        causes.append(invalid(grace_path, grace, "must be greater than 0"))
    if name == "readinessProbe":
        if grace is not None:
            causes.append(invalid(grace_path, grace, "must not be set for readinessProbes"))
    elif probe.get("successThreshold", 0) != 1:
        causes.append(invalid(f"{path}.successThreshold", probe.get("successThreshold", 0), "must be 1"))
    return causes


def _lifecycle(lifecycle: Mapping[str, Any], grace_seconds: int | None, path: str) -> list[Cause]:
    causes: list[Cause] = []
    for name in ("postStart", "preStop"):
        if lifecycle.get(name) is not None:
            causes += _handler(
                lifecycle[name], grace_seconds, f"{path}.{name}", ("exec", "httpGet", "tcpSocket", "sleep")
            )
    return causes


def _handler(handler: Mapping[str, Any], grace_seconds: int | None, path: str, kinds: tuple[str, ...]) -> list[Cause]:
    causes: list[Cause] = []
    seen = False
    for kind in kinds:
        action = handler.get(kind)
        if action is None:
            continue
        if seen:
            causes.append(forbidden(f"{path}.{kind}", "may not specify more than 1 handler type"))
            continue
        seen = True
        causes += _action(kind, action, grace_seconds, f"{path}.{kind}")
    return causes if seen else [required(path, "must specify a handler type")]


def _action(kind: str, action: Mapping[str, Any], grace_seconds: int | None, path: str) -> list[Cause]:
    if kind == "exec":
        return [] if action.get("command") else [required(f"{path}.command")]
    if kind == "httpGet":
        return _http_get(action, path)
    if kind == "sleep":
        return _sleep(action.get("seconds", 0), grace_seconds, path)
    return port_causes(action.get("port", 0), f"{path}.port")


def _http_get(action: Mapping[str, Any], path: str) -> list[Cause]:
    causes = [] if action.get("path") else [required(f"{path}.path")]
    causes += port_causes(action.get("port", 0), f"{path}.port")
    causes += optional_one_of(action.get("scheme", ""), f"{path}.scheme", ("HTTP", "HTTPS"))
    for header in action.get("httpHeaders") or []:
        name = header.get("name", "")
        causes += [invalid(f"{path}.httpHeaders", name, error) for error in http_header_errors(name)]
    return causes


def _sleep(seconds: int, grace_seconds: int | None, path: str) -> list[Cause]:
    if grace_seconds is None or 0 <= seconds <= grace_seconds:
        return []
    detail = f"must be non-negative and less than terminationGracePeriodSeconds ({grace_seconds})"
    return [invalid(path, seconds, detail)]
