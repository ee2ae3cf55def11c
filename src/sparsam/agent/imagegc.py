"""Which images go when the disk fills up: those that nobody uses, the longest unused first. Pure but for its memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from sparsam.agent.runtime import Image

HIGH_RATIO, LOW_RATIO = 0.85, 0.80
"""Above the first share of the disk images are removed until the second is reached; upstream's defaults."""
MINIMUM_AGE_SECONDS = 120.0


@dataclass(slots=True)
class ImageAges:
    """When each image was first seen, and last in use (Unix seconds)."""

    first_seen: dict[str, float] = field(default_factory=dict)
    last_used: dict[str, float] = field(default_factory=dict)

    def look(self, images: Iterable[Image], in_use: Collection[str], now: float) -> None:
        """Note what is there and in use now; forget what is gone."""
        ids = {image.id for image in images}
        self.first_seen = {each: self.first_seen.get(each, now) for each in ids}
        self.last_used = {each: now if each in in_use else self.last_used.get(each, 0.0) for each in ids}

    def unused(self, images: Iterable[Image], in_use: Collection[str], now: float) -> list[Image]:
        """Images that may go, the longest unused first."""
        free = [
            image
            for image in images
            if image.id not in in_use and now - self.first_seen.get(image.id, now) >= MINIMUM_AGE_SECONDS
        ]
        return sorted(free, key=lambda image: (self.last_used.get(image.id, 0.0), self.first_seen.get(image.id, 0.0)))


def bytes_to_free(used_ratio: float, capacity_bytes: int) -> int:
    """How much the collection should free; 0 while the disk is not that full."""
    return int((used_ratio - LOW_RATIO) * capacity_bytes) if used_ratio >= HIGH_RATIO else 0
