"""CustomResourceDefinitions: the definition itself, not the resources that it defines."""

from __future__ import annotations

from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import forbidden, invalid, not_supported, required
from sparsam.objects.names import dns1035_label_errors, dns_subdomain_errors, validate_immutable
from sparsam.objects.strategies.common import one_of, optional_one_of, text_causes
from sparsam.objects.strategies.crd_schema import validate_schema
from sparsam.objects.strategies.webhook_clients import default_client, validate_client
from sparsam.objects.strategy import Obj, Strategy

_SCOPES = ("Cluster", "Namespaced")
_CONVERSIONS = ("None", "Webhook")
_NAME_TEXT = 'must be spec.names.plural+"."+spec.group'
_ONE_STORAGE = "must have exactly one version marked as storage version"
_IMMUTABLE = ("group", "scope")
_IMMUTABLE_NAMES = ("plural", "kind")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("binary", "bool", "byte", "date", "date-time", "double", "float", "int32", "int64", "password")
# Upstream prints its internal struct, whose fields these are.
_VERSION_FIELDS: tuple[tuple[str, Any], ...] = (
    ("Name", ""),
    ("Served", False),
    ("Storage", False),
    ("Deprecated", False),
    ("DeprecationWarning", None),
    ("Schema", None),
    ("Subresources", None),
    ("AdditionalPrinterColumns", None),
    ("SelectableFields", None),
)
_HOISTED = ("Schema", "Subresources", "AdditionalPrinterColumns", "SelectableFields")


def default_definition(definition: Obj) -> None:
    """Names follow from the kind; versions differ in name only unless a webhook converts them."""
    spec = definition.setdefault("spec", {})
    names = spec.setdefault("names", {})
    kind = names.get("kind")
    if kind and not names.get("singular"):
        names["singular"] = kind.lower()
    if kind and not names.get("listKind"):
        names["listKind"] = f"{kind}List"
    conversion = spec.get("conversion")
    if conversion is None:
        conversion = spec["conversion"] = {"strategy": "None"}
    default_client((conversion.get("webhook") or {}).get("clientConfig"))


def prepare_create(definition: Obj) -> None:
    """Nothing is accepted yet; the storage version is the first that objects are stored in."""
    definition["status"] = {
        "conditions": None,
        "acceptedNames": {"plural": "", "kind": ""},
        "storedVersions": _storage_versions(definition)[:1] or None,
    }


def prepare_update(definition: Obj, _old: Obj) -> None:
    """A new storage version joins those that objects were stored in."""
    status = definition.get("status") or {}
    stored = status.get("storedVersions") or []
    added = [name for name in _storage_versions(definition)[:1] if name not in stored]
    if added:
        definition["status"] = status | {"storedVersions": [*stored, *added]}


def _storage_versions(definition: Obj) -> list[str]:
    versions = definition["spec"].get("versions") or []
    return [version.get("name", "") for version in versions if version.get("storage")]


def validate(definition: Obj) -> list[Cause]:
    """Causes for a new CustomResourceDefinition."""
    spec, name = definition["spec"], definition["metadata"].get("name", "")
    causes: list[Cause] = []
    plural = (spec.get("names") or {}).get("plural", "")
    if name and name != f"{plural}.{spec.get('group', '')}":
        causes.append(invalid("metadata.name", name, _NAME_TEXT))
    return causes + _spec(spec) + _stored_versions(definition)


def _spec(spec: Obj) -> list[Cause]:
    causes = _group(spec.get("group", ""), "spec.group")
    causes += one_of(spec.get("scope"), "spec.scope", _SCOPES)
    if spec.get("preserveUnknownFields"):
        detail = (
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        )
        causes.append(invalid("spec.preserveUnknownFields", True, detail))
    causes += _versions(spec.get("versions"), "spec.versions")
    causes += _names(spec.get("names") or {}, "spec.names")
    return causes + _conversion(spec.get("conversion") or {}, "spec.conversion")


