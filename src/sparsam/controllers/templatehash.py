"""Short names for pod templates. Pure."""

from __future__ import annotations

import hashlib

import msgspec

from sparsam.controllers.runtime import Obj

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


def template_hash(template: Obj, collisions: int) -> str:
    """A short name for a pod template: stable over restarts, of letters that form no words."""
    content = msgspec.json.encode(template, order="sorted") + (str(collisions).encode() if collisions else b"")
    number = int.from_bytes(hashlib.sha256(content).digest()[:8])
    letters = []
    for _ in range(10):
        number, rest = divmod(number, len(_LETTERS))
        letters.append(_LETTERS[rest])
    return "".join(letters)
