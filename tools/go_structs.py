"""What the published schemas do not say about the Go types behind them: pointers, embedding, names of string types.

Kubernetes' JSON output depends on whether a field is a pointer and always written, and error messages name Go types.
These facts are read out of the type information of a kubectl binary, exact for its release. Types that kubectl does not
carry (custom resource definitions, API services) are covered by the short lists below.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from protobuf_fields import JSON_TAG, POINTER, SLICE, STRING, STRUCT, Binary, GoType


class GoField(NamedTuple):
    """One field of a Go struct as JSON sees it."""

    pointer: bool
    omitted: bool
    """Left out when zero (omitempty or omitzero)."""
    omitted_struct: bool
    """Left out when zero even if it is a struct (omitzero)."""
    embedded: str
    """Embedded structs on the way to the field, joined by dots."""
    type_name: str
    """The name of a named string type, such as `v1.ServiceType`, or empty."""


# Optional fields of types that kubectl does not carry which are pointers.
POINTERS = frozenset(
    [
        "CustomResourceDefinitionVersion.deprecationWarning",
        "CustomResourceSubresourceScale.labelSelectorPath",
        "JSONSchemaProps.maxItems",
        "JSONSchemaProps.maxLength",
        "JSONSchemaProps.maxProperties",
        "JSONSchemaProps.maximum",
        "JSONSchemaProps.minItems",
        "JSONSchemaProps.minLength",
        "JSONSchemaProps.minProperties",
        "JSONSchemaProps.minimum",
        "JSONSchemaProps.multipleOf",
        "JSONSchemaProps.x-kubernetes-preserve-unknown-fields",
        "JSONSchemaProps.x-kubernetes-list-type",
        "JSONSchemaProps.x-kubernetes-map-type",
        "JSONSchemaProps.$ref",
        "ValidationRule.optionalOldSelf",
        "ValidationRule.reason",
        "ServiceReference.port",
        "ServiceReference.path",
        "WebhookClientConfig.url",
        "CustomResourceSubresources.status",
    ]
)
# Among the same types: optional structs held by value, and lists that are always written.
VALUES = frozenset(["CustomResourceDefinitionStatus.acceptedNames"])
ALWAYS = frozenset(["CustomResourceDefinitionStatus.conditions", "CustomResourceDefinitionStatus.storedVersions"])
STRING_TYPES = {"CustomResourceDefinitionSpec.scope": "v1.ResourceScope"}

# Fields that Kubernetes 1.36, whose recorded answers the tests hold us against, did not have: left out when empty.
LATER = frozenset(["CSINode.status"])


def read(kubectl: Path | None = None) -> dict[str, dict[str, GoField]]:
    """Fields by definition (`io.k8s.api.core.v1.Pod`) and JSON name."""
    path = kubectl or Path(shutil.which("kubectl") or "")
    binary = Binary(path.read_bytes())
    structs: dict[str, GoType] = {}
    for address in binary.roots():
        found = binary.types[address]
        if found.kind == STRUCT and found.name.startswith("k8s.io/"):
            structs.setdefault(found.name, found)
    return {_definition(name): dict(_fields(binary, struct, ())) for name, struct in structs.items()}


def _definition(name: str) -> str:
    package, _, struct = name.rpartition(".")
    return "io.k8s." + package.removeprefix("k8s.io/").replace("/", ".") + "." + struct


def _fields(binary: Binary, struct: GoType, embedded: tuple[str, ...]) -> Iterator[tuple[str, GoField]]:
    for _, tag, address in struct.fields:
        found = binary.type_at(address)
        match = JSON_TAG.search(tag)
        name, *options = match[1].split(",") if match else [""]
        if not name:
            if found.kind == STRUCT:
                yield from _fields(binary, found, (*embedded, found.name.rpartition(".")[2]))
            continue
        omit = "omitempty" in options or "omitzero" in options
        path = ".".join(part for part in embedded if part not in ("TypeMeta", "ListMeta"))
        type_name = _string_type(binary, found)
        yield name, GoField(found.kind == POINTER, omit, "omitzero" in options, path, type_name)


def _string_type(binary: Binary, found: GoType) -> str:
    for _ in range(2):
        if found.kind in (POINTER, SLICE):
            found = binary.type_at(found.elem)
    name = found.name.rpartition("/")[2]
    return name if found.kind == STRING and name != "string" else ""


def guess(definition: str, field: str, *, is_struct: bool, required: bool) -> GoField:
    """The facts of a field whose struct kubectl does not carry."""
    name = f"{definition.rpartition('.')[2]}.{field}"
    by_value = required or name in VALUES or (field in ("metadata", "spec", "status") and name not in POINTERS)
    pointer = name in POINTERS or (is_struct and not by_value)
    return GoField(pointer, not (required or name in ALWAYS), False, "", STRING_TYPES.get(name, ""))
