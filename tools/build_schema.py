"""Build the schema table that `sparsam.objects.schema` reads, from the published schemas of Kubernetes.

    python tools/build_schema.py [--version 1.37.0] [--kubectl FILE]

Reads the definitions that the development dependency `kubernetes-validate` carries, keeps what the served kinds reach,
adds what `go_structs` reads from a kubectl binary, and writes `schema.json.xz` and `descriptions.json.xz` into
`sparsam/objects/data`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import lzma
from pathlib import Path
from typing import Any

import go_structs
from go_structs import GoField

from sparsam.objects.kinds import RESOURCES

OUT = Path(__file__).parents[1] / "src/sparsam/objects/data"
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
SPECIAL = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "intstr",
    META + "Time": "time",
    META + "MicroTime": "microtime",
    META + "FieldsV1": "raw",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "raw",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON": "raw",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool": "props-or-bool",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray": "props-or-array",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray": "props-or-strings",
}
EXTRA_KINDS = [
    ("", "v1", "Status"),
    ("", "v1", "DeleteOptions"),
    ("", "v1", "WatchEvent"),
    ("", "v1", "APIResourceList"),
    ("", "v1", "APIGroup"),
    ("", "v1", "APIGroupList"),
    ("", "v1", "APIVersions"),
    ("policy", "v1", "Eviction"),
    ("autoscaling", "v1", "Scale"),
    ("authentication.k8s.io", "v1", "TokenRequest"),
]
RESOURCE_LISTS = frozenset(
    [
        "ResourceRequirements.limits",
        "ResourceRequirements.requests",
        "VolumeResourceRequirements.limits",
        "VolumeResourceRequirements.requests",
        "LimitRangeItem.default",
        "LimitRangeItem.defaultRequest",
        "LimitRangeItem.max",
        "LimitRangeItem.maxLimitRequestRatio",
        "LimitRangeItem.min",
        "NodeStatus.allocatable",
        "NodeStatus.capacity",
        "PersistentVolumeSpec.capacity",
        "PersistentVolumeClaimStatus.capacity",
        "ResourceQuotaSpec.hard",
        "ResourceQuotaStatus.hard",
        "ResourceQuotaStatus.used",
        "PodSpec.overhead",
        "Overhead.podFixed",
    ]
)
EXTENSIONS = {
    "x-kubernetes-list-type": "list",
    "x-kubernetes-list-map-keys": "keys",
    "x-kubernetes-patch-merge-key": "merge_key",
    "x-kubernetes-patch-strategy": "strategy",
    "x-kubernetes-map-type": "map",
}


def definitions(version: str) -> dict[str, Any]:
    """All definitions of a Kubernetes version."""
    found = importlib.util.find_spec("kubernetes_validate")
    if found is None or found.origin is None:
        raise SystemExit("kubernetes-validate is not installed")
    path = Path(found.origin).parent / f"kubernetes-json-schema/v{version}-local/_definitions.json"
    loaded: dict[str, Any] = json.loads(path.read_text())["$defs"]
    return loaded


def reference(schema: dict[str, Any]) -> str:
    """The definition a schema refers to, or empty."""
    target = schema.get("$ref", "")
    return target.rpartition("/")[2] if isinstance(target, str) else ""


def type_of(schema: dict[str, Any]) -> str:
    """The type of a field as one word: `int32`, `[]string`, `map[string]quantity`, `@io.k8s...PodSpec`."""
    target = reference(schema)
    if target:
        return SPECIAL.get(target, "@" + target)
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "array":
        return "[]" + type_of(schema["items"])
    if kind == "object":
        if "additionalProperties" not in schema:
            return "raw"
        return "map[string]" + type_of(schema["additionalProperties"])
    if kind == "string":
        if schema.get("format") == "byte":
            return "bytes"
        return "string"
    if kind == "integer":
        return str(schema.get("format", "int64"))
    return {"boolean": "bool", "number": "float64"}.get(str(kind), "raw")


def field_entry(definition: str, field: str, schema: dict[str, Any], required: bool, go: GoField) -> dict[str, Any]:
    """One field: type, how it is written (`emit`), and what merging and publishing need."""
    kind = type_of(schema)
    entry: dict[str, Any] = {"type": kind}
    if required:
        entry["required"] = True
    entry |= {short: schema[name] for name, short in EXTENSIONS.items() if name in schema}
    go_name = go.type_name or (
        "v1.ResourceList" if f"{definition.rpartition('.')[2]}.{field}" in RESOURCE_LISTS else ""
    )
    emit = "pointer" if f"{definition.rpartition('.')[2]}.{field}" in go_structs.LATER else emission(kind, go)
    for name, value in (("emit", emit), ("go", go_name), ("embedded", go.embedded), ("enum", schema.get("enum"))):
        if value:
            entry[name] = value
    return entry


def emission(kind: str, go: GoField) -> str:
    """`always` (written even when zero), `value` (a struct that is always there), `pointer`, or empty (omitempty)."""
    if go.pointer:
        return "pointer"
    is_struct = kind[0] == "@" or kind in ("quantity", "intstr", "time", "microtime") or kind == "raw"
    if is_struct and (go.omitted_struct or (kind == "raw" and go.omitted)):
        return "pointer"
    if kind in ("time", "microtime"):
        return "always"
    if is_struct:
        return "value"
    return "" if go.omitted else "always"


def facts(known: dict[str, GoField], definition: str, field: str, schema: dict[str, Any], required: bool) -> GoField:
    """What Go's types say about a field."""
    is_struct = type_of(schema)[0] == "@"
    return known.get(field) or go_structs.guess(definition, field, is_struct=is_struct, required=required)