def _group(group: str, path: str) -> list[Cause]:
    if not group:
        return [required(path)]
    errors = dns_subdomain_errors(group)
    if not errors and "." not in group:
        errors = ["should be a domain with at least one dot"]
    return [invalid(path, group, error) for error in errors]


def _versions(versions: list[Obj] | None, path: str) -> list[Cause]:
    given = versions or []
    names = [version.get("name", "") for version in given]
    causes: list[Cause] = []
    for position, version in enumerate(given):
        causes += _version(version, f"{path}[{position}]")
    if len(set(names)) < len(names):
        causes.append(invalid(path, _shown(versions), "must contain unique version names"))
    if sum(bool(version.get("storage")) for version in given) != 1:
        causes.append(invalid(path, _shown(versions), _ONE_STORAGE))
    if names and names[0]:
        # Upstream keeps the first version's name and a common schema in older fields, too, and checks them there.
        causes += text_causes(names[0], "spec.version", dns1035_label_errors)
    return causes + _schemas(given, path)


def _version(version: Obj, path: str) -> list[Cause]:
    name = version.get("name", "")
    causes = text_causes(name, f"{path}.name", dns1035_label_errors)
    if (version.get("schema") or {}).get("openAPIV3Schema") is None:
        causes.append(required(f"{path}.schema.openAPIV3Schema"))
    if version.get("deprecationWarning") is not None and not version.get("deprecated"):
        detail = "can only be set for deprecated versions"
        causes.append(invalid(f"{path}.deprecationWarning", version["deprecationWarning"], detail))
    for position, column in enumerate(version.get("additionalPrinterColumns") or []):
        causes += _column(column, f"{path}.additionalPrinterColumns[{position}]")
    return causes + _scale((version.get("subresources") or {}).get("scale"), f"{path}.subresources.scale")


