"""Expressions of a policy held against the types that its rules name: warnings for its status. Pure.

They stop nothing: a policy may be about kinds that are not known yet. Source: the page "Validating Admission Policy",
type checking; words are upstream's.
"""

from __future__ import annotations

from collections.abc import Iterator

from sparsam.objects.catalog import Catalog
from sparsam.objects.cel.admission import Environment
from sparsam.objects.cel.errors import CelError
from sparsam.objects.cel.schemas import of_kind, of_schema
from sparsam.objects.cel.types import DYN, Type
from sparsam.objects.kinds import Resource
from sparsam.objects.objecttypes import type_of
from sparsam.objects.strategy import Obj

MOST_TYPES = 10
"""So many types are looked at; upstream's limit."""


def warnings(policy: Obj, catalog: Catalog) -> list[Obj]:
    """The entries of `status.typeChecking.expressionWarnings` of a ValidatingAdmissionPolicy."""
    spec = policy["spec"]
    types = [(resource, kind) for resource in _resources(spec, catalog) if (kind := type_of_objects(resource))]
    found: list[Obj] = []
    for path, text in _expressions(spec):
        told = [f"{_name(resource)}: {why}\n" for resource, kind in types if (why := _issue(spec, text, kind, catalog))]
        if told:
            found.append({"fieldRef": path, "warning": "\n".join(told)})
    return found


def type_of_objects(resource: Resource) -> Type | None:
    """The type of a resource's objects; None when nothing is known of it."""
    kind = of_kind(resource.group, resource.version, resource.kind)
    return kind or of_schema(type_of(resource).schema, is_root=True)


def _resources(spec: Obj, catalog: Catalog) -> list[Resource]:
    """What the rules name without wildcards, in the order of groups, versions and kinds."""
    found = {
        resource
        for rule in (spec.get("matchConstraints") or {}).get("resourceRules") or ()
        for group in _plain(rule.get("apiGroups"))
        for version in _plain(rule.get("apiVersions"))
        for plural in rule.get("resources") or ()
        if not set("*/") & set(plural) and (resource := catalog.find(group, version, plural)) is not None
    }
    return sorted(found, key=lambda each: (each.group, each.version, each.kind))[:MOST_TYPES]


def _plain(names: list[str] | None) -> list[str]:
    return [] if any("*" in name for name in names or ()) else list(names or ())


def _expressions(spec: Obj) -> Iterator[tuple[str, str]]:
    for place, validation in enumerate(spec.get("validations") or ()):
        for field in ("expression", "messageExpression"):
            if validation.get(field):
                yield f"spec.validations[{place}].{field}", validation[field]


def _issue(spec: Obj, text: str, kind: Type, catalog: Catalog) -> str:
    """What is wrong with an expression about objects of a type; empty when nothing is."""
    environment = Environment(params=_parameters(spec, catalog), kind=kind, composed=True)
    for variable in spec.get("variables") or ():
        try:
            result = environment.compile(variable["expression"], DYN).result
        except CelError:
            result = DYN
        environment.declare(variable["name"], result)
    try:
        environment.compile(text, DYN)
    except CelError as error:
        return str(error).removeprefix("compilation failed: ")
    return ""


def _parameters(spec: Obj, catalog: Catalog) -> Type | None:
    kind = spec.get("paramKind")
    if kind is None:
        return None
    resource = catalog.by_kind(kind["apiVersion"], kind["kind"])
    return (type_of_objects(resource) if resource else None) or DYN


def _name(resource: Resource) -> str:
    return f"{resource.group}/{resource.version}, Kind={resource.kind}"
