"""Named formats of texts: Kubernetes' format library."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from sparsam.objects import names
from sparsam.objects.cel.declarations import overload, table
from sparsam.objects.cel.errors import EvaluationError
from sparsam.objects.cel.functions.network import parse_url
from sparsam.objects.cel.values import NONE, Optional, parse_timestamp

_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}\Z", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Format:
    """A format by its name: `errors` says what is wrong with a text."""

    name: str
    errors: Callable[[str], list[str]]
    type_name = "kubernetes.NamedFormat"


def _prefix(rule: str) -> Callable[[str], list[str]]:
    return lambda text: names.name_errors(rule, text, prefix=True)


def _uri(text: str) -> list[str]:
    try:
        parse_url(text)
    except EvaluationError as error:
        return [str(error).partition(": ")[2]]
    return []


def _uuid(text: str) -> list[str]:
    return [] if _UUID.match(text) else ["does not match the UUID format"]


def _byte(text: str) -> list[str]:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error:
        return ["invalid base64"]
    return [] if text else ["invalid base64"]


def _date(text: str) -> list[str]:
    try:
        date.fromisoformat(text)
    except ValueError:
        return ["invalid date"]
    return [] if len(text) == 10 else ["invalid date"]


def _datetime(text: str) -> list[str]:
    try:
        parse_timestamp(text.upper())
    except EvaluationError:
        return ["invalid datetime"]
    return []


_FORMATS = {
    "dns1123Label": Format("DNS1123Label", names.dns_label_errors),
    "dns1123Subdomain": Format("DNS1123Subdomain", names.dns_subdomain_errors),
    "dns1035Label": Format("DNS1035Label", names.dns1035_label_errors),
    "qualifiedName": Format("QualifiedName", names.qualified_name_errors),
    "dns1123LabelPrefix": Format("DNS1123LabelPrefix", _prefix("dns-label")),
    "dns1123SubdomainPrefix": Format("DNS1123SubdomainPrefix", _prefix("dns-subdomain")),
    "dns1035LabelPrefix": Format("DNS1035LabelPrefix", _prefix("dns1035-label")),
    "labelValue": Format("LabelValue", names.label_value_errors),
    "uri": Format("URI", _uri),
    "uuid": Format("uuid", _uuid),
    "byte": Format("byte", _byte),
    "date": Format("date", _date),
    "datetime": Format("datetime", _datetime),
}


def _named(name: str) -> Optional:
    return Optional(True, _FORMATS[name]) if name in _FORMATS else NONE


def _validate(asked: Format, text: str) -> Optional:
    errors = asked.errors(text)
    return Optional(True, errors) if errors else NONE


_FORMAT = "kubernetes.NamedFormat"

FUNCTIONS = table(
    overload("format.named", f"(string) -> optional_type({_FORMAT})", _named),
    overload("validate", f"({_FORMAT}, string) -> optional_type(list(string))", _validate, member=True),
    *(overload(f"format.{name}", f"() -> {_FORMAT}", lambda each=each: each) for name, each in _FORMATS.items()),
)
