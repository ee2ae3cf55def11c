"""Parsing of JSON and YAML texts, with Go's account of what is malformed and of duplicate keys."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Hashable, Iterator
from itertools import count
from typing import Any

import msgspec
import yaml

_decoder = msgspec.json.Decoder()


class Malformed(ValueError):
    """The text is no JSON; the message is that of Go's scanner."""


class MalformedYaml(Malformed):
    """The text is no YAML."""


def parse_json(raw: bytes) -> Any:
    """The value; raises Malformed."""
    try:
        return _decoder.decode(raw)
    except RecursionError:
        raise Malformed("exceeded max depth") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _parse_leniently(raw, error)


def _parse_leniently(raw: bytes, error: Exception) -> Any:
    """Go takes invalid UTF-8 and lone surrogates, replacing them; everything else is malformed."""
    text = raw.decode("utf-8", "replace")
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise Malformed("exceeded max depth") from None
    except ValueError as reason:
        raise Malformed(_syntax_error(text, reason)) from error
    return _without_surrogates(value)


def _no_constant(name: str) -> Any:
    raise ValueError(name)


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(name): _without_surrogates(item) for name, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        raise Malformed("number out of range")
    return value


def _syntax_error(text: str, reason: ValueError) -> str:
    position = reason.pos if isinstance(reason, json.JSONDecodeError) else 0
    if not text.strip() or position >= len(text.rstrip()):
        return "unexpected end of JSON input"
    character = text[position]
    message = str(reason)
    shown = repr(character) if character != "'" else r"'\''"
    if "Unterminated" in message or "Invalid \\escape" in message:
        return "unexpected end of JSON input"
    if "Invalid control character" in message:
        return f"invalid character {shown} in string literal"
    if "delimiter" in message and "':'" in message:
        return f"invalid character {shown} after object key"
    if "delimiter" in message:
        inside = "object key:value pair" if "{" in text[:position] else "array element"
        return f"invalid character {shown} after {inside}"
    if "property name" in message:
        return f"invalid character {shown} looking for beginning of object key string"
    if "Extra data" in message:
        return f"invalid character {shown} after top-level value"
    return _literal_error(text[position:]) or f"invalid character {shown} looking for beginning of value"


def _literal_error(rest: str) -> str:
    """What is wrong with a text that begins like null, true or false."""
    for literal in ("null", "true", "false"):
        if rest.startswith(literal[0]):
            for position, wanted in enumerate(literal):
                if position >= len(rest):
                    return "unexpected end of JSON input"
                if rest[position] != wanted:
                    return f"invalid character {rest[position]!r} in literal {literal} (expecting {wanted!r})"
    return ""


def parse_json_strictly(raw: bytes) -> tuple[Any, list[str]]:
    """The value, and the paths of keys that appear twice in one object."""
    value = parse_json(raw)
    # A dropped duplicate takes its quotes along. Only a text whose quotes do not add up is parsed again, slowly.
    if b"\\u0022" not in raw and raw.count(b'"') == msgspec.json.encode(value).count(b'"'):
        return value, []
    return value, list(dict.fromkeys(path for path, again in keys_of(raw) if again))


def keys_of(raw: bytes) -> Iterator[tuple[str, bool]]:
    """The path of every key of a JSON text, in order of appearance, and whether its object had it before."""
    pairs = json.loads(raw.decode("utf-8", "replace"), object_pairs_hook=_Pairs, parse_constant=_no_constant)
    yield from _keys(pairs, "")


class _Pairs(list[tuple[str, Any]]):
    """An object as the list of its keys and values, duplicates included."""


def _keys(value: Any, path: str) -> Iterator[tuple[str, bool]]:
    if isinstance(value, _Pairs):
        seen: set[str] = set()
        for name, item in value:
            here = f"{path}.{name}" if path else name
            yield here, name in seen
            seen.add(name)
            yield from _keys(item, here)
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _keys(item, f"{path}[{position}]")


_DEPTH_LIMIT = 1000
_ALIAS_LIMIT = 100_000
"""How many values aliases may add to a document: a few lines can stand for more than any memory holds."""


