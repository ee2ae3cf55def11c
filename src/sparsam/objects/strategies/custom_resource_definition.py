"""CustomResourceDefinitions: the definition itself, not the resources that it defines."""

from __future__ import annotations

from urllib.parse import urlsplit

from sparsam.errors import Cause
from sparsam.objects.crdnames import APPROVAL, is_protected
from sparsam.objects.fields import forbidden, invalid, not_supported, quote, required
from sparsam.objects.names import dns1035_label_errors, dns_subdomain_errors, validate_immutable
from sparsam.objects.strategies.common import one_of, text_causes
from sparsam.objects.strategies.crd_versions import shared_causes, shown, unknown_formats, version_causes
from sparsam.objects.strategies.webhook_clients import REVIEW_VERSIONS, default_client, validate_client
from sparsam.objects.strategy import Obj, Strategy

_SCOPES = ("Cluster", "Namespaced")
_CONVERSIONS = ("None", "Webhook")
_NAME_TEXT = 'must be spec.names.plural+"."+spec.group'
_ONE_STORAGE = "must have exactly one version marked as storage version"
_PROPOSAL = "see https://github.com/kubernetes/enhancements/pull/1111"


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
    causes += _spec(spec, {}) + _status(definition) + _stored_versions(definition)
    return causes + _approval(definition, None) + _preserves(spec)


def _spec(spec: Obj, old: Obj) -> list[Cause]:
    causes = _group(spec.get("group", ""), "spec.group")
    causes += one_of(spec.get("scope"), "spec.scope", _SCOPES)
    versions, before = spec.get("versions"), old.get("versions") or []
    causes += version_causes(versions or [], "spec.versions", before)
    causes += _versions(versions, "spec.versions")
    causes += _required_names(spec.get("names") or {}, "spec.names")
    causes += _names(spec.get("names") or {}, "spec.names")
    causes += shared_causes(versions or [], "spec", before)
    return causes + _conversion(spec.get("conversion") or {}, "spec.conversion")


def _preserves(spec: Obj) -> list[Cause]:
    if not spec.get("preserveUnknownFields"):
        return []
    detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
    return [invalid("spec.preserveUnknownFields", True, detail)]


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
    if len(set(names)) < len(names):
        causes.append(invalid(path, shown(versions), "must contain unique version names"))
    if sum(bool(version.get("storage")) for version in given) != 1:
        causes.append(invalid(path, shown(versions), _ONE_STORAGE))
    if names and names[0]:
        # Upstream keeps the first version's name in an older field, too, and checks it there.
        causes += text_causes(names[0], "spec.version", dns1035_label_errors)
    return causes


def _required_names(names: Obj, path: str) -> list[Cause]:
    return [required(f"{path}.{name}") for name in ("plural", "singular", "kind", "listKind") if not names.get(name)]


def _names(names: Obj, path: str) -> list[Cause]:
    causes: list[Cause] = []
    for name in ("plural", "singular"):
        if names.get(name):
            causes += text_causes(names[name], f"{path}.{name}", dns1035_label_errors)
    for name in ("kind", "listKind"):
        text = names.get(name, "")
        errors = dns1035_label_errors(text.lower()) if text else []
        causes += [
            invalid(f"{path}.{name}", text, f"may have mixed case, but should otherwise match: {error}")
            for error in errors
        ]
    for position, short in enumerate(names.get("shortNames") or []):
        causes += text_causes(short, f"{path}.shortNames[{position}]", dns1035_label_errors)
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        causes.append(invalid(f"{path}.listKind", names["listKind"], "kind and listKind may not be the same"))
    for position, category in enumerate(names.get("categories") or []):
        causes += text_causes(category, f"{path}.categories[{position}]", dns1035_label_errors)
    return causes


