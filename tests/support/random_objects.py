"""Objects that obey the schema and nothing else: each field by chance left out, empty or filled."""

from __future__ import annotations

import random
from typing import Any

from sparsam.objects import schema
from sparsam.objects.kinds import Resource

WORDS = (
    "", "a", "x.y", "a.example.com/b", "Bad Value!", "10.0.0.1", "::1", "10.0.0.0/8", "25%", "-5%", "80", "v1",
    "apps/v1", "*", "/", "https://h/x", "https://[h", "* * * * *", "@every 1h", "0-2,5", "a\nb", "\u00e9", "=", "1Gi",
)  # fmt: skip
ENUMS = (
    "Recreate", "RollingUpdate", "OnDelete", "Indexed", "NonIndexed", "Never", "Always", "In", "Exists", "Resource",
    "Object", "Pods", "External", "Utilization", "Cluster", "Namespace", "Namespaced", "Prefix", "IPv4", "IPv6", "FQDN",
    "Webhook", "None", "Limited", "Exempt", "Queue", "Reject", "object", "array", "integer", "JSONPatch", "ExactCount",
    "All", "User", "Group", "ServiceAccount", "True", "map", "Max", "Percent", "FailIndex", "TCP",
)  # fmt: skip
NUMBERS = (0, 1, -1, 2, 80, 443, 3600, 100_001, 2**31 - 1, -(2**31))
QUANTITIES = ("0", "1", "-1", "500m", "1Gi", 2)
ANYTHING = (None, {}, [], {"a": 1}, "text", 1, 1.5, True)
_DEPTH = 9


def random_object(chance: random.Random, resource: Resource) -> dict[str, Any]:
    """An object of this resource with a name."""
    made: dict[str, Any] = _struct(chance, schema.for_resource(resource).name, _DEPTH, ("metadata", "status"))
    meta: dict[str, Any] = {"name": chance.choice(("o", "v1.x", "x.example.com", "10.0.0.1", "Bad Name", "system-x"))}
    if chance.random() < 0.2:
        meta = {"name": "o", "labels": {"a": "b"}, "annotations": {"k": chance.choice(WORDS)}}
    return made | {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta}


def _struct(chance: random.Random, name: str, depth: int, without: tuple[str, ...] = ()) -> dict[str, Any]:
    share = 0.75 if depth > _DEPTH - 3 else 0.4
    fields = schema.definition(name).fields
    return {
        field: _value(chance, entry.type, depth - 1)
        for field, entry in fields.items()
        if field not in without and chance.random() < share
    }


def _value(chance: random.Random, kind: str, depth: int) -> Any:
    if chance.random() < 0.04:
        return None
    if kind.startswith("[]"):
        return [_value(chance, kind[2:], depth) for _ in range(chance.choice((0, 1, 1, 2)))]
    if kind.startswith("map[string]"):
        keys = chance.sample(WORDS[1:], chance.choice((0, 1, 2)))
        return {key: _value(chance, kind.removeprefix("map[string]"), depth) for key in keys}
    if kind.startswith("@"):
        return _struct(chance, kind[1:], depth) if depth > 0 else {}
    return chance.choice(_SCALARS.get(kind, ANYTHING))


_SCALARS: dict[str, tuple[Any, ...]] = {
    "string": (*WORDS, *ENUMS),
    "int32": NUMBERS,
    "int64": NUMBERS,
    "float64": (0, 1.5, -2),
    "bool": (True, False),
    "quantity": QUANTITIES,
    "intstr": (*NUMBERS, "25%", "0%", "200%", "http", "nan", ""),
    "bytes": ("", "QQ==", "LS0tLS1CRUdJTiBY"),
    "time": ("2026-01-02T03:04:05Z",),
    "microtime": ("2026-01-02T03:04:05.000000Z",),
    "props-or-bool": (True, {"type": "string"}, {}),
    "props-or-array": ({"type": "string"}, [{}], {}),
    "props-or-strings": (["a"], {"type": "object"}),
}
