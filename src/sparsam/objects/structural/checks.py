"""What values must fulfil: a schema compiled to nested closures that find causes, in upstream's words.

For each type that a value may have, compiling decides once which rules apply; a value without rules costs one
look-up. The words are those of kube-openapi's validator as the API server prints them. Where an update leaves a
value as it was, its causes are forgiven (KEP-4008, "CRD Validation Ratcheting").
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import invalid, quote, required, type_invalid
from sparsam.objects.shapes import ABSENT
from sparsam.objects.strategy import Obj
from sparsam.objects.structural import scalars
from sparsam.objects.structural.correlation import equal, old_items
from sparsam.objects.structural.formats import is_known
from sparsam.objects.structural.nodes import INT_OR_STRING, JUNCTORS
from sparsam.objects.structural.scalars import NOWHERE, TYPES, json_type

Check = Callable[[Any, Any, str, list[Cause]], None]
"""(value, the old value or ABSENT, path, causes found so far): adds causes."""
Rules = dict[type, tuple[Check, ...]]
"""What a value must fulfil, by its Python type."""
_EMPTY: Obj = {}
_NO_RULES: Rules = dict.fromkeys(TYPES, ())
# What stands beside a type without asking more of a value; formats may.
_WITHOUT_RULES = frozenset({"type", "nullable", "description", "title", "default", "example", "externalDocs", "format"})
_INT_OR_STRING_TYPES = ("integer", "string")


def compile_rules(schema: Obj) -> Rules:
    """The rules of a schema; raises BadPattern."""
    types = _INT_OR_STRING_TYPES if schema.get(INT_OR_STRING) else tuple(filter(None, (schema.get("type"),)))
    by_type = _type_rules(types, bool(schema.get("nullable")))
    if schema.keys() <= _WITHOUT_RULES and not is_known(schema.get("format") or "", schema.get("type") or ""):
        return by_type
    conditions, enum = tuple(_junctors(schema)), tuple(scalars.enum_rules(schema))
    numbers = tuple(scalars.number_rules(schema))
    own = {
        str: (*conditions, *scalars.text_rules(schema), *enum),
        int: (*conditions, *numbers, *enum),
        float: (*conditions, *numbers, *enum),
        bool: (*conditions, *enum),
        list: (*conditions, *_list_rules(schema), *enum),
        dict: (*conditions, *enum, *_object_rules(schema)),
        type(None): enum,
    }
    # Adding nothing gives the very tuple, which schemas of a type share.
    return {kind: by_type[kind] + own[kind] for kind in own}


def run(rules: tuple[Check, ...], value: Any, old: Any, path: str, causes: list[Cause]) -> None:
    """Add the causes for a value, unless the old one was the same."""
    before = len(causes)
    for rule in rules:
        rule(value, old, path, causes)
    if old is not ABSENT and len(causes) > before and equal(old, value):
        del causes[before:]


@cache
def _type_rules(types: tuple[str, ...], nullable: bool) -> Rules:
    """The rules of a schema that says no more than which types a value may have; none given: any."""
    return {kind: tuple(_wrong_type(types, kind, nullable)) for kind in TYPES}


def _wrong_type(types: tuple[str, ...], kind: type, nullable: bool) -> Iterable[Check]:
    actual = TYPES[kind]
    # Numbers are looked at, since a double may be whole and an integer too large.
    if not types or (actual in types and kind is not int) or (actual == "null" and nullable):
        return
    if kind is int and "number" in types:
        return
    expected = ",".join(types)

    def check(value: Any, _old: Any, path: str, causes: list[Cause]) -> None:
        found = json_type(value)
        if found not in types:
            causes.append(type_invalid(path, found, f"{path} in body must be of type {expected}: {quote(found)}"))
            if found == "number" and types == ("integer",):
                detail = f"Checked value must be of type integer (default format) in {path}"
                causes.append(invalid(NOWHERE, "", detail))

    yield check


def _list_rules(schema: Obj) -> Iterable[Check]:
    rules = compile_rules(schema["items"]) if schema.get("items") is not None else _NO_RULES
    if rules != _NO_RULES:

        def check_items(value: list[Any], old: Any, path: str, causes: list[Cause]) -> None:
            olds = old_items(schema, value, old) if old is not ABSENT else None
            for position, item in enumerate(value):
                if found := rules[item.__class__]:
                    run(found, item, ABSENT if olds is None else olds[position], f"{path}[{position}]", causes)

        yield check_items
    yield from scalars.size_rules(schema)


def _object_rules(schema: Obj) -> Iterable[Check]:
    properties = {name: compile_rules(each) for name, each in (schema.get("properties") or {}).items()}
    additional = schema.get("additionalProperties")
    others = compile_rules(additional) if isinstance(additional, dict) else _NO_RULES
    needed = tuple(schema.get("required") or ())
    has_rules = any(rules != _NO_RULES for rules in (others, *properties.values()))
    counts = scalars.property_count(schema)

    def check_fields(value: Obj, old: Any, path: str, causes: list[Cause]) -> None:
        if counts is not None and counts(value, path, causes):
            return
        prefix = f"{path}." if path else ""
        if has_rules:
            before = old if old.__class__ is dict else _EMPTY
            for name, item in value.items():
                if found := properties.get(name, others)[item.__class__]:
                    run(found, item, before.get(name, ABSENT), prefix + name, causes)
        causes += [required(prefix + name) for name in needed if name not in value]

    if has_rules or needed or counts is not None:
        yield check_fields
    if additional is False:
        yield _closed(frozenset(properties))


def _closed(known: frozenset[str]) -> Check:
    def check(value: Obj, _old: Any, path: str, causes: list[Cause]) -> None:
        for name in value.keys() - known:
            causes += [invalid(path or NOWHERE, name, f"{path}.{name} in body is a forbidden property")]

    return check


def _junctors(schema: Obj) -> Iterable[Check]:
    all_of, any_of, one_of = (tuple(_branch(each) for each in schema.get(name) or ()) for name in JUNCTORS)
    if any_of:
        yield _any_of(any_of, schema["anyOf"])
    if one_of:
        yield _one_of(one_of, schema["oneOf"])
    if all_of:
        yield _all_of(all_of)
    if schema.get("not") is not None:
        yield _not(_branch(schema["not"]))


def _branch(schema: Obj) -> Check:
    rules = compile_rules(schema)

    def check(value: Any, old: Any, path: str, causes: list[Cause]) -> None:
        run(rules[value.__class__], value, old, path, causes)

    return check


def _any_of(branches: tuple[Check, ...], schemas: list[Obj]) -> Check:
    def any_of(value: Any, old: Any, path: str, causes: list[Cause]) -> None:
        failures: list[list[Cause]] = []
        for branch in branches:
            found: list[Cause] = []
            branch(value, old, path, found)
            if not found:
                return
            failures.append(found)
        causes.append(invalid(NOWHERE, "", f"{quote(path)} must validate at least one schema (anyOf)"))
        causes += failures[_closest(schemas, value)]

    return any_of


def _one_of(branches: tuple[Check, ...], schemas: list[Obj]) -> Check:
    def one_of(value: Any, _old: Any, path: str, causes: list[Cause]) -> None:
        failures: list[list[Cause]] = []
        for branch in branches:
            found: list[Cause] = []
            # Nothing is forgiven here: an alternative must not come to hold because what breaks it is old.
            branch(value, ABSENT, path, found)
            if found:
                failures.append(found)
        valid = len(branches) - len(failures)
        if valid != 1:
            note = f"Found {valid} valid alternatives" if valid else "Found none valid"
            causes.append(invalid(NOWHERE, "", f"{quote(path)} must validate one and only one schema (oneOf). {note}"))
            causes += failures[_closest(schemas, value)] if not valid else []

    return one_of


def _closest(schemas: list[Obj], value: Any) -> int:
    """Which of some alternatives says most of a value; the first of those."""
    counts = [_said(schema, value) for schema in schemas]
    return counts.index(max(counts))


def _said(schema: Obj, value: Any) -> int:
    """How many rules a schema has for a value and what it holds, broken or not: upstream's MatchCount."""
    if value is None:
        return 0
    kind, form = schema.get("type") or "", schema.get("format") or ""
    # Its conditions, its enumeration and itself count always.
    count = 3 + (value.__class__ is not bool) + bool(kind or form) + (value.__class__ is str and is_known(form, kind))
    count += sum(_said(each, value) for each in schema.get("allOf") or ())
    if value.__class__ is list and schema.get("items"):
        return count + sum(_said(schema["items"], each) for each in value)
    if value.__class__ is dict:
        properties, others = schema.get("properties") or {}, schema.get("additionalProperties")
        pairs = [(properties.get(name, others), each) for name, each in value.items()]
        count += sum(_said(child, each) for child, each in pairs if isinstance(child, dict))
    return count


def _all_of(branches: tuple[Check, ...]) -> Check:
    def all_of(value: Any, old: Any, path: str, causes: list[Cause]) -> None:
        valid = 0
        for branch in branches:
            before = len(causes)
            branch(value, old, path, causes)
            valid += len(causes) == before
        if valid != len(branches):
            note = "" if valid else ". None validated"
            causes.append(invalid(NOWHERE, "", f"{quote(path)} must validate all the schemas (allOf){note}"))

    return all_of


def _not(branch: Check) -> Check:
    def negated(value: Any, _old: Any, path: str, causes: list[Cause]) -> None:
        found: list[Cause] = []
        branch(value, ABSENT, path, found)
        if not found:
            causes.append(invalid(NOWHERE, "", f"{quote(path)} must not validate the schema (not)"))

    return negated