def _conversion(conversion: Obj, path: str) -> list[Cause]:
    strategy, webhook = conversion.get("strategy", ""), conversion.get("webhook") or {}
    client, versions = webhook.get("clientConfig"), webhook.get("conversionReviewVersions") or []
    here = f"{path}.webhookClientConfig"
    causes: list[Cause] = []
    if not strategy:
        causes.append(required(f"{path}.strategy"))
    elif strategy not in _CONVERSIONS:
        causes.append(not_supported(f"{path}.strategy", strategy, _CONVERSIONS))
    if strategy != "Webhook":
        detail = "should not be set when strategy is not set to Webhook"
        if client is not None:
            causes.append(forbidden(here, detail))
        return causes + ([forbidden(f"{path}.conversionReviewVersions", detail)] if versions else [])
    if client is None:
        causes.append(required(here, "required when strategy is set to Webhook"))
    else:
        causes += validate_client(client, here)
    return causes + _review_versions(versions, f"{path}.conversionReviewVersions")


def _review_versions(versions: list[str], path: str) -> list[Cause]:
    if not versions:
        return [required(path)]
    causes: list[Cause] = []
    for position, version in enumerate(versions):
        if version in versions[:position]:
            causes.append(invalid(f"{path}[{position}]", version, "duplicate version"))
        else:
            causes += text_causes(version, f"{path}[{position}]", dns1035_label_errors)
    if not any(version in REVIEW_VERSIONS for version in versions):
        causes.append(invalid(path, versions, f"must include at least one of {', '.join(REVIEW_VERSIONS)}"))
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


def _status(definition: Obj) -> list[Cause]:
    return _names((definition.get("status") or {}).get("acceptedNames") or {}, "status.acceptedNames")


def _approval(definition: Obj, old: Obj | None) -> list[Cause]:
    """Groups of the Kubernetes community need its word, or the admission that there is none (KEP-1111)."""
    if not is_protected(definition["spec"].get("group", "")):
        return []
    text = (definition["metadata"].get("annotations") or {}).get(APPROVAL, "")
    if old is not None and (old["metadata"].get("annotations") or {}).get(APPROVAL, "") == text:
        return []
    path = f"metadata.annotations[{APPROVAL}]"
    if not text:
        return [required(path, f'protected groups must have approval annotation "{APPROVAL}", {_PROPOSAL}')]
    if text.startswith("unapproved") or _is_url(text):
        return []
    detail = (
        f'protected groups must have approval annotation "{APPROVAL}" with either a URL or a reason starting with '
        f'"unapproved", {_PROPOSAL}'
    )
    return [invalid(path, text, detail)]


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme and parts.netloc)


def validate_update(definition: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed definition: what its objects are stored under stays."""
    spec, before = definition["spec"], old["spec"]
    names, old_names = spec.get("names") or {}, before.get("names") or {}
    causes = _spec(spec, before)
    if _is_established(old):
        causes += validate_immutable(spec.get("scope"), before.get("scope"), "spec.scope")
        causes += validate_immutable(names.get("kind"), old_names.get("kind"), "spec.names.kind")
    causes += validate_immutable(spec.get("group"), before.get("group"), "spec.group")
    causes += validate_immutable(names.get("plural"), old_names.get("plural"), "spec.names.plural")
    causes += _status(definition) + _stored_versions(definition) + _approval(definition, old)
    return causes + ([] if before.get("preserveUnknownFields") else _preserves(spec))


def _is_established(definition: Obj) -> bool:
    conditions = (definition.get("status") or {}).get("conditions") or []
    return any(each.get("type") == "Established" and each.get("status") == "True" for each in conditions)


def validate_status(definition: Obj, _old: Obj) -> list[Cause]:
    """Causes for a changed status."""
    return _status(definition)


def warnings(definition: Obj, old: Obj | None) -> list[str]:
    """Warnings for formats that say nothing, unless they were there before."""
    before = unknown_formats(old["spec"].get("versions") or []) if old else []
    now = unknown_formats(definition["spec"].get("versions") or [])
    return [f"unrecognized format {quote(name)}" for name in now if name not in before]


STRATEGIES = {
    ("apiextensions.k8s.io", "CustomResourceDefinition"): Strategy(
        default=default_definition,
        prepare_create=prepare_create,
        prepare_update=prepare_update,
        validate=validate,
        validate_update=validate_update,
        validate_status=validate_status,
        warnings=warnings,
        has_generation=True,
        allow_unconditional_update=False,
    )
}