class _Loader(yaml.CSafeLoader):
    """YAML with the values that JSON has: dates stay text."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Put merged keys (`<<`) in place; raises MalformedYaml where they multiply."""
        before = len(node.value)
        super().flatten_mapping(node)
        if len(node.value) > before + _ALIAS_LIMIT:
            raise _excessive_aliasing()

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        self.flatten_mapping(node)
        mapping: dict[Hashable, Any] = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            mapping[_key(key)] = self.construct_object(value_node, deep=True)
        return mapping


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, (str, int, float)):
        return str(key)
    raise MalformedYaml("yaml: invalid map key")


_TAG = "tag:yaml.org,2002:"


def _as_in_go(tag: str, pattern: re.Pattern[str]) -> tuple[str, re.Pattern[str]]:
    """`12:30` is text, no number to the base of sixty."""
    if tag in (_TAG + "int", _TAG + "float"):
        return tag, re.compile(f"(?!.*:)(?:{pattern.pattern})", pattern.flags)
    return tag, pattern


_Loader.yaml_implicit_resolvers = {
    first: [_as_in_go(tag, pattern) for tag, pattern in resolvers if tag != _TAG + "timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
# YAML 1.1 wants a dot in every float, Go does not.
_EXPONENT = re.compile(r"[-+]?(?:\.\d+|\d+(?:\.\d*)?)[eE][-+]?\d{1,2}$", re.ASCII)
_Loader.add_implicit_resolver(_TAG + "float", _EXPONENT, list("-+.0123456789"))


def parse_yaml(raw: bytes) -> Any:
    """The first document as a JSON value; raises MalformedYaml."""
    if raw.lstrip()[:1] == b"{":
        # JSON is YAML, and its reader is stricter and faster.
        try:
            return parse_json(raw)
        except Malformed:
            pass
    try:
        _check_depth(raw)
        value = next(yaml.load_all(raw, Loader=_Loader), None)
        # Without aliases a document has no more values than bytes.
        return _decoder.decode(msgspec.json.encode(_plain(value, count(-len(raw) - _ALIAS_LIMIT))))
    except yaml.MarkedYAMLError as error:
        raise MalformedYaml(f"yaml: {_where(error)}{error.problem or error.context}") from error
    except RecursionError:
        raise _too_deep() from None
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, TypeError, msgspec.MsgspecError) as error:
        if isinstance(error, MalformedYaml):
            raise
        raise MalformedYaml(f"yaml: {error}") from error


def repeated_keys(raw: bytes) -> list[tuple[int, str]]:
    """Line and name of every key that is not the first of its name in its map, in a text that `parse_yaml` takes."""
    if raw.lstrip()[:1] == b"{":
        try:
            if not parse_json_strictly(raw)[1]:
                return []
        except Malformed:
            pass
    node = next(iter(yaml.compose_all(raw, Loader=_Loader)), None)
    return list(_repeated(node, set())) if node is not None else []


def _repeated(node: yaml.Node, visited: set[int]) -> Iterator[tuple[int, str]]:
    # Aliases lead to one node again and again.
    if id(node) in visited:
        return
    visited.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _repeated(item, visited)
    elif isinstance(node, yaml.MappingNode):
        names = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value in names:
                yield value.start_mark.line + 1, key.value
            names.add(str(key.value))
            yield from _repeated(value, visited)


def _check_depth(raw: bytes) -> None:
    """Raises MalformedYaml for a document on which the loader, recursive in C, would overrun its stack."""
    depth = 0
    for event in yaml.parse(raw, Loader=_Loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _DEPTH_LIMIT:
                raise _too_deep()
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentEndEvent):
            return


def _too_deep() -> MalformedYaml:
    return MalformedYaml("yaml: exceeded max depth")


def _where(error: yaml.MarkedYAMLError) -> str:
    """Go's library counts lines from nought, except where the scanner found the fault."""
    marks = [mark.line for mark in (error.context_mark, error.problem_mark) if mark and mark.line]
    scanner = isinstance(error, yaml.scanner.ScannerError)
    return f"line {marks[0] + (1 if scanner else 0)}: " if marks else ""


def _excessive_aliasing() -> MalformedYaml:
    return MalformedYaml("yaml: document contains excessive aliasing")


def _plain(value: Any, seen: Iterator[int]) -> Any:
    """The value with nothing in it that JSON lacks; `seen` counts values up to nought, which is too many."""
    if next(seen) == 0:
        raise _excessive_aliasing()
    if isinstance(value, dict):
        return {_key(name): _plain(item, seen) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, seen) for item in value]
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    raise MalformedYaml(f"yaml: cannot be written as JSON: {value!r}")
