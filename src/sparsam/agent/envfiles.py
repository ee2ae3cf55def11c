"""Variables from files that a pod's own containers wrote (KEP-3721): `NAME='value'`, one after the other. Pure.

What stands between the quotes is taken as it is, line ends included. Blank lines and lines that begin with `#` say
nothing; anything else is refused, so that no two readers of a file can disagree.
"""

from __future__ import annotations

import re

MAX_FILE_BYTES = 64 * 1024
_ENTRY = re.compile(
    r"\s*(?:#[^\n]*(?:\n|\Z)|(?P<name>[!-<>-~]+)[ \t]*=[ \t]*'(?P<value>[^']*)'[ \t]*(?:#[^\n]*)?(?:\n|\Z))"
)


def parse_env_file(text: str) -> dict[str, str]:
    """All variables, the last of a name counting; raises ValueError naming the line."""
    found: dict[str, str] = {}
    at = 0
    while text[at:].strip():
        match = _ENTRY.match(text, at)
        if match is None:
            number = text.count("\n", 0, at + len(text[at:]) - len(text[at:].lstrip())) + 1
            raise ValueError(f"line {number} is not of the form NAME='value'")
        if match["name"]:
            found[match["name"]] = match["value"]
        at = match.end()
    return found
