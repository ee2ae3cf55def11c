"""Links in what pods, Services and nodes answer through a proxy subresource, so that they lead through it again. Pure.

As upstream: a link to the same server is given the proxy's path, one to another server or relative to the page stays.
HTML is changed as it comes; scripts, styles and comments are left alone.
"""

from __future__ import annotations

import html
import posixpath
import re
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

MAX_TAG_BYTES = 64 * 1024
"""A start tag that is longer is passed on as it is: nothing waits without bound for its end."""

_LINKS: dict[str, frozenset[str]] = {
    name: frozenset(attributes.split())
    for name, attributes in {
        "a": "href",
        "applet": "codebase",
        "area": "href",
        "audio": "src",
        "base": "href",
        "blockquote": "cite",
        "body": "background",
        "button": "formaction",
        "command": "icon",
        "del": "cite",
        "embed": "src",
        "form": "action",
        "frame": "longdesc src",
        "head": "profile",
        "html": "manifest",
        "iframe": "longdesc src",
        "img": "longdesc src usemap",
        "input": "src usemap formaction",
        "ins": "cite",
        "link": "href",
        "object": "classid codebase data usemap",
        "q": "cite",
        "script": "src",
        "source": "src",
        "video": "poster src",
    }.items()
}
"""Attributes that hold a URL, by element: HTML 4 and 5."""

_TAG = re.compile(rb"""<([A-Za-z][A-Za-z0-9]*)((?:[^"'>]|"[^"]*"|'[^']*')*)>""")
_ATTRIBUTE = re.compile(rb"""([^\s"'>/=]+)(\s*=\s*)("[^"]*"|'[^']*'|[^\s"'>]+)""")
_ENDS = {
    b"<!--": re.compile(rb"-->"),
    b"script": re.compile(rb"</script", re.IGNORECASE),
    b"style": re.compile(rb"</style", re.IGNORECASE),
}
_LONGEST_END = len(b"</script")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server stands behind the proxy."""

    prefix: str
    """Path of the proxy, without a slash at its end."""
    hosts: frozenset[str]
    """What the server, and the proxy for its client, are called: host and port."""


def rewrite_link(link: str, place: Place) -> str:
    """A link as a client of the proxy must follow it."""
    try:
        parts = urlsplit(link)
    except ValueError:
        return link
    if (parts.netloc and parts.netloc not in place.hosts) or not parts.path.startswith("/"):
        return link
    path = parts.path
    if not path.startswith(place.prefix):
        path = posixpath.normpath(f"{place.prefix}/{path}") + ("/" if path.endswith("/") else "")
    return urlunsplit(("", "", path, parts.query, parts.fragment))


class LinkRewriter:
    """Rewrites the links of one HTML document, chunk by chunk."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._held = b""
        self._inside = b""
        """The element or comment that is passed on unread up to its end."""

    def feed(self, chunk: bytes) -> bytes:
        """As much of the document as can be told by now."""
        text, done, at = self._held + chunk, bytearray(), 0
        while at < len(text):
            piece, used = self._inner(text, at) if self._inside else self._outer(text, at)
            if not used:
                break
            done += piece
            at += used
        self._held = text[at:]
        return bytes(done)

    def close(self) -> bytes:
        """The rest."""
        rest, self._held = self._held, b""
        return rest

    def _inner(self, text: bytes, at: int) -> tuple[bytes, int]:
        """What comes next in a passage that is not read, and how much of the text that takes; 0 to wait for more."""
        found = _ENDS[self._inside].search(text, at)
        if found is not None:
            self._inside = b""
        end = max(at, len(text) - _LONGEST_END) if found is None else found.end()
        return text[at:end], end - at

    def _outer(self, text: bytes, at: int) -> tuple[bytes, int]:
        """The same outside of such passages."""
        start = text.find(b"<", at)
        if start != at:
            end = len(text) if start < 0 else start
            return text[at:end], end - at
        if text.startswith(b"<!--", at):
            self._inside = b"<!--"
            return b"<!--", 4
        tag = _TAG.match(text, at)
        if tag is not None:
            name = tag[1].lower()
            self._inside = name if name in _ENDS else b""
            return self._rewritten(tag), len(tag[0])
        is_open = _may_become_tag(text[at : at + 4]) and len(text) - at < MAX_TAG_BYTES
        return (b"", 0) if is_open else (b"<", 1)

    def _rewritten(self, tag: re.Match[bytes]) -> bytes:
        links = _LINKS.get(tag[1].decode("latin-1").lower())
        if links is None:
            return tag[0]

        def replaced(found: re.Match[bytes]) -> bytes:
            if found[1].decode("latin-1").lower() not in links:
                return found[0]
            value = html.unescape(found[3].strip(b"\"'").decode("utf-8", "surrogateescape"))
            link = rewrite_link(value, self._place)
            if link == value:
                return found[0]
            return found[1] + found[2] + b'"' + html.escape(link).encode("utf-8", "surrogateescape") + b'"'

        return b"<" + tag[1] + _ATTRIBUTE.sub(replaced, tag[2]) + b">"


def _may_become_tag(start: bytes) -> bool:
    return start in (b"<", b"<!", b"<!-") or start[1:2].isalpha()
