"""Builders and strategies for tests of the object core."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from sparsam.objects import pipeline
from sparsam.objects.kinds import Resource

NOW = "2026-01-02T03:04:05Z"

scalars = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=6)
json_values = st.recursive(
    scalars | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
json_objects = st.dictionaries(st.text(max_size=4), json_values, max_size=5)


def context(**changes: Any) -> pipeline.Context:
    values: dict[str, Any] = {"now": NOW, "uid": "uid-1", "name_suffix": "x7k2p", "namespace": "t"}
    return pipeline.Context(**(values | changes))


def body(obj: Any) -> bytes:
    return json.dumps(obj).encode()


def decode(resource: Resource, obj: Any, validation: str = "Strict") -> tuple[dict[str, Any], list[str]]:
    return pipeline.decode(resource, body(obj), "application/json", context(field_validation=validation))
