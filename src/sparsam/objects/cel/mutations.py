"""Types that mutations make: `Object{...}` for what is applied, `JSONPatch{...}` for single changes.

`Object` and the types of its fields (`Object.spec`, `Object.spec.template`) have any field; whether the names of types
are those of the fields that hold them is seen when a mutation runs. Source: KEP-3962, and the API reference of
MutatingAdmissionPolicy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from sparsam.errors import StatusError
from sparsam.objects.cel.errors import EvaluationError
from sparsam.objects.cel.types import DYN, STRING, Type, list_of, object_of
from sparsam.objects.cel.values import StructValue
from sparsam.objects.patches import TestFailed, json_patch
from sparsam.objects.shapes import List, Shape, Struct
from sparsam.objects.strategy import Obj

if TYPE_CHECKING:
    from sparsam.objects.objecttypes import ObjectType


class _AnyField(Mapping[str, Type]):
    def __getitem__(self, name: str) -> Type:
        return DYN

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class _Structs(Mapping[str, Type]):
    def __getitem__(self, name: str) -> Type:
        if name == JSON_PATCH.name:
            return JSON_PATCH
        if name == "Object" or name.startswith("Object."):
            return object_of(name, _AnyField())
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(("Object", JSON_PATCH.name))

    def __len__(self) -> int:
        return 2


JSON_PATCH = object_of("JSONPatch", {"op": STRING, "path": STRING, "from": STRING, "value": DYN})
OBJECT = Type("Object")
RETURNS: Mapping[str, Type] = {"ApplyConfiguration": OBJECT, "JSONPatch": list_of(JSON_PATCH)}
STRUCTS: Mapping[str, Type] = _Structs()


def plain_object(value: Any, path: str = "Object") -> Any:
    """What an `Object` says as plain JSON; raises EvaluationError where a type's name is not the way to its field."""
    if isinstance(value, StructValue):
        if value.type_name != path:
            wanted = f'expected "{path}", which matches field name path from root Object type'
            raise EvaluationError(f'unexpected type name "{value.type_name}", {wanted}')
        return {name: plain_object(each, f"{path}.{name}") for name, each in value.items()}
    if isinstance(value, list):
        return [plain_object(each, path) for each in value]
    return plain(value)


def plain(value: Any) -> Any:
    """A value as JSON; raises EvaluationError for what JSON has no word for."""
    if isinstance(value, StructValue):
        raise EvaluationError(f'unexpected type name "{value.type_name}"')
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "nanos"):
        return str(value)
    raise EvaluationError(f"no JSON conversion of type {type(value).__name__}")


def patch_operations(values: list[Any]) -> list[Obj]:
    """The operations that `JSONPatch` values stand for; raises EvaluationError."""
    found = []
    for each in values:
        if not isinstance(each, StructValue) or each.type_name != JSON_PATCH.name:
            raise EvaluationError(
                "type mismatch: JSONPatchType.ConvertToNative can only convert to jsonpatch.Operation"
            )
        operation = {name: _value(part) if name == "value" else part for name, part in each.items()}
        found.append(operation)
    return found


def _value(value: Any) -> Any:
    """A patch's value: an `Object` of any path stands for its fields."""
    if isinstance(value, StructValue):
        return {name: _value(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_value(each) for each in value]
    return plain(value)


def applied(kind: ObjectType, obj: Obj, value: Any) -> Obj:
    """The object with an `Object` merged into it as server-side apply would; raises EvaluationError."""
    config = plain_object(value) | {name: obj[name] for name in ("apiVersion", "kind") if name in obj}
    if problem := next(kind.problems(config), ""):
        raise EvaluationError(f"error applying patch: failed to convert patch object to typed object: {problem}")
    if whole := list(atomics(kind.shape, config)):
        shown = f"may not mutate atomic arrays, maps or structs: {', '.join(whole)}"
        raise EvaluationError(f"error applying patch: invalid ApplyConfiguration: {shown}")
    merged: Obj = kind.shape.merge(obj, config)
    return merged


def patched(obj: Obj, values: list[Any]) -> Obj:
    """The object after `JSONPatch` values; as it was when a `test` among them fails; raises EvaluationError."""
    try:
        found: Obj = json_patch(obj, patch_operations(values))
    except StatusError as error:
        if isinstance(error.__cause__, TestFailed):
            return obj
        raise EvaluationError(f"JSONPath: {error.message}") from None
    return found


def atomics(shape: Shape, value: Any, path: str = "") -> Iterator[str]:
    """Where a value has lists or maps that can only be written as a whole."""
    if isinstance(shape, Struct) and isinstance(value, Mapping):
        for name, item in value.items():
            yield from atomics(shape.part(name)[1], item, f"{path}.{name}")
    elif isinstance(shape, List) and isinstance(value, list):
        for place, item in enumerate(value):
            yield from atomics(shape.element, item, f"{path}[{place}]")
    elif isinstance(value, (list, Mapping)):
        yield path