def build(version: str, structs: dict[str, dict[str, GoField]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The table and the descriptions."""
    everything = definitions(version)
    by_kind = {
        (gvk["group"], gvk["version"], gvk["kind"]): name
        for name, schema in everything.items()
        for gvk in schema.get("x-kubernetes-group-version-kind", ())
    }
    wanted = [(each.group, each.version, each.kind) for each in RESOURCES]
    wanted += [(group, version, kind + "List") for group, version, kind in wanted] + EXTRA_KINDS
    pending = [by_kind[kind] for kind in wanted if kind in by_kind]
    table: dict[str, Any] = {}
    descriptions: dict[str, Any] = {}
    while pending:
        name = pending.pop()
        if name in table:
            continue
        schema = everything[name]
        required = schema.get("required", ())
        fields = {
            field: field_entry(
                name, field, each, field in required, facts(structs.get(name, {}), name, field, each, field in required)
            )
            for field, each in schema.get("properties", {}).items()
        }
        table[name] = {"fields": fields}
        if "x-kubernetes-map-type" in schema:
            table[name]["map"] = schema["x-kubernetes-map-type"]
        descriptions[name] = [
            schema.get("description", ""),
            {field: each.get("description", "") for field, each in schema.get("properties", {}).items()},
        ]
        pending += [target for field in schema.get("properties", {}).values() for target in targets(field)]
    for special in SPECIAL:
        if special in everything:
            descriptions[special] = [everything[special].get("description", ""), {}]
    kinds = {"/".join(kind): by_kind[kind] for kind in wanted if kind in by_kind}
    return {"version": version, "kinds": kinds, "definitions": table}, descriptions


def targets(schema: dict[str, Any]) -> list[str]:
    """Definitions that a field's schema refers to, special types aside."""
    inner = [schema.get("items"), schema.get("additionalProperties")]
    found = [reference(schema)] + [target for each in inner if each for target in targets(each)]
    return [target for target in found if target and (target not in SPECIAL or "JSONSchemaPropsOr" in target)]


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", default="1.37.0")
    parser.add_argument("--kubectl", type=Path, help="a kubectl binary of that version; by default the one in PATH")
    options = parser.parse_args()
    table, descriptions = build(options.version, go_structs.read(options.kubectl))
    OUT.mkdir(exist_ok=True)
    for name, content in (("schema", table), ("descriptions", descriptions)):
        text = json.dumps(content, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
        (OUT / f"{name}.json.xz").write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))


if __name__ == "__main__":
    main()
