"""What the engine said has ended but still lists as running: nobody says it twice. Pure but for memory.

An engine's events come before its own books are right: usually milliseconds before, on an overloaded machine many
seconds. Looking again a few times is not enough then, and without a further event an end would stay unseen.
"""

from __future__ import annotations

from collections.abc import Collection

FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.5, 5.0
BELIEVED_SECONDS = 120.0
"""After that the books are believed again: the word may have been about a mere part of the container."""


class Endings:
    """Ids of containers and sandboxes with the time (seconds) of the engine's word."""

    def __init__(self) -> None:
        self._told: dict[str, float] = {}

    def tell(self, ended: str, now: float) -> None:
        """The engine says that this ended."""
        self._told.setdefault(ended, now)

    def next_look(self, alive: Collection[str], now: float) -> float | None:
        """When to read the engine's books again, given what they call alive now; None when they agree."""
        self._told = {each: told for each, told in self._told.items() if now - told < BELIEVED_SECONDS}
        waited = [now - told for each, told in self._told.items() if each in alive]
        if not waited:
            return None
        return now + min(max(min(waited), FIRST_PAUSE_SECONDS), LAST_PAUSE_SECONDS)
