"""The formats that Kubernetes checks in custom resources (apiextensions' list of supported formats).

Others say nothing, and neither does a format beside a type that it is not one of. Dashes in the name of a text's format
do not count: `date-time` is `datetime`.
"""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from sparsam.objects.names import dns_label_errors, dns_subdomain_errors
from sparsam.objects.quantity import QuantityError, canonical

Check = Callable[[str], object]


def _full(pattern: str, flags: int = re.ASCII) -> Check:
    return re.compile(pattern, flags).fullmatch


_DATE = _full(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_TIME = _full(r"([0-9]{2}):([0-9]{2}):([0-9]{2})(.[0-9]+)?(z|([+-][0-9]{2}:[0-9]{2}))")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):", re.ASCII)
_ESCAPES = _full(r"(?:[^%]|%[0-9A-Fa-f]{2})*", re.DOTALL)
_HOST_LABEL = re.compile(r"[^\W_]|[^\w\s!-~]")
_GO_DURATION = _full(r"[-+]?(0|((\d+(\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h))+)")
_SCALA_DURATION = _full(r"\s*(?:\d+\s*[A-Za-zµ]+\s*)+")
_UNIT = re.compile(r"\d+\s*([A-Za-zµ]+)", re.ASCII)
_UNITS = frozenset({"ns", "us", "µs", "ms", "s", "m", "h", "hr", "d", "w", "wk"})
_UNIT_STARTS = ("nano", "micro", "milli", "sec", "min", "hour", "day", "week")
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~\x80-\U0010ffff-]+"
_ADDRESS = rf'({_ATOM}(\.{_ATOM})*|"([^"\\]|\\.)*")@({_ATOM}(\.{_ATOM})*|\[[^\[\]\\]*\])'
_EMAIL = _full(rf"[ \t]*({_ADDRESS}|[^<>@\n]*<{_ADDRESS}>)[ \t]*", 0)
_CARD = _full(
    r"(?:4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}"
    r"|3(?:0[0-5]|[68][0-9])[0-9]{11}|(?:2131|1800|35\d{3})\d{11})"
)
_MAC = _full(
    r"[0-9a-f]{2}(:[0-9a-f]{2}){5}|[0-9a-f]{2}(-[0-9a-f]{2}){5}|[0-9a-f]{4}(\.[0-9a-f]{4}){2}"
    r"|[0-9a-f]{2}(:[0-9a-f]{2}){7}|[0-9a-f]{2}(-[0-9a-f]{2}){7}|[0-9a-f]{4}(\.[0-9a-f]{4}){3}"
    r"|[0-9a-f]{2}(:[0-9a-f]{2}){19}|[0-9a-f]{2}(-[0-9a-f]{2}){19}|[0-9a-f]{4}(\.[0-9a-f]{4}){9}",
    re.ASCII | re.IGNORECASE,
)


def _is_date(text: str) -> bool:
    if not _DATE(text):
        return False
    year, month, day = (int(part) for part in text.split("-"))
    try:
        # Python knows no year 0, whose calendar is that of 400.
        datetime.date(year or 400, month, day)
    except ValueError:
        return False
    return True


def _is_datetime(text: str) -> bool:
    date, separator, time = text.lower().partition("t")
    if not separator or not _is_date(date) or not _TIME(time):
        return False
    hour, minute, second = time[:2], time[3:5], time[6:8]
    return hour <= "23" and minute <= "59" and second <= "59"


def _is_uri(text: str) -> bool:
    """What Go's url.ParseRequestURI takes: an absolute URI or an absolute path."""
    if not text or any(character < " " or character == "\x7f" for character in text):
        return False
    scheme = _SCHEME.match(text)
    rest = text[scheme.end() :] if scheme else text
    if not rest.startswith("/"):
        return scheme is not None or text == "*"
    if not _ESCAPES(rest.partition("?")[0]):
        return False
    if not scheme or not rest.startswith("//"):
        return True
    authority = rest[2:].partition("/")[0].partition("?")[0]
    try:
        parts = urlsplit(f"//{authority}")
        return parts.port is None or not any(character in ' "<>' for character in parts.hostname or "")
    except ValueError:
        return False


def _is_hostname(text: str) -> bool:
    if not text or len(text.encode()) > 255:
        return False
    labels = text.split(".")
    if any(not _is_host_label(label) for label in labels):
        return False
    return len(labels) == 1 or len(labels[-1]) >= 2


