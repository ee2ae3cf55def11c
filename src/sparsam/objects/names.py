"""What names, labels, annotations and their like may look like, in upstream's words.

Each `*_errors` function returns the texts of all rules broken (empty: fine); the `validate_*` functions turn them into
causes at a field path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import child, forbidden, index, invalid, required, too_long

LABEL_MAX = 63
SUBDOMAIN_MAX = 253
ANNOTATIONS_MAX_BYTES = 256 * 1024

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_DNS1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_WILDCARD = rf"\*\.{_SUBDOMAIN}"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_LABEL_VALUE = f"({_QUALIFIED})?"
_CONFIG_KEY = "[-._a-zA-Z0-9]+"
_C_IDENTIFIER = "[A-Za-z_][A-Za-z0-9_]*"
_ENV_NAME = "[-._a-zA-Z][-._a-zA-Z0-9]*"
_HEADER = "[-A-Za-z0-9]+"
_PERCENT = "[0-9]+%"

_LABEL_RE = re.compile(_LABEL + r"\Z", re.ASCII)
_SUBDOMAIN_RE = re.compile(_SUBDOMAIN + r"\Z", re.ASCII)
_DNS1035_RE = re.compile(_DNS1035 + r"\Z", re.ASCII)
_WILDCARD_RE = re.compile(_WILDCARD + r"\Z", re.ASCII)
_QUALIFIED_RE = re.compile(_QUALIFIED + r"\Z", re.ASCII)
_LABEL_VALUE_RE = re.compile(_LABEL_VALUE + r"\Z", re.ASCII)
_CONFIG_KEY_RE = re.compile(_CONFIG_KEY + r"\Z", re.ASCII)
_C_IDENTIFIER_RE = re.compile(_C_IDENTIFIER + r"\Z", re.ASCII)
_ENV_NAME_RE = re.compile(_ENV_NAME + r"\Z", re.ASCII)
_HEADER_RE = re.compile(_HEADER + r"\Z", re.ASCII)
_PERCENT_RE = re.compile(_PERCENT + r"\Z", re.ASCII)
_PORT_NAME_RE = re.compile(r"[-a-z0-9]+\Z", re.ASCII)

_LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character"
)
_SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
_DNS1035_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character"
)
_WILDCARD_TEXT = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
    "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character"
)
_QUALIFIED_TEXT = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)
_LABEL_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)


def max_bytes(length: int) -> str:
    """The text for a label or qualified name with more than `length` bytes."""
    return f"must be no more than {length} bytes"


def max_length(length: int) -> str:
    """The text for a DNS name with more than `length` bytes (upstream has two wordings)."""
    return f"must be no more than {length} characters"


def pattern_text(message: str, pattern: str, *examples: str) -> str:
    """A rule with its pattern and examples, punctuated as upstream does."""
    if not examples:
        return f"{message} (regex used for validation is '{pattern}')"
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{message} (e.g. {shown}regex used for validation is '{pattern}')"


def _too_long(text: str, limit: int) -> bool:
    return len(text) > limit or (not text.isascii() and len(text.encode()) > limit)


def dns_label_errors(text: str) -> list[str]:
    """RFC 1123 label."""
    errors = [max_length(LABEL_MAX)] if _too_long(text, LABEL_MAX) else []
    if not _LABEL_RE.match(text):
        if _SUBDOMAIN_RE.match(text):
            errors.append("must not contain dots")
        else:
            errors.append(pattern_text(_LABEL_TEXT, _LABEL, "my-name", "123-abc"))
    return errors


def dns_subdomain_errors(text: str) -> list[str]:
    """RFC 1123 subdomain."""
    errors = [max_length(SUBDOMAIN_MAX)] if _too_long(text, SUBDOMAIN_MAX) else []
    if not _SUBDOMAIN_RE.match(text):
        errors.append(pattern_text(_SUBDOMAIN_TEXT, _SUBDOMAIN, "example.com"))
    return errors


def dns1035_label_errors(text: str) -> list[str]:
    """DNS-1035 label."""
    errors = [max_length(LABEL_MAX)] if _too_long(text, LABEL_MAX) else []
    if not _DNS1035_RE.match(text):
        errors.append(pattern_text(_DNS1035_TEXT, _DNS1035, "my-name", "abc-123"))
    return errors


def wildcard_subdomain_errors(text: str) -> list[str]:
    """`*.` and an RFC 1123 subdomain."""
    errors = [max_length(SUBDOMAIN_MAX)] if _too_long(text, SUBDOMAIN_MAX) else []
    if not _WILDCARD_RE.match(text):
        errors.append(pattern_text(_WILDCARD_TEXT, _WILDCARD, "*.example.com"))
    return errors


def path_segment_errors(text: str) -> list[str]:
    """A name that may be one segment of a URL path."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{part}'" for part in ("/", "%") if part in text]


