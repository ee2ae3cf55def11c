"""CustomResourceDefinitions as clients send them, and the causes for which they are refused."""

from sparsam.objects.kinds import find
from sparsam.objects.strategies import strategy_for

STRATEGY = strategy_for(find("apiextensions.k8s.io", "v1", "customresourcedefinitions"))
ESTABLISHED = {"conditions": [{"type": "Established", "status": "True"}]}


def version(schema=None, name="v1", **more):
    """A served version, which is the storage version unless told otherwise."""
    return {
        "name": name,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema or {"type": "object"}},
    } | more


def definition(*versions, group="x.y", names=None, annotations=None, **more):
    """A definition of things."""
    names = {"plural": "things", "kind": "Thing"} | (names or {})
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": list(versions) or [version()]}
    metadata = {"name": f"{names['plural']}.{group}"} | ({"annotations": annotations} if annotations else {})
    return {"metadata": metadata, "spec": spec | more}


def created(obj):
    """A definition after defaults and preparation."""
    STRATEGY.default(obj)
    STRATEGY.prepare_create(obj)
    return obj


def refusal(obj):
    """Causes for a new definition, as `Reason field: message`."""
    return shown(STRATEGY.validate(created(obj)))


def schema_refusal(schema, **more):
    """Causes for a definition whose only version has a schema; their paths begin there."""
    found = refusal(definition(version(schema, **more)))
    return [each.replace("spec.validation.openAPIV3Schema", "s", 1) for each in found]


def update_refusal(new, old, *, established=True):
    """Causes for an update of a definition that was created before."""
    old = created(old)
    if established:
        old["status"] |= ESTABLISHED
    STRATEGY.default(new)
    new["status"] = old["status"]
    STRATEGY.prepare_update(new, old)
    return shown(STRATEGY.validate_update(new, old))


def shown(causes):
    return [f"{cause.reason.removeprefix('FieldValue')} {cause.field}: {cause.message}" for cause in causes]
