"""Label and field selectors: from query strings and LabelSelector objects to `matches`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparsam.errors import BadRequest
from sparsam.objects.fields import quote
from sparsam.objects.names import label_value_errors, qualified_name_errors

_TOKEN = re.compile(r"\s*(==|!=|=|!|\(|\)|,|<|>|[^\s=!(),<>]+)")
_SPECIAL = frozenset(["==", "!=", "=", "!", "(", ")", ",", "<", ">"])
_SINGLE = {"=": "in", "==": "in", "!=": "notin", ">": "gt", "<": "lt"}
_OBJECT_OPERATORS = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "!"}


@dataclass(frozen=True, slots=True)
class Requirement:
    """One term of a label selector: a key, an operator (`in`, `notin`, `exists`, `!`, `gt`, `lt`) and values."""

    key: str
    operator: str
    values: frozenset[str] = frozenset()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether an object with these labels satisfies the term."""
        value = labels.get(self.key)
        if self.operator == "in":
            return value is not None and value in self.values
        if self.operator == "notin":
            return value is None or value not in self.values
        if self.operator == "exists":
            return value is not None
        if self.operator == "!":
            return value is None
        return value is not None and self._compares(value)

    def _compares(self, value: str) -> bool:
        try:
            left, right = int(value), int(next(iter(self.values)))
        except ValueError:
            return False
        return left > right if self.operator == "gt" else left < right


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """All requirements must hold; without requirements everything matches."""

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False
    """Whether nothing matches at all: the meaning of an absent LabelSelector object."""

    def matches(self, labels: Mapping[str, str] | None) -> bool:
        """Whether an object with these labels is selected."""
        if self.nothing:
            return False
        found = labels or {}
        return all(requirement.matches(found) for requirement in self.requirements)

    @property
    def is_everything(self) -> bool:
        """Whether nothing is left out."""
        return not self.nothing and not self.requirements


def parse_label_selector(text: str) -> LabelSelector:
    """A selector such as `a=b,c in (d,e),!f`; raises BadRequest with upstream's words."""
    return LabelSelector(tuple(sorted(_LabelParser(text).parse(), key=lambda each: each.key)))


def parse_label_selector_object(selector: Mapping[str, Any] | None) -> LabelSelector:
    """A LabelSelector object (`matchLabels`, `matchExpressions`); None selects nothing, an empty one everything.

    Raises ValueError on an operator that does not exist.
    """
    if selector is None:
        return LabelSelector(nothing=True)
    found = [Requirement(key, "in", frozenset([value])) for key, value in (selector.get("matchLabels") or {}).items()]
    for each in selector.get("matchExpressions") or []:
        operator = _OBJECT_OPERATORS.get(each.get("operator", ""))
        if operator is None:
            raise ValueError(f"{quote(each.get('operator', ''))} is not a valid label selector operator")
        found.append(Requirement(each.get("key", ""), operator, frozenset(each.get("values") or ())))
    return LabelSelector(tuple(found))


def label_selector_from_map(labels: Mapping[str, str] | None) -> LabelSelector:
    """A selector of equalities, as Services and ReplicationControllers have; an absent one selects nothing."""
    if not labels:
        return LabelSelector(nothing=True)
    return LabelSelector(tuple(Requirement(key, "in", frozenset([value])) for key, value in labels.items()))


def format_label_selector(selector: Mapping[str, Any] | None) -> str:
    """A LabelSelector object as a query string, as scale subresources and tables show it."""
    if selector is None:
        return "<none>"
    terms = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for each in selector.get("matchExpressions") or []:
        key, operator, values = each.get("key", ""), each.get("operator", ""), sorted(each.get("values") or [])
        if operator == "Exists":
            terms.append(key)
        elif operator == "DoesNotExist":
            terms.append(f"!{key}")
        else:
            terms.append(f"{key} {operator.lower()} ({','.join(values)})")
    return ",".join(terms)


def go_label_selector(selector: Mapping[str, Any] | None) -> str:
    """A LabelSelector object as Go prints it in upstream's events and conditions."""
    if selector is None:
        return "nil"
    labels = "".join(f"{key}: {value}," for key, value in sorted((selector.get("matchLabels") or {}).items()))
    terms = ""
    for each in selector.get("matchExpressions") or ():
        values = " ".join(each.get("values") or ())
        terms += f"LabelSelectorRequirement{{Key:{each['key']},Operator:{each['operator']},Values:[{values}],}},"
    matches = f"MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{terms}}},"
    return f"&LabelSelector{{{matches}}}"


