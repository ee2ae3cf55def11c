"""The three patches of Kubernetes: JSON patch (RFC 6902), merge patch (RFC 7386) and strategic merge patch.

All work on plain JSON and leave the object that they are applied to as it is.
"""

from __future__ import annotations

from typing import Any

import msgspec

from sparsam.errors import BadRequest, Invalid, RequestEntityTooLarge, StatusError
from sparsam.objects import documents
from sparsam.objects.objecttypes import ObjectType
from sparsam.objects.strategy import Obj

MAX_OPERATIONS = 10_000
MAX_COPIED_BYTES = 3 * 1024 * 1024
"""What all copies of one JSON patch may add, upstream's limit: each can double an object."""
_KINDS = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
}


def apply(kind: ObjectType, old: Obj, patch_type: str, raw: bytes) -> Obj:
    """`old`, an object of this type, with the patch (`json`, `merge`, `strategic`, or their media types) applied.

    Raises BadRequest for a patch that makes no sense and Invalid for one that does not fit the object.
    """
    patch_type = _KINDS.get(patch_type, patch_type)
    try:
        patch = documents.parse_json(raw)
    except documents.Malformed as error:
        raise BadRequest(f"error decoding patch: {error}") from error
    try:
        if patch_type == "json":
            patched = json_patch(old, patch)
        elif patch_type == "merge":
            if not isinstance(patch, dict):
                raise BadRequest("Invalid JSON Patch")
            patched = merge(old, patch)
        else:
            if not isinstance(patch, dict):
                raise BadRequest("invalid patch: the patch must be an object")
            patched = kind.merge(old, patch)
    except RecursionError:
        raise BadRequest("the patch is nested too deeply") from None
    if not isinstance(patched, dict):
        raise unprocessable()
    result: Obj = patched
    return result


def unprocessable() -> StatusError:
    """A patch that cannot be applied to this object."""
    return Invalid("the server rejected our request due to an error in our request", details={})


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386: `target` with `patch` merged in; neither is changed."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


class TestFailed(ValueError):
    """A `test` of a JSON patch that does not hold."""

    __test__ = False


def json_patch(target: Any, operations: Any) -> Any:
    """RFC 6902: `target` after all operations; raises Invalid when one fails, and then nothing has happened."""
    if not isinstance(operations, list) or not all(isinstance(each, dict) for each in operations):
        raise BadRequest("error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch")
    if len(operations) > MAX_OPERATIONS:
        text = f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}"
        raise RequestEntityTooLarge(text)
    root = [_copy(target)]
    copied_bytes = 0
    for operation in operations:
        try:
            copied_bytes += _operate(root, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            raise unprocessable() from error
        if copied_bytes > MAX_COPIED_BYTES:
            raise unprocessable()
    return root[0]


def _copy(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


def _operate(root: list[Any], operation: dict[str, Any]) -> int:
    """How many bytes it copied within the object."""
    name, path = operation["op"], _pointer(operation["path"])
    if name == "add":
        _add(root, path, _copy(operation.get("value")))
    elif name == "remove":
        _remove(root, path)
    elif name == "replace":
        _get(root, path)
        _set(root, path, _copy(operation.get("value")))
    elif name == "move":
        _add(root, path, _remove(root, _pointer(operation["from"])))
    elif name == "copy":
        copied = msgspec.json.encode(_get(root, _pointer(operation["from"])))
        _add(root, path, msgspec.json.decode(copied))
        return len(copied)
    elif name == "test":
        _test(root, path, operation.get("value"))
    else:
        raise ValueError(name)
    return 0


def _test(root: list[Any], path: list[str], wanted: Any) -> None:
    try:
        found = _get(root, path)
    except (KeyError, IndexError):
        # A missing member equals null.
        found = None
    if not _equal(found, wanted):
        raise TestFailed


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_equal(value, right[name]) for name, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(_equal(a, b) for a, b in zip(left, right, strict=True))
    return bool(left == right)


def _pointer(path: Any) -> list[str]:
    """A JSON pointer's parts, below the list that holds the root."""
    if path == "":
        return []
    if not isinstance(path, str) or not path.startswith("/"):
        raise ValueError(path)
    return [part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/")]


def _index(part: str, length: int, *, adding: bool = False) -> int:
    if adding and part == "-":
        return length
    if not part.lstrip("-").isdigit() or not part.isascii():
        raise ValueError(part)
    position = int(part)
    if position < 0:
        # The library that Kubernetes uses counts from the end.
        position += length + (1 if adding else 0)
    if position < 0 or position > (length if adding else length - 1):
        raise IndexError(part)
    return position


def _get(root: list[Any], path: list[str]) -> Any:
    node = root[0]
    for part in path:
        node = node[_index(part, len(node))] if isinstance(node, list) else _member(node, part)
    return node


def _member(node: Any, part: str) -> Any:
    if not isinstance(node, dict):
        raise TypeError(part)
    return node[part]


def _add(root: list[Any], path: list[str], value: Any) -> None:
    if not path:
        root[0] = value
        return
    parent = _get(root, path[:-1])
    if isinstance(parent, list):
        parent.insert(_index(path[-1], len(parent), adding=True), value)
    elif isinstance(parent, dict):
        parent[path[-1]] = value
    else:
        raise TypeError(path)


def _set(root: list[Any], path: list[str], value: Any) -> None:
    if not path:
        root[0] = value
        return
    parent = _get(root, path[:-1])
    if isinstance(parent, list):
        parent[_index(path[-1], len(parent))] = value
    else:
        parent[path[-1]] = value


def _remove(root: list[Any], path: list[str]) -> Any:
    if not path:
        raise ValueError("cannot remove the document")
    parent = _get(root, path[:-1])
    if isinstance(parent, list):
        return parent.pop(_index(path[-1], len(parent)))
    return parent.pop(path[-1]) if isinstance(parent, dict) else _member(parent, path[-1])
