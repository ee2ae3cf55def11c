"""Which images go first."""

from __future__ import annotations

from sparsam.agent.imagegc import ImageAges, bytes_to_free
from sparsam.agent.runtime import Image


def image(name: str) -> Image:
    return Image(name, (name,), (), 10)


def test_the_longest_unused_goes_first_and_nothing_young_or_in_use():
    ages, all_images = ImageAges(), [image(name) for name in "abcd"]
    ages.look(all_images, {"a", "b", "c"}, 1000.0)
    ages.look(all_images, {"a", "b"}, 2000.0)
    ages.look([*all_images, image("young")], {"a"}, 3000.0)
    free = ages.unused([*all_images, image("young")], {"a"}, 3010.0)
    assert [each.id for each in free] == ["d", "c", "b"]
    ages.look([image("a")], (), 4000.0)
    assert set(ages.first_seen) == {"a"}


def test_the_disk_is_brought_down_from_the_high_to_the_low_mark():
    assert bytes_to_free(0.84, 1000) == 0
    assert bytes_to_free(0.90, 1000) == 99