def _is_host_label(label: str) -> bool:
    if not label or len(label.encode()) > 63 or label[0] == "-" or label[-1] == "-":
        return False
    return all(character == "-" or _HOST_LABEL.match(character) for character in label)


def _is_duration(text: str) -> bool:
    if _GO_DURATION(text):
        return True
    if not _SCALA_DURATION(text):
        return False
    units = (unit.lower() for unit in _UNIT.findall(text))
    return any(unit in _UNITS or unit.startswith(_UNIT_STARTS) for unit in units)


def _is_quantity(text: str) -> bool:
    try:
        canonical(text)
    except QuantityError:
        return False
    return True


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text) if "%" not in text else None
    except ValueError:
        return None


def _is_cidr(text: str) -> bool:
    address, _, length = text.partition("/")
    parsed = _ip(address)
    return parsed is not None and length.isascii() and length.isdigit() and int(length) <= parsed.max_prefixlen


def _is_isbn10(text: str) -> bool:
    digits = text.replace("-", "").replace(" ", "")
    if not re.fullmatch(r"[0-9]{9}[0-9X]", digits, re.ASCII):
        return False
    values = [10 if digit == "X" else int(digit) for digit in digits]
    return sum((position + 1) * value for position, value in enumerate(values)) % 11 == 0


def _is_isbn13(text: str) -> bool:
    digits = text.replace("-", "").replace(" ", "")
    if not re.fullmatch(r"[0-9]{13}", digits, re.ASCII):
        return False
    return sum(int(digit) * (3 if position % 2 else 1) for position, digit in enumerate(digits)) % 10 == 0


def _is_credit_card(text: str) -> bool:
    digits = re.sub(r"[^0-9]+", "", text)
    if not _CARD(digits):
        return False
    doubled = (int(digit) * (position % 2 + 1) for position, digit in enumerate(reversed(digits)))
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def _uuid(version: str = "[0-9a-f]", variant: str = "[0-9a-f]") -> Check:
    pattern = rf"[0-9a-f]{{8}}-?[0-9a-f]{{4}}-?{version}[0-9a-f]{{3}}-?{variant}[0-9a-f]{{3}}-?[0-9a-f]{{12}}"
    return _full(pattern, re.ASCII | re.IGNORECASE)


FORMATS: dict[str, Check] = {
    "bsonobjectid": _full("[0-9a-fA-F]{24}"),
    "uri": _is_uri,
    "email": _EMAIL,
    "hostname": _is_hostname,
    "ipv4": lambda text: "." in text and _ip(text) is not None,
    "ipv6": lambda text: ":" in text and _ip(text) is not None,
    "cidr": _is_cidr,
    "mac": _MAC,
    "uuid": _uuid(),
    "uuid3": _uuid("3"),
    "uuid4": _uuid("4", "[89ab]"),
    "uuid5": _uuid("5", "[89ab]"),
    "isbn": lambda text: _is_isbn10(text) or _is_isbn13(text),
    "isbn10": _is_isbn10,
    "isbn13": _is_isbn13,
    "creditcard": _is_credit_card,
    "ssn": _full(r"[0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4}"),
    "hexcolor": _full("#?([0-9a-fA-F]{3}|[0-9a-fA-F]{6})"),
    "rgbcolor": _full(
        r"rgb\(\s*((0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*,\s*){2}(0|[1-9]\d?|1\d\d?|2[0-4]\d|25[0-5])\s*\)"
    ),
    "byte": _full("(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})"),
    "password": lambda _text: True,
    "date": _is_date,
    "duration": _is_duration,
    "datetime": _is_datetime,
    "quantity": _is_quantity,
    "k8sshortname": lambda text: not dns_label_errors(text),
    "k8slongname": lambda text: not dns_subdomain_errors(text),
}
"""Whether a text is of a format, by the format's name without dashes."""


NUMBER_FORMATS = {"integer": ("int32", "int64"), "number": ("float", "double")}


def check_of(name: str) -> Check | None:
    """The check of a text's format, or None when it says nothing."""
    return FORMATS.get(name.replace("-", ""))


def is_known(name: str, kind: str) -> bool:
    """Whether a format says anything about values of a type (empty: of any)."""
    if kind in ("", "string"):
        return check_of(name) is not None
    return name in NUMBER_FORMATS.get(kind, ())