class _LabelParser:
    """Recursive descent over the tokens; the words of its errors are upstream's lexer's."""

    def __init__(self, text: str) -> None:
        self._tokens = _TOKEN.findall(text)
        self._position = 0

    def parse(self) -> Iterator[Requirement]:
        if not self._tokens:
            return
        while True:
            token = self._peek()
            if token == "" or (token in _SPECIAL and token != "!"):
                expected = "!, identifier, or 'end of string'" if token != "" else "identifier after ','"
                raise BadRequest(f"found '{token}', expected: {expected}")
            yield self._requirement()
            token = self._take()
            if token == "":
                return
            if token != ",":
                raise BadRequest(f"found '{token}', expected: ',' or 'end of string'")
            following = self._peek()
            if following != "!" and (following == "" or following in _SPECIAL):
                raise BadRequest(f"found '{following}', expected: identifier after ','")

    def _peek(self) -> str:
        return self._tokens[self._position] if self._position < len(self._tokens) else ""

    def _take(self) -> str:
        token = self._peek()
        self._position += 1
        return token

    def _requirement(self) -> Requirement:
        negated = self._peek() == "!"
        if negated:
            self._take()
        key = self._take()
        if key == "" or key in _SPECIAL:
            raise BadRequest(f"unable to parse requirement: found '{key}', expected: identifier")
        if self._is_bare_key(negated):
            return _checked(key, "!" if negated else "exists", ())
        operator = self._take()
        if operator in ("in", "notin"):
            return _checked(key, operator, self._values())
        if operator not in _SINGLE:
            supported = "in, notin, =, ==, !=, gt, lt"
            raise BadRequest(f"unable to parse requirement: found '{operator}', expected: {supported}")
        value = self._take() if self._peek() not in (",", "") else ""
        if value in _SPECIAL:
            raise BadRequest(f"unable to parse requirement: found '{value}', expected: identifier")
        return _checked(key, _SINGLE[operator], (value,))

    def _is_bare_key(self, negated: bool) -> bool:
        return negated or self._peek() in ("", ",")

    def _values(self) -> Sequence[str]:
        opening = self._take()
        if opening != "(":
            raise BadRequest(f"unable to parse requirement: found '{opening}' expected: '('")
        values: list[str] = []
        expects_value = True
        while True:
            token = self._take()
            if token == ")":
                return [*values, ""] if expects_value and values else values or [""]
            if token == ",":
                if expects_value:
                    values.append("")
                expects_value = True
            elif token == "" or token in _SPECIAL or not expects_value:
                raise BadRequest(f"unable to parse requirement: found '{token}', expected: ',', ')' or identifier")
            else:
                values.append(token)
                expects_value = False


def _checked(key: str, operator: str, values: Sequence[str]) -> Requirement:
    problems = [f"key: Invalid value: {quote(key)}: {error}" for error in qualified_name_errors(key)]
    if operator in ("gt", "lt"):
        for position, value in enumerate(values):
            if not re.fullmatch(r"[+-]?[0-9]+", value, re.ASCII):
                text = "for 'Gt', 'Lt' operators, the value must be an integer"
                problems.append(f"values[{position}]: Invalid value: {quote(value)}: {text}")
    for position, value in enumerate(values):
        where = f"values[{position}][{key}]"
        problems += [f"{where}: Invalid value: {quote(value)}: {error}" for error in label_value_errors(value)]
    if problems:
        shown = problems[0] if len(problems) == 1 else f"[{', '.join(problems)}]"
        raise BadRequest(f"unable to parse requirement: {shown}")
    return Requirement(key, operator, frozenset(values))


@dataclass(frozen=True, slots=True)
class FieldRequirement:
    """One term of a field selector."""

    path: str
    value: str
    equal: bool


@dataclass(frozen=True, slots=True)
class FieldSelector:
    """All terms must hold."""

    terms: tuple[FieldRequirement, ...] = ()

    def paths(self) -> set[str]:
        """The fields that are looked at."""
        return {term.path for term in self.terms}

    def matches(self, fields: Mapping[str, str]) -> bool:
        """Whether an object with these field values is selected; an absent field counts as empty."""
        return all((fields.get(term.path, "") == term.value) is term.equal for term in self.terms)

    def required(self, path: str) -> str | None:
        """The one value that the field must have, or None."""
        return next((term.value for term in self.terms if term.path == path and term.equal), None)


def parse_field_selector(text: str) -> FieldSelector:
    """A selector such as `spec.nodeName=n1,status.phase!=Failed`; raises BadRequest."""
    return FieldSelector(tuple(_field_term(text, term) for term in _split_terms(text) if term))


def _split_terms(text: str) -> list[str]:
    """At commas that are not escaped."""
    terms: list[str] = []
    start, escaped = 0, False
    for position, character in enumerate(text):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == ",":
            terms.append(text[start:position])
            start = position + 1
    return [*terms, text[start:]]


def _field_term(text: str, term: str) -> FieldRequirement:
    match = re.match(r"((?:\\.|[^\\=!]|!(?!=))*?)(!=|==|=)(.*)\Z", term, re.DOTALL)
    if match is None:
        raise BadRequest(f"invalid selector: '{text}'; can't understand '{term}'")
    path, operator, value = match.groups()
    return FieldRequirement(path, _unescape(value), operator != "!=")


def _unescape(value: str) -> str:
    out: list[str] = []
    characters = iter(value)
    for character in characters:
        if character == "\\":
            escaped = next(characters, "")
            if escaped not in ("\\", ",", "="):
                raise BadRequest(f"invalid field selector: invalid escape sequence: \\{escaped}")
            out.append(escaped)
        elif character in (",", "="):
            raise BadRequest(f"invalid field selector: unescaped character in value: {character!r}")
        else:
            out.append(character)
    return "".join(out)
