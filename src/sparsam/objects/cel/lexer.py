"""Expressions as tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from sparsam.objects.cel.errors import Issue
from sparsam.objects.cel.values import UInt

_TOKEN = re.compile(
    r"""(?P<space>[\ \t\r\n\f]+|//[^\n]*)
      |(?P<float>[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+|\.[0-9]+(?:[eE][+-]?[0-9]+)?)
      |(?P<uint>0x[0-9a-fA-F]+[uU]|[0-9]+[uU])
      |(?P<int>0x[0-9a-fA-F]+|[0-9]+)
      |(?P<text>(?:[rR][bB]?|[bB][rR]?)?(?:"{3}(?:[^\\]|\\.)*?"{3}|'{3}(?:[^\\]|\\.)*?'{3}|"(?:[^"\\\r\n]|\\.)*"|'(?:[^'\\\r\n]|\\.)*'))
      |(?P<name>[_a-zA-Z][_a-zA-Z0-9]*)
      |(?P<sign>==|!=|<=|>=|&&|\|\||[\[\]{}()<>.,:?+\-*/%!])""",
    re.VERBOSE | re.ASCII | re.DOTALL,
)
# A raw text has no escapes, so that a backslash before its end is not one.
_RAW = re.compile(
    r"""(?:[rR][bB]?|[bB][rR])(?:"{3}.*?"{3}|'{3}.*?'{3}|"[^"\r\n]*"|'[^'\r\n]*')""",
    re.DOTALL,
)
_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\?\"'`])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-3][0-7]{2})|(.?))", re.S
)
_ESCAPED = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


@dataclass(frozen=True, slots=True)
class Token:
    """A word of an expression: what kind, how it is written, where, and what it stands for."""

    kind: str
    text: str
    position: int
    value: Any = None


class LexicalError(ValueError):
    """A text that is no sequence of tokens; carries the issue."""

    def __init__(self, issue: Issue) -> None:
        super().__init__(issue.message)
        self.issue = issue


def tokens(text: str) -> list[Token]:
    """All tokens, with one of kind `end` behind the last; raises LexicalError."""
    found: list[Token] = []
    position = 0
    while position < len(text):
        match = _RAW.match(text, position) or _TOKEN.match(text, position)
        if match is None:
            raise LexicalError(Issue(position, f"Syntax error: token recognition error at: '{text[position]}'"))
        kind, word = match.lastgroup or "text", match.group()
        if kind != "space":
            found.append(Token(kind, word, position, _value(kind, word, position)))
        position = match.end()
    found.append(Token("end", "<EOF>", len(text)))
    return found


def _value(kind: str, word: str, position: int) -> Any:
    if kind == "int":
        return int(word, 16) if word.startswith("0x") else int(word)
    if kind == "uint":
        return UInt(int(word[:-1], 16) if word.startswith("0x") else int(word[:-1]))
    if kind == "float":
        return float(word)
    return _text(word, position) if kind == "text" else None


def _text(word: str, position: int) -> str | bytes:
    prefix = word[: min(word.find(quote) for quote in "\"'" if quote in word)].lower()
    body = word[len(prefix) :]
    width = 3 if body[:3] in ('"""', "'''") and len(body) >= 6 else 1
    body, is_bytes = body[width:-width], "b" in prefix
    if "r" in prefix:
        return body.encode() if is_bytes else body
    if not is_bytes:
        return _ESCAPE.sub(lambda match: _escaped(match, position), body)
    parts, end = bytearray(), 0
    for match in _ESCAPE.finditer(body):
        # In bytes, \x and octal escapes are bytes, not code points.
        parts += body[end : match.start()].encode()
        one = match.group(2) or match.group(5)
        parts += bytes([int(one, 16 if match.group(2) else 8)]) if one else _escaped(match, position).encode()
        end = match.end()
    return bytes(parts + body[end:].encode())


def _escaped(match: re.Match[str], position: int) -> str:
    letter, byte, short, long, octal, wrong = match.groups()
    if letter is not None:
        return _ESCAPED.get(letter, letter)
    if octal is not None:
        return chr(int(octal, 8))
    digits = byte or short or long
    code = int(digits, 16) if digits else -1
    if wrong is not None or code > 0x10FFFF or 0xD800 <= code < 0xE000:
        raise LexicalError(Issue(position, "invalid string literal: unable to unescape string"))
    return chr(code)
