"""Who may use an image that is there already: remembered for each image is how the node got it (KEP-2535).

An image that came without credentials, or that nobody pulled (it was loaded), is for all pods. One that was pulled
with credentials is for pods that have the same ones; others have to show theirs to the registry. Credentials are
kept as digests only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

EVERYONE = ""
_MOST_IMAGES = 4096


def fingerprint(auth: Mapping[str, str] | None) -> str:
    """Credentials as they are remembered; none are for everyone."""
    return hashlib.sha256(msgspec.json.encode(sorted(auth.items()))).hexdigest() if auth else EVERYONE


class PullRecords:
    """Fingerprints by image id, kept in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._known = msgspec.json.decode(path.read_bytes(), type=dict[str, list[str]])
        except (OSError, ValueError):
            self._known = {}

    def note(self, image_id: str, auth: Mapping[str, str] | None) -> None:
        """An image was pulled, or its registry accepted the credentials again; raises OSError."""
        known = self._known.pop(image_id, [])
        found = fingerprint(auth)
        self._known[image_id] = known if found in known else [*known, found]
        while len(self._known) > _MOST_IMAGES:
            del self._known[next(iter(self._known))]
        fresh = self._path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(self._known))
        fresh.replace(self._path)

    def allows(self, image_id: str, auths: Collection[Mapping[str, str]]) -> bool:
        """Whether pods with these credentials may use an image without asking its registry."""
        known = self._known.get(image_id)
        return known is None or EVERYONE in known or any(fingerprint(auth) in known for auth in auths)