def _column(column: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    if not column.get("name"):
        causes.append(required(f"{path}.name"))
    causes += one_of(column.get("type"), f"{path}.type", _COLUMN_TYPES)
    if column.get("format"):
        causes += optional_one_of(column["format"], f"{path}.format", _COLUMN_FORMATS)
    return causes + _json_path(column.get("jsonPath", ""), f"{path}.jsonPath", "")


def _scale(scale: Obj | None, path: str) -> list[Cause]:
    if scale is None:
        return []
    causes = _json_path(scale.get("specReplicasPath", ""), f"{path}.specReplicasPath", ".spec.")
    causes += _json_path(scale.get("statusReplicasPath", ""), f"{path}.statusReplicasPath", ".status.")
    selector = scale.get("labelSelectorPath")
    if selector and not selector.startswith((".spec.", ".status.")):
        detail = "should be a json path under either .spec or .status"
        causes.append(invalid(f"{path}.labelSelectorPath", selector, detail))
    return causes


def _json_path(value: str, path: str, under: str) -> list[Cause]:
    if not value:
        return [required(path)]
    if under and not value.startswith(under):
        return [invalid(path, value, f"should be a json path under {under.rstrip('.')}")]
    return []


def _schemas(versions: list[Obj], path: str) -> list[Cause]:
    schemas = [(version.get("schema") or {}).get("openAPIV3Schema") for version in versions]
    if schemas and all(schema == schemas[0] for schema in schemas):
        return validate_schema(schemas[0], "spec.validation.openAPIV3Schema") if schemas[0] is not None else []
    causes: list[Cause] = []
    for position, schema in enumerate(schemas):
        if schema is not None:
            causes += validate_schema(schema, f"{path}[{position}].schema.openAPIV3Schema")
    return causes


def _shown(versions: list[Obj] | None) -> list[Obj] | None:
    if versions is None:
        return None
    shown = []
    for version in versions:
        fields = {name[0].lower() + name[1:]: name for name, _zero in _VERSION_FIELDS}
        values = {fields[name]: value for name, value in version.items() if name in fields}
        shown.append({name: zero if name in _HOISTED else values.get(name, zero) for name, zero in _VERSION_FIELDS})
    return shown


def _names(names: Obj, path: str) -> list[Cause]:
    causes = [required(f"{path}.{name}") for name in ("plural", "singular", "kind", "listKind") if not names.get(name)]
    for name in ("plural", "singular"):
        if names.get(name):
            causes += text_causes(names[name], f"{path}.{name}", dns1035_label_errors)
    for position, short in enumerate(names.get("shortNames") or []):
        causes += text_causes(short, f"{path}.shortNames[{position}]", dns1035_label_errors)
    for name in ("kind", "listKind"):
        text = names.get(name, "")
        errors = dns1035_label_errors(text.lower()) if text else []
        causes += [
            invalid(f"{path}.{name}", text, f"may have mixed case, but should otherwise match: {error}")
            for error in errors
        ]
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        causes.append(invalid(f"{path}.listKind", names["listKind"], "kind and listKind may not be the same"))
    for position, category in enumerate(names.get("categories") or []):
        causes += text_causes(category, f"{path}.categories[{position}]", dns1035_label_errors)
    return causes


def _conversion(conversion: Obj, path: str) -> list[Cause]:
    strategy, webhook = conversion.get("strategy", ""), conversion.get("webhook")
    if strategy not in _CONVERSIONS:
        return (
            [not_supported(f"{path}.strategy", strategy, _CONVERSIONS)] if strategy else [required(f"{path}.strategy")]
        )
    if strategy == "None":
        detail = "should not be set when strategy is not set to Webhook"
        return [forbidden(f"{path}.webhook", detail)] if webhook is not None else []
    client = (webhook or {}).get("clientConfig")
    if client is None:
        return [required(f"{path}.webhookClientConfig", "required when strategy is set to Webhook")]
    causes = validate_client(client, f"{path}.webhookClientConfig")
    versions, here = (webhook or {}).get("conversionReviewVersions") or [], f"{path}.conversionReviewVersions"
    if not versions:
        return [*causes, required(here, "must specify at least one version")]
    for position, version in enumerate(versions):
        causes += text_causes(version, f"{here}[{position}]", dns1035_label_errors)
    if not any(version in ("v1", "v1beta1") for version in versions):
        causes.append(invalid(here, versions, "must include at least one of v1, v1beta1"))
    return causes


def _stored_versions(definition: Obj) -> list[Cause]:
    stored = (definition.get("status") or {}).get("storedVersions") or []
    path = "status.storedVersions"
    if not stored:
        return [invalid(path, None, "must have at least one stored version")]
    known = [version.get("name", "") for version in definition["spec"].get("versions") or []]
    causes: list[Cause] = []
    for position, name in enumerate(stored):
        if name not in known:
            detail = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in "
                f"spec.versions until a storage migration ensures no data remains persisted in {name} and removes "
                f"{name} from status.storedVersions"
            )
            causes.append(invalid(f"{path}[{position}]", name, detail))
    causes += [
        invalid(path, stored, f"must have the storage version {name}")
        for name in _storage_versions(definition)
        if name not in stored
    ]
    return causes


def validate_update(definition: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed definition: what its objects are stored under stays."""
    spec, before = definition["spec"], old["spec"]
    causes = _spec(spec)
    for name in _IMMUTABLE:
        causes += validate_immutable(spec.get(name), before.get(name), f"spec.{name}")
    names, old_names = spec.get("names") or {}, before.get("names") or {}
    for name in _IMMUTABLE_NAMES:
        causes += validate_immutable(names.get(name), old_names.get(name), f"spec.names.{name}")
    return causes + _stored_versions(definition)


def validate_status(definition: Obj, _old: Obj) -> list[Cause]:
    """Causes for a changed status."""
    return _stored_versions(definition)


STRATEGIES = {
    ("apiextensions.k8s.io", "CustomResourceDefinition"): Strategy(
        default=default_definition,
        prepare_create=prepare_create,
        prepare_update=prepare_update,
        validate=validate,
        validate_update=validate_update,
        validate_status=validate_status,
        has_generation=True,
        allow_unconditional_update=False,
    )
}
