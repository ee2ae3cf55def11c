"""One source beside another: do their numbers fit together? Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sparsam.hardware.meter import Domain, Provenance, Reading

ORDER = (Domain.WALL, Domain.PLATFORM, Domain.PACKAGE_DRAM, Domain.PACKAGE)
"""Domains that may stand for a node, each a part of the one before."""
SLACK_WATTS = 5.0
"""Whole-watt readings of small machines differ by this much for no reason."""


@dataclass(frozen=True, slots=True)
class Check:
    """The chosen source beside another one that worked in the same cycle."""

    other: Reading
    residual_watts: float
    """Chosen minus other; where they cover different parts, what the smaller leaves unexplained."""
    same_domain: bool
    agrees: bool
    """Within both uncertainties; for different domains, that no part exceeds the whole."""

    @property
    def residual_ratio(self) -> float:
        """The residual as a share of the other's watts."""
        return self.residual_watts / self.other.watts if self.other.watts > 0.0 else math.inf


def rank(domain: Domain, provenance: Provenance) -> tuple[bool, int]:
    """Sort key of sources: measured before estimated, the whole before the part."""
    return (provenance is Provenance.ESTIMATED, ORDER.index(domain) if domain in ORDER else len(ORDER))


def compare(chosen: Reading, other: Reading) -> Check:
    """How well two readings of one node fit."""
    slack = SLACK_WATTS + math.hypot(chosen.watts * chosen.uncertainty_ratio, other.watts * other.uncertainty_ratio)
    residual = chosen.watts - other.watts
    same = chosen.domain is other.domain
    if same:
        agrees = abs(residual) <= slack
    else:
        chosen_is_wider = ORDER.index(chosen.domain) < ORDER.index(other.domain)
        agrees = (residual if chosen_is_wider else -residual) >= -slack
    return Check(other, residual, same, agrees)
