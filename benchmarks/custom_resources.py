"""What a schema costs an object of a custom resource, as multiples of what reading its JSON takes in the same run.

The object has about 2 kB: ports, environment, labels and conditions, as operators keep them. A general JSON Schema
validator is timed beside it. Run `python benchmarks/custom_resources.py [-o json]`.
"""

from __future__ import annotations

import argparse
import copy
import json
import timeit
from collections.abc import Callable
from typing import Any

import msgspec
from jsonschema import Draft202012Validator

from sparsam.objects.structural import compile_schema

ROUNDS = 2000
TEXT = {"type": "string"}
NAME = TEXT | {"maxLength": 253, "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}
PORT = {
    "name": NAME,
    "port": {"type": "integer", "minimum": 1, "maximum": 65535},
    "protocol": TEXT | {"enum": ["TCP", "UDP"]},
}
CONDITION = {
    "type": TEXT | {"maxLength": 316},
    "status": TEXT | {"enum": ["True", "False", "Unknown"]},
    "reason": TEXT | {"minLength": 1, "maxLength": 1024},
    "message": TEXT,
    "lastTransitionTime": TEXT | {"format": "date-time"},
}


def listed(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "object", "required": required, "properties": properties}}


def fields(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


SPEC = fields(
    replicas={"type": "integer", "minimum": 0, "default": 1},
    image=TEXT,
    ports=listed(["name", "port"], **PORT),
    labels={"type": "object", "additionalProperties": TEXT},
    env=listed(["name"], name=TEXT, value=TEXT),
)
SCHEMA = fields(spec=SPEC, status=fields(conditions=listed(["type", "status"], **CONDITION)))
OBJECT: dict[str, Any] = {
    "apiVersion": "example.com/v1",
    "kind": "Thing",
    "metadata": {"name": "thing", "namespace": "default", "uid": "f47ac10b-58cc-4372-a567-0e02b2c3d479"},
    "spec": {
        "replicas": 3,
        "image": "registry.example.com/thing:1",
        "ports": [{"name": f"port-{number}", "port": 8000 + number, "protocol": "TCP"} for number in range(6)],
        "labels": {f"label-{number}": "some-value" for number in range(8)},
        "env": [{"name": f"NAME_{number}", "value": "some value of it"} for number in range(12)],
    },
    "status": {
        "conditions": [
            {
                "type": kind,
                "status": "True",
                "reason": "AsExpected",
                "message": "everything is as it was asked for",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
            for kind in ("Ready", "Available", "Progressing")
        ]
    },
}


def microseconds(call: Callable[[], Any]) -> float:
    """The fastest of three rounds: what the call itself takes."""
    return min(timeit.repeat(call, number=ROUNDS, repeat=3)) / ROUNDS * 1e6


def measure() -> dict[str, float]:
    structural, reference = compile_schema(SCHEMA), Draft202012Validator(SCHEMA)
    raw, old = msgspec.json.encode(OBJECT), copy.deepcopy(OBJECT)
    assert structural.validate(OBJECT) == [] and reference.is_valid(OBJECT)
    calls: dict[str, Callable[[], Any]] = {
        "read": lambda: msgspec.json.decode(raw),
        "unknown fields": lambda: structural.unknown_fields(OBJECT),
        "default": lambda: structural.default(OBJECT),
        "validate": lambda: structural.validate(OBJECT),
        "validate an update": lambda: structural.validate(OBJECT, old),
        "jsonschema": lambda: reference.is_valid(OBJECT),
    }
    return {"bytes": len(raw)} | {name: microseconds(call) for name, call in calls.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    found = measure()
    if parser.parse_args().output == "json":
        print(json.dumps(found))
        return
    print(f"object of {found['bytes']:.0f} bytes")
    for name, taken in list(found.items())[1:]:
        print(f"{name:20} {taken:8.1f} us {taken / found['read']:8.1f} x reading")


if __name__ == "__main__":
    main()
