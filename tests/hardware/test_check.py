import pytest

from sparsam.hardware.check import compare, rank
from sparsam.hardware.meter import Domain, Provenance, Reading


def reading(watts: float, domain: Domain = Domain.WALL, ratio: float = 0.05) -> Reading:
    return Reading(1.0, watts, domain, "x", ratio)


@pytest.mark.parametrize(
    ("chosen", "other", "agrees"),
    [
        (reading(200.0), reading(205.0), True),
        (reading(200.0), reading(260.0), False),
        (reading(200.0), reading(140.0), False),
        (reading(200.0), reading(90.0, Domain.PACKAGE_DRAM), True),
        (reading(200.0), reading(230.0, Domain.PACKAGE_DRAM), False),
        (reading(90.0, Domain.PACKAGE_DRAM), reading(200.0, ratio=0.3), True),
        (reading(290.0, Domain.PACKAGE_DRAM), reading(200.0, ratio=0.1), False),
        (reading(9.0), reading(13.0), True),
    ],
)
def test_equals_must_match_and_no_part_may_exceed_the_whole(chosen, other, agrees):
    assert compare(chosen, other).agrees is agrees


def test_the_residual_is_reported_with_its_share():
    check = compare(reading(230.0), reading(200.0))
    assert (check.residual_watts, check.residual_ratio, check.same_domain) == (30.0, pytest.approx(0.15), True)
    assert compare(reading(230.0), reading(0.0)).residual_ratio == float("inf")


def test_the_order_of_sources_is_fixed():
    measured, estimated = Provenance.MEASURED, Provenance.ESTIMATED
    order = [
        (Domain.WALL, measured),
        (Domain.PLATFORM, measured),
        (Domain.PACKAGE_DRAM, measured),
        (Domain.PACKAGE, measured),
        (Domain.WALL, estimated),
    ]
    assert sorted(order, key=lambda pair: rank(*pair)) == order
