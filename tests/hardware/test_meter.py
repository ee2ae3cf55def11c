import math

import pytest

from sparsam.hardware.meter import Domain, Fault, Gap, Reading


@pytest.mark.parametrize("watts", [math.nan, math.inf, -1.0, -math.inf, 1e15])
def test_a_reading_cannot_hold_nonsense(watts):
    with pytest.raises(ValueError, match="no reading can hold"):
        Reading(1.0, watts, Domain.WALL, "x", 0.05)
    with pytest.raises(ValueError, match="no reading can hold"):
        Reading(1.0, 1.0, Domain.WALL, "x", 0.05, joules=watts)
    with pytest.raises(ValueError, match="no reading can hold"):
        Reading(1.0, 1.0, Domain.WALL, "x", 0.05, parts={"package-0": watts})


def test_a_gap_says_who_and_why():
    assert str(Gap(1.0, Fault.DENIED, "ask root", "rapl:psys")) == "rapl:psys: permission denied (ask root)"
    assert str(Gap(1.0, Fault.STUCK, "", "x")) == "x: counter stands still"


def test_only_wall_and_platform_stand_for_the_whole_node():
    assert [domain for domain in Domain if domain.whole_node] == [Domain.WALL, Domain.PLATFORM]
