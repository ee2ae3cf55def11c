"""References to container images, as far as defaults depend on them."""

from __future__ import annotations

import re
from functools import lru_cache

_IMAGE_NAME_MAX = 255
_IMAGE_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL = r"[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?"
_IMAGE_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])"
_IMAGE_RE = re.compile(
    rf"(?P<name>(?:{_IMAGE_HOST}(?::[0-9]+)?/)?{_IMAGE_PART}(?:/{_IMAGE_PART})*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?"
    r"(?P<digest>@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?\Z",
    re.ASCII,
)


@lru_cache(maxsize=1024)
def is_latest(image: str) -> bool:
    """Whether an image is pulled anew each time: the tag is `latest`, or there is neither tag nor digest."""
    match = _IMAGE_RE.match(image)
    if match is None or len(match["name"]) > _IMAGE_NAME_MAX:
        return False
    return match["tag"] == "latest" or not (match["tag"] or match["digest"])
