"""Strategic merge: a patch that knows from the schema how lists merge.

Lists of a `merge` strategy are joined by their merge key (or, for plain values, as sets), others are replaced.
Directives: `$patch` (replace, delete, merge), `$retainKeys`, `$setElementOrder/<list>` and
`$deleteFromPrimitiveList/<list>`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from sparsam.errors import BadRequest
from sparsam.objects.schema import Definition, Field, definition

_PATCH = "$patch"
_RETAIN_KEYS = "$retainKeys"
_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"
_ATOMIC = Field("raw")


def merge(target: Any, patch: dict[str, Any], struct: Definition | None) -> dict[str, Any]:
    """`target` with `patch` merged in as the definition says (None: no schema here); neither is changed."""
    original = target if isinstance(target, dict) else {}
    directive = patch.get(_PATCH)
    if directive is not None:
        return _directed(directive, original, patch, struct)
    merged = dict(original)
    _retain_keys(merged, patch)
    orders = {name.removeprefix(_ORDER): order for name, order in patch.items() if name.startswith(_ORDER)}
    for name, value in patch.items():
        if name == _RETAIN_KEYS or name.startswith(_ORDER):
            continue
        if name.startswith(_DELETE):
            _delete_values(merged, name.removeprefix(_DELETE), value)
            continue
        field = _field(struct, name)
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            merged[name] = merge(merged.get(name), value, _inner(field))
        elif isinstance(value, list) and _merges(field):
            merged[name] = _merge_list(merged.get(name), value, field, orders.pop(name, None))
        else:
            merged[name] = value
    for name, order in orders.items():
        if isinstance(merged.get(name), list):
            merged[name] = _ordered(merged[name], order, _key(_field(struct, name)), name, merged[name])
    return merged


def _directed(
    directive: Any, original: dict[str, Any], patch: dict[str, Any], struct: Definition | None
) -> dict[str, Any]:
    rest = {name: value for name, value in patch.items() if name != _PATCH}
    if directive == "replace":
        return merge({}, rest, struct)
    if directive == "delete":
        return {}
    if directive == "merge":
        return merge(original, rest, struct)
    raise BadRequest(f"unknown patch type: {directive} in map: {rest}")


def _field(struct: Definition | None, name: str) -> Field:
    return struct.fields.get(name, _ATOMIC) if struct else _ATOMIC


def _inner(field: Field) -> Definition | None:
    return definition(field.definition) if field.definition else None


def _merges(field: Field) -> bool:
    return "merge" in field.strategy.split(",")


def _key(field: Field) -> str:
    return field.merge_key if field.type.startswith("[]@") else ""


def _retain_keys(merged: dict[str, Any], patch: dict[str, Any]) -> None:
    keep = patch.get(_RETAIN_KEYS)
    if keep is None:
        return
    if not isinstance(keep, list) or not all(isinstance(name, str) for name in keep):
        raise BadRequest("invalid patch format of retainKeys")
    for name, value in patch.items():
        if not name.startswith("$") and value is not None and name not in keep:
            raise BadRequest("invalid patch format of retainKeys")
    for name in [name for name in merged if name not in keep]:
        del merged[name]


def _delete_values(merged: dict[str, Any], name: str, values: Any) -> None:
    if not isinstance(values, list):
        raise BadRequest("invalid patch format of primitive list")
    found = merged.get(name)
    if isinstance(found, list):
        merged[name] = [item for item in found if item not in values]


def _merge_list(target: Any, patch: list[Any], field: Field, order: Any) -> list[Any]:
    original = target if isinstance(target, list) else []
    key = _key(field)
    if not key:
        if any(isinstance(item, (list, dict)) for item in patch):
            raise BadRequest("invalid patch format of primitive list")
        merged = list(dict.fromkeys([*original, *patch]))
    else:
        merged = _merge_by_key(original, patch, key, _inner(field))
    if order is None:
        # Without a wish the patch itself is one.
        order = [item for item in patch if not key or key in item]
    return _ordered(merged, order, key, "", original)


def _merge_by_key(original: Sequence[Any], patch: Sequence[Any], key: str, struct: Definition | None) -> list[Any]:
    changes: list[dict[str, Any]] = []
    merged = list(original)
    replace = False
    for item in patch:
        if not isinstance(item, dict):
            raise BadRequest("cannot merge a list of objects with other values")
        directive = item.get(_PATCH)
        if directive == "replace":
            replace = True
            item = {name: value for name, value in item.items() if name != _PATCH}
            if item:
                changes.append(item)
        elif directive == "delete":
            value = _key_value(item, key)
            merged = [each for each in merged if not (isinstance(each, dict) and each.get(key) == value)]
        elif directive not in (None, "merge"):
            raise BadRequest(f"unknown patch type: {directive} in list")
        else:
            changes.append(item)
    if replace:
        return [merge({}, item, struct) for item in changes]
    for item in changes:
        value = _key_value(item, key)
        places = [i for i, each in enumerate(merged) if isinstance(each, dict) and each.get(key) == value]
        if places:
            merged[places[0]] = merge(merged[places[0]], item, struct)
        else:
            merged.append(merge({}, item, struct))
    return merged


def _key_value(item: dict[str, Any], key: str) -> Any:
    if key not in item:
        raise BadRequest(f"map: {item} does not contain declared merge key: {key}")
    return item[key]


def _ordered(items: list[Any], order: Any, key: str, name: str, original: Sequence[Any]) -> list[Any]:
    """Items in the wished order, the others in their original order between them.

    One of the others comes before a wished item only where it did in the original list.
    """
    if not isinstance(order, list):
        raise BadRequest(f"invalid patch format of setElementOrder list {name}".rstrip())
    if key and not all(isinstance(each, dict) and key in each for each in order):
        raise BadRequest("invalid patch format of setElementOrder list")
    value_of: Callable[[Any], Any] = (lambda item: item.get(key) if isinstance(item, dict) else None) if key else _same
    wished, before = [value_of(each) for each in order], [value_of(each) for each in original]
    listed = sorted((item for item in items if value_of(item) in wished), key=lambda item: wished.index(value_of(item)))
    others = deque(item for item in items if value_of(item) not in wished)
    result = []
    for item in listed:
        if value_of(item) in before:
            place = before.index(value_of(item))
            while others and value_of(others[0]) in before[:place]:
                result.append(others.popleft())
        result.append(item)
    return [*result, *others]


def _same(item: Any) -> Any:
    return item
