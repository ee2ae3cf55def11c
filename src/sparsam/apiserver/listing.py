"""Lists: options and their rules, consistent paging with continue tokens, and the bytes of a list."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from sparsam.apiserver import conversion, statuses
from sparsam.apiserver.selection import Selection
from sparsam.errors import BadRequest, Cause
from sparsam.objects.kinds import Resource
from sparsam.store.interface import Compacted, Entry, FutureRevision, Store

_TOKEN_VERSION = "meta.k8s.io/v1"
_TOO_OLD_LIST = "The resourceVersion for the provided list is too old."
_TOO_OLD_CONTINUE = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list "
    "without the continue parameter, or use the continue token in this response to retrieve the remainder of the "
    "results. Continuing with the provided token results in an inconsistent list - objects that were created, "
    "modified, or deleted between the time the first chunk was returned and now may show up in the list."
)
_ANY_REVISION = -1
"""In a token: go on from its key at whatever revision is the newest then."""
_EXACT, _NOT_OLDER = "Exact", "NotOlderThan"


@dataclass(frozen=True, slots=True)
class ListOptions:
    """Parameters of a list, checked one by one and together."""

    version: str = ""
    match: str = ""
    limit: int = 0
    token: str = ""

    @property
    def revision(self) -> int:
        """The resource version asked for; 0 when none."""
        return int(self.version or 0)


@dataclass(frozen=True, slots=True)
class Listed:
    """A page of a list."""

    entries: list[Entry]
    revision: int
    token: str = ""
    remaining: int | None = None


class _Token(msgspec.Struct):
    v: str
    rv: int
    start: str


def parse_options(query: Mapping[str, str]) -> ListOptions:
    """Raises BadRequest and Invalid as upstream does."""
    limit = integer(query, "limit")
    integer(query, "timeoutSeconds")
    options = ListOptions(
        version=query.get("resourceVersion", ""),
        match=query.get("resourceVersionMatch", ""),
        limit=max(0, limit or 0),
        token=query.get("continue", ""),
    )
    if options.match or "sendInitialEvents" in query:
        causes = _match_causes(options) if options.match else []
        if query.get("sendInitialEvents"):
            causes.append(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
        if causes:
            raise statuses.invalid_options("ListOptions", causes)
    if options.version:
        parse_version(options.version, prefix="invalid resource version: ")
    return options


def integer(query: Mapping[str, str], name: str) -> int | None:
    """A whole number among the parameters; raises BadRequest in the words of Go's strconv."""
    text = query.get(name, "")
    if not text:
        return None
    try:
        value = int(text)
    except ValueError:
        raise statuses.malformed_number(text) from None
    if not -(1 << 63) <= value < 1 << 63:
        raise BadRequest(f'strconv.ParseInt: parsing "{text}": value out of range')
    return value


def parse_version(text: str, *, prefix: str = "") -> int:
    """A resource version; raises BadRequest."""
    if not text.isascii() or not text.isdigit() or int(text) >= 1 << 64:
        raise BadRequest(
            f'{prefix}resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        )
    return int(text)


def forbidden(field: str, detail: str) -> Cause:
    """A parameter that may not be given here."""
    return Cause("FieldValueForbidden", f"Forbidden: {detail}", field)


def _match_causes(options: ListOptions) -> list[Cause]:
    field, causes = "resourceVersionMatch", []
    if not options.version:
        causes.append(forbidden(field, "resourceVersionMatch is forbidden unless resourceVersion is provided"))
    if options.token:
        causes.append(forbidden(field, "resourceVersionMatch is forbidden when continue is provided"))
    if options.match not in (_EXACT, _NOT_OLDER):
        message = f'Unsupported value: "{options.match}": supported values: "Exact", "NotOlderThan", ""'
        causes.append(Cause("FieldValueNotSupported", message, field))
    if options.match == _EXACT and options.version == "0":
        causes.append(forbidden(field, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
    return causes


async def read(store: Store, prefix: str, options: ListOptions, selection: Selection) -> Listed:
    """One page under a prefix; raises Gone, Timeout and BadRequest."""
    start, revision, total = None, _fixed_revision(options), 0
    if options.token:
        start, revision = _decode_token(options, prefix)
    elif options.version and revision is None and options.revision > store.revision:
        raise statuses.too_large_version(options.revision, store.revision)
    found: list[Entry] = []
    while True:
        wanted = options.limit - len(found) if options.limit else 0
        try:
            page = await store.list(prefix, revision=revision, limit=wanted, start_key=start)
        except Compacted:
            if options.token and start is not None:
                raise statuses.expired(_TOO_OLD_CONTINUE, _encode_token(prefix, _ANY_REVISION, start)) from None
            raise statuses.expired(_TOO_OLD_LIST) from None
        except FutureRevision as error:
            raise statuses.too_large_version(revision or 0, error.current) from None
        found += page.entries if selection.is_all else [each for each in page.entries if selection.matches(each)]
        revision, start, total = page.revision, page.next_key, page.remaining
        if start is None or (options.limit and len(found) >= options.limit):
            break
    token = _encode_token(prefix, revision, start) if start else ""
    return Listed(found, revision, token, total if token and selection.is_all else None)


def _fixed_revision(options: ListOptions) -> int | None:
    """The revision that the list must show, or None for the newest.

    A limit without a match mode is the old way of asking for exactly that version.
    """
    if options.match == _EXACT or (options.limit and not options.match and options.revision):
        return options.revision
    return None


def _encode_token(prefix: str, revision: int, next_key: str) -> str:
    token = _Token(_TOKEN_VERSION, revision, next_key[len(prefix) - 1 :])
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).rstrip(b"=").decode()


def _decode_token(options: ListOptions, prefix: str) -> tuple[str, int | None]:
    """The key to go on from, and the revision to show; None for the newest."""
    if options.revision:
        raise BadRequest("specifying resource version is not allowed when using continue")
    try:
        raw = base64.urlsafe_b64decode(options.token + "=" * (-len(options.token) % 4))
        token = msgspec.json.decode(raw, type=_Token)
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise BadRequest(f"invalid continue token: continue key is not valid: {error}") from None
    start = prefix[:-1] + token.start
    known = token.rv == _ANY_REVISION or 0 < token.rv < 1 << 63
    if token.v != _TOKEN_VERSION or not start.startswith(prefix) or not known:
        raise BadRequest("invalid continue token: continue key is not valid: incorrect encoded start resourceVersion")
    return start, None if token.rv == _ANY_REVISION else token.rv


def wire(listed: Listed, resource: Resource) -> bytes:
    """A list object: stored bytes spliced one after the other, nothing encoded again."""
    head = [
        f'{{"kind":"{resource.list_kind}","apiVersion":"{resource.api_version}","metadata":{{'
        f'"resourceVersion":"{listed.revision}"'
    ]
    if listed.token:
        head.append(f',"continue":"{listed.token}"')
    if listed.remaining:
        head.append(f',"remainingItemCount":{listed.remaining}')
    items = b",".join(conversion.wire_items(resource, [(entry.value, entry.revision) for entry in listed.entries]))
    return b"".join([*(part.encode() for part in head), b'},"items":[', items, b"]}"])
