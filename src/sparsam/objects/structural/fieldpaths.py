"""Paths to fields of a schema, as `fieldPath` of rules and `jsonPath` of selectable fields have them: `.spec['b']`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sparsam.objects.structural.nodes import Node

_TOKEN = re.compile(r"'(?:[^'\\]|\\.)*'|[.\[\]]|[^.\[\]']+|'")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "'": "'", "\\": "\\"}


class BadFieldPath(ValueError):
    """A path that leads nowhere, in upstream's words."""


def resolve(path: str, root: Node, *, allows_brackets: bool = True) -> tuple[list[str], Node]:
    """The steps of a path, each as it stands in a field path (`.a` or `[a]`), and what it leads to.

    Raises BadFieldPath.
    """
    steps: list[str] = []
    node = root
    tokens = iter(_TOKEN.findall(path))
    for token in tokens:
        if token == "[" and allows_brackets:
            name = _quoted(tokens)
        elif token == "[":
            raise BadFieldPath("array notation is not allowed")
        elif token == ".":
            name = _next(tokens)
        else:
            raise BadFieldPath(f"expected [ or . but got: {token}")
        if node.properties:
            steps.append(f".{name}")
            child = node.properties.get(name)
        else:
            steps.append(f"[{name}]")
            child = node.values
        if child is None:
            raise BadFieldPath("does not refer to a valid field")
        node = child
    return steps, node


def _next(tokens: Iterator[str]) -> str:
    token = next(tokens, None)
    if token is None:
        raise BadFieldPath("unexpected end of JSON path")
    return token


def _quoted(tokens: Iterator[str]) -> str:
    token = _next(tokens)
    if len(token) < 2 or token[0] != "'" or token[-1] != "'":
        raise BadFieldPath(f"expected single quoted string but got {token}")
    if (end := _next(tokens)) != "]":
        raise BadFieldPath(f"expected ] but got {end}")
    return _ESCAPE.sub(_unescape, token[1:-1])


def _unescape(match: re.Match[str]) -> str:
    character = match[1]
    if character not in _ESCAPED:
        raise BadFieldPath(f"invalid string literal: invalid escape char \\{character}")
    return _ESCAPED[character]
