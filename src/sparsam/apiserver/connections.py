"""What a client asks of a stream or a proxy, as the object that admission sees: PodExecOptions and its like. Pure.

Source: the API reference of these kinds; their fields come from the query.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sparsam.apiserver.routes import Route
from sparsam.objects.decode import expected_type
from sparsam.objects.kinds import Resource
from sparsam.objects.strategy import Obj

_KINDS = {"exec": "PodExecOptions", "attach": "PodAttachOptions", "portforward": "PodPortForwardOptions"}
_FLAGS = ("stdin", "stdout", "stderr", "tty")


def kind_of(resource: Resource, subresource: str) -> tuple[str, str, str]:
    """(group, version, kind) of the object of a request on a resource or a part of it."""
    if subresource == "proxy":
        return "", "v1", f"{resource.kind}ProxyOptions"
    if subresource in _KINDS:
        return "", "v1", _KINDS[subresource]
    return expected_type(resource, subresource).kind


def options(route: Route, resource: Resource, query: Sequence[tuple[str, str]]) -> Obj:
    """The options of a connection."""
    group, version, kind = kind_of(resource, route.subresource)
    told: dict[str, Any] = {"kind": kind, "apiVersion": f"{group}/{version}" if group else version}
    given = dict(reversed(query))
    if route.subresource == "proxy":
        return told | {"path": f"/{route.rest}" if route.rest else ""}
    if route.subresource == "portforward":
        texts = [text for name, value in query if name == "ports" for text in value.split(",")]
        return told | {"ports": [int(text) for text in texts if text.isdigit()]}
    told |= {name: True for name in _FLAGS if given.get(name, "").lower() in ("true", "1")}
    if given.get("container"):
        told["container"] = given["container"]
    if route.subresource == "exec":
        told["command"] = [value for name, value in query if name == "command"]
    return told
