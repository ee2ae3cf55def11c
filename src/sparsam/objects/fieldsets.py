"""Sets of fields as `metadata.managedFields` carries them (FieldsV1), and their algebra. Pure.

A set is a tree of plain dicts. A key is one step of a path: `f:name` a field, `k:{"name":"web"}` an item of a list by
its keys, `v:"a"` an item of a set, `i:0` one by its place. An empty dict below a key says that this path belongs to
the set; a dict that holds `.` says so too and has more below; any other dict only leads on. Because sets are what is
stored, nothing is translated when an object is read or written. Sets are shared freely: nobody changes one in place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from sparsam.objects.fields import quote, render

FieldSet = dict[str, Any]

SELF = "."
_ALONE: FieldSet = {SELF: {}}
_encoder = msgspec.json.Encoder(order="deterministic")


def opened(node: FieldSet) -> FieldSet:
    """A node below the root with its own membership written out."""
    return node or _ALONE


def closed(node: FieldSet) -> FieldSet:
    """The short form of `opened`."""
    return {} if node == _ALONE else node


def has_self(node: FieldSet) -> bool:
    """Whether the path that leads to this node belongs to the set."""
    return not node or SELF in node


def union(left: FieldSet, right: FieldSet) -> FieldSet:
    """The paths of both."""
    if not left or not right:
        return left or right
    out = dict(left)
    for key, theirs in right.items():
        ours = out.get(key)
        if ours is None:
            out[key] = theirs
        elif ours is not theirs and key != SELF:
            out[key] = closed(union(opened(ours), opened(theirs)))
    return out


def intersection(left: FieldSet, right: FieldSet) -> FieldSet:
    """The paths that are in both."""
    out: FieldSet = {}
    for key, ours in left.items():
        theirs = right.get(key)
        if theirs is None:
            continue
        if key == SELF:
            out[key] = {}
        elif both := intersection(opened(ours), opened(theirs)):
            out[key] = closed(both)
    return out


def difference(left: FieldSet, right: FieldSet) -> FieldSet:
    """The paths of `left` that are not in `right`; what lies below a path of `right` stays."""
    out: FieldSet = {}
    for key, ours in left.items():
        theirs = right.get(key)
        if theirs is None:
            out[key] = ours
        elif key != SELF and (rest := difference(opened(ours), opened(theirs))):
            out[key] = closed(rest)
    return out


def without_trees(left: FieldSet, right: FieldSet) -> FieldSet:
    """The paths of `left` that are neither in `right` nor below one of its paths."""
    out: FieldSet = {}
    for key, ours in left.items():
        theirs = right.get(key)
        if theirs is None:
            out[key] = ours
        elif not has_self(theirs) and (rest := without_trees(opened(ours), theirs)):
            out[key] = closed(rest)
    return out


def only_trees(left: FieldSet, right: FieldSet) -> FieldSet:
    """The paths of `left` that are in `right` or below one of its paths; `*` in `right` stands for any step."""
    out: FieldSet = {}
    for key, ours in left.items():
        theirs = right.get(key, right.get("*"))
        if theirs is None:
            continue
        if has_self(theirs):
            out[key] = ours
        elif rest := only_trees(opened(ours), theirs):
            out[key] = closed(rest)
    return out


def contains(fields: FieldSet, path: Sequence[str]) -> bool:
    """Whether a path belongs to a set."""
    node: FieldSet | None = fields
    for step in path:
        node = node.get(step) if node else None
        if node is None:
            return False
    return bool(path) and node is not None and has_self(node)


def paths(fields: FieldSet, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """All paths of a set, those of one level before what lies below them."""
    steps = sorted((step for step in fields if step != SELF), key=_rank)
    yield from ((*prefix, step) for step in steps if has_self(fields[step]))
    for step in steps:
        yield from paths(fields[step], (*prefix, step))


def _rank(step: str) -> tuple[int, str]:
    return "fkvi".find(step[0]), step


def from_paths(listed: Sequence[Sequence[str]]) -> FieldSet:
    """The set of these paths."""
    fields: FieldSet = {}
    for path in listed:
        one: FieldSet = {}
        for step in reversed(path):
            one = {step: one}
        fields = union(fields, one)
    return fields


def format_path(path: Sequence[str]) -> str:
    """A path as people read it: `.spec.ports[port=80,protocol="TCP"].targetPort`."""
    return "".join(map(format_step, path))


def format_step(step: str) -> str:
    """One step as people read it."""
    kind, text = step[0], step[2:]
    if kind == "f":
        return f".{text}"
    if kind == "k":
        named = msgspec.json.decode(text.encode())
        return "[" + ",".join(f"{name}={_format_value(value)}" for name, value in sorted(named.items())) + "]"
    return f"[={_format_value(msgspec.json.decode(text.encode()))}]" if kind == "v" else f"[{text}]"


def _format_value(value: Any) -> str:
    return quote(value) if isinstance(value, str) else render(value)


def keyed(values: Sequence[tuple[str, Any]]) -> str:
    """The step to the item with these keys, given in order of their names."""
    return "k:{" + ",".join([f'"{name}":{_written(value)}' for name, value in values]) + "}"


def valued(value: Any) -> str:
    """The step to an item of a set."""
    return f"v:{_written(value)}"


def _written(value: Any) -> str:
    # Only text is worth remembering, and safe to: 1 and true are one key of a Python dict.
    return _text(value) if value.__class__ is str else _encoder.encode(value).decode()


@lru_cache(maxsize=4096)
def _text(value: str) -> str:
    return _encoder.encode(value).decode()


def parse(raw: Any) -> FieldSet:
    """A set that somebody else wrote, with steps in the form used here; raises ValueError.

    Steps of a kind that is not known are left out with all below them, as upstream does.
    """
    out = _parse(raw)
    out.pop(SELF, None)
    return out


def _parse(raw: Any) -> FieldSet:
    if not isinstance(raw, dict):
        raise ValueError("a set of fields is a JSON object")
    out: FieldSet = {}
    for key, below in raw.items():
        if key == SELF:
            out[SELF] = {}
            continue
        step = _parse_step(key)
        if step:
            node = _parse(below)
            # A node that had nothing in it that is known belongs to the set itself.
            out[step] = closed(node)
    return out


def _parse_step(key: str) -> str:
    if len(key) < 2 or key[1] != ":":
        raise ValueError(f"missing colon: {key}")
    kind, text = key[0], key[2:]
    if kind == "f":
        return key
    if kind == "k":
        named = msgspec.json.decode(text.encode())
        if not isinstance(named, dict):
            raise ValueError(f"keys are a JSON object: {key}")
        return keyed(sorted(named.items()))
    if kind == "v":
        return valued(msgspec.json.decode(text.encode()))
    return f"i:{int(text)}" if kind == "i" else ""