def qualified_name_errors(text: str) -> list[str]:
    """`name` or `dns.prefix/name`: label keys, annotation keys, resource names."""
    parts = text.split("/")
    errors: list[str] = []
    if len(parts) == 1:
        name = parts[0]
    elif len(parts) == 2:
        prefix, name = parts
        if not prefix:
            errors.append("prefix part must be non-empty")
        else:
            errors.extend("prefix part " + error for error in dns_subdomain_errors(prefix))
    else:
        message = "a qualified name " + _QUALIFIED_TEXT
        text_with_examples = pattern_text(message, _QUALIFIED, "MyName", "my.name", "123-abc")
        return [text_with_examples + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"]
    if not name:
        errors.append("name part must be non-empty")
    elif _too_long(name, LABEL_MAX):
        errors.append("name part " + max_bytes(LABEL_MAX))
    if not _QUALIFIED_RE.match(name):
        errors.append("name part " + pattern_text(_QUALIFIED_TEXT, _QUALIFIED, "MyName", "my.name", "123-abc"))
    return errors


def label_value_errors(text: str) -> list[str]:
    """The value of a label."""
    errors = [max_bytes(LABEL_MAX)] if _too_long(text, LABEL_MAX) else []
    if not _LABEL_VALUE_RE.match(text):
        errors.append(pattern_text(_LABEL_VALUE_TEXT, _LABEL_VALUE, "MyValue", "my_value", "12345"))
    return errors


def config_key_errors(text: str) -> list[str]:
    """A key of a ConfigMap or Secret."""
    errors = [max_length(SUBDOMAIN_MAX)] if _too_long(text, SUBDOMAIN_MAX) else []
    if not _CONFIG_KEY_RE.match(text):
        message = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
        errors.append(pattern_text(message, _CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    return errors + _dots_errors(text)


def _dots_errors(text: str) -> list[str]:
    if text in (".", ".."):
        return [f"must not be '{text}'"]
    return ["must not start with '..'"] if text.startswith("..") else []


def env_name_errors(text: str) -> list[str]:
    """The name of an environment variable, the strict rule."""
    errors: list[str] = []
    if not _ENV_NAME_RE.match(text):
        message = (
            "a valid environment variable name must consist of alphabetic characters, digits, '_', '-', or '.', "
            "and must not start with a digit"
        )
        errors.append(pattern_text(message, _ENV_NAME, "my.env-name", "MY_ENV.NAME", "MyEnvName1"))
    return errors + _dots_errors(text)


def relaxed_env_name_errors(text: str) -> list[str]:
    """The name of an environment variable: printable ASCII without `=`."""
    if not text:
        return ["environment variable name must not be empty"]
    if all(" " <= character <= "~" and character != "=" for character in text):
        return []
    return ["a valid environment variable name must consist only of printable ASCII characters other than '='"]


def c_identifier_errors(text: str) -> list[str]:
    """An identifier of the C language."""
    if _C_IDENTIFIER_RE.match(text):
        return []
    message = (
        "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric "
        "characters or '_'"
    )
    return [pattern_text(message, _C_IDENTIFIER, "my_name", "MY_NAME", "MyName")]


def http_header_errors(text: str) -> list[str]:
    """The name of an HTTP header."""
    if _HEADER_RE.match(text):
        return []
    message = "a valid HTTP header must consist of alphanumeric characters or '-'"
    return [pattern_text(message, _HEADER, "X-Header-Name")]


def port_name_errors(text: str) -> list[str]:
    """The name of a port (IANA service name)."""
    errors: list[str] = []
    if len(text) > 15:
        errors.append("must be no more than 15 characters")
    if not _PORT_NAME_RE.match(text):
        errors.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not any("a" <= character <= "z" for character in text):
        errors.append("must contain at least one letter (a-z)")
    if "--" in text:
        errors.append("must not contain consecutive hyphens")
    if text.startswith("-") or text.endswith("-"):
        errors.append("must not begin or end with a hyphen")
    return errors


def port_number_errors(port: int) -> list[str]:
    """A port number."""
    return [] if 1 <= port <= 65535 else ["must be between 1 and 65535, inclusive"]


def percent_errors(text: str) -> list[str]:
    """`25%`."""
    if _PERCENT_RE.match(text):
        return []
    message = "a valid percent string must be a numeric string followed by an ending '%'"
    return [pattern_text(message, _PERCENT, "1%", "93%")]


def mask_trailing_dash(name: str) -> str:
    """A generateName prefix as if its suffix were there: a dash may end it."""
    return name[:-2] + "a" if len(name) > 1 and name.endswith("-") else name


NameRule = Callable[[str], list[str]]

NAME_RULES: Mapping[str, NameRule] = {
    "dns-subdomain": dns_subdomain_errors,
    "dns-label": dns_label_errors,
    "dns1035-label": dns1035_label_errors,
    "path-segment": path_segment_errors,
}
"""Rules for metadata.name by the word that a Strategy uses."""


def name_errors(rule: str, name: str, *, prefix: bool = False) -> list[str]:
    """Broken rules of metadata.name; with `prefix`, of a generateName."""
    check = NAME_RULES[rule]
    if prefix and rule != "path-segment":
        name = mask_trailing_dash(name)
    return check(name)


def validate_label_name(name: str, path: str) -> list[Cause]:
    """Causes for a label key."""
    return [invalid(path, name, error) for error in qualified_name_errors(name)]


def validate_labels(labels: Mapping[str, str] | None, path: str) -> list[Cause]:
    """Causes for a map of labels, in order of their keys' appearance."""
    causes: list[Cause] = []
    for name, value in (labels or {}).items():
        causes += validate_label_name(name, path)
        causes += [invalid(path, value, error) for error in label_value_errors(value)]
    return causes


def validate_annotations(annotations: Mapping[str, str] | None, path: str) -> list[Cause]:
    """Causes for a map of annotations: keys, and the size of all together."""
    causes: list[Cause] = []
    size = 0
    for name, value in (annotations or {}).items():
        # Upstream compares annotation keys without regard to case, so that old keys stay valid.
        causes += [invalid(path, name, error) for error in qualified_name_errors(name.lower())]
        size += len(name.encode()) + len(value.encode())
    if size > ANNOTATIONS_MAX_BYTES:
        causes.append(too_long(path, ANNOTATIONS_MAX_BYTES))
    return causes


def validate_immutable(new: Any, old: Any, path: str) -> list[Cause]:
    """A cause when a field that may not change did."""
    return [] if new == old else [invalid(path, new, "field is immutable")]


def validate_non_negative(value: int, path: str) -> list[Cause]:
    """A cause for a negative number."""
    return [] if value >= 0 else [invalid(path, value, "must be greater than or equal to 0")]


def validate_label_selector(selector: Mapping[str, Any] | None, path: str) -> list[Cause]:
    """Causes for a LabelSelector object."""
    if selector is None:
        return []
    causes = validate_labels(selector.get("matchLabels"), child(path, "matchLabels"))
    for position, requirement in enumerate(selector.get("matchExpressions") or []):
        here = index(child(path, "matchExpressions"), position)
        operator, values = requirement.get("operator", ""), requirement.get("values") or []
        if operator in ("In", "NotIn"):
            if not values:
                causes.append(required(f"{here}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                causes.append(forbidden(f"{here}.values", detail))
        else:
            causes.append(invalid(f"{here}.operator", operator, "not a valid selector operator"))
        causes += validate_label_name(requirement.get("key", ""), f"{here}.key")
        for order, value in enumerate(values):
            causes += [invalid(index(f"{here}.values", order), value, error) for error in label_value_errors(value)]
    return causes
