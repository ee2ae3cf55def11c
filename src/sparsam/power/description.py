"""The hardware of a server in words, and in numbers that a regression can use.

What is unknown is filled in on the way: what belongs to the CPU model (its year, clock, cores) from servers with the
same CPU or one of its series, all else at its expectation given what is known.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from sparsam.power.curves import Floats

IMPUTATION_RIDGE = 0.05


@dataclass(frozen=True, slots=True)
class Description:
    """The hardware of a server, as far as it is known: None where it is not."""

    cpu_name: str = ""
    cpu_mhz: float | None = None
    hw_year: float | None = None
    chips: float | None = None
    cores: float | None = None
    threads: float | None = None
    memory_gb: float | None = None
    psu_count: float | None = None
    psu_rating_w: float | None = None
    form_factor: str = ""

    def only(self, known: Sequence[str]) -> Description:
        """The description with every other field unknown."""
        return Description(**{name: getattr(self, name) for name in known})


NUMBERS = tuple(field.name for field in fields(Description) if field.name not in ("cpu_name", "form_factor"))

# How much is known of the hardware. A population is learned for one of these, with the rest withheld from every server:
# slopes learned with a field are wrong, and their errors too small, where that field is unknown.
KNOWLEDGE = {
    "hardware": tuple(field.name for field in fields(Description)),
    "node": ("cpu_name", "chips", "cores", "threads", "memory_gb"),
    "cpu": ("cpu_name",),
}


@dataclass(frozen=True, slots=True)
class Typical:
    """Medians of what belongs to a CPU model rather than to one server; NaN where nobody said."""

    hw_year: float
    cpu_mhz: float
    cores_per_chip: float


@dataclass(frozen=True, slots=True)
class Encoding:
    """How descriptions become features, as learned from a collection of servers."""

    centre: Floats
    """Mean of each feature, shape (features,)."""
    scale: Floats
    """Standard deviation of each feature, shape (features,)."""
    correlation: Floats
    """Between features, shape (features, features): fills in what a description leaves out."""
    typical: dict[str, Typical]
    """By CPU model and series, and of all under the empty name: fills in what belongs to the CPU."""

    def features(self, descriptions: Sequence[Description]) -> Floats:
        """Standardised features, shape (servers, features), none of them unknown."""
        rows = [_features(_filled(one, self.typical)) for one in descriptions]
        table = np.array(rows).reshape(len(rows), len(self.centre))
        return _imputed(_standardised(table, self.centre, self.scale), self.correlation)


def learn_encoding(descriptions: Sequence[Description]) -> Encoding:
    """The encoding that a collection of servers calls for."""
    typical = _typical(descriptions)
    rows = np.array([_features(_filled(one, typical)) for one in descriptions])
    centre, scale = _centre_and_scale(rows)
    known = np.nan_to_num(_standardised(rows, centre, scale))
    return Encoding(centre, scale, known.T @ known / len(rows), typical)


def cpu_key(name: str) -> str:
    """The CPU model in a name as vendors and operating systems write it: `xeon platinum 8180`, `epyc 7742`.

    Trademarks, clock rates, core counts and remarks in parentheses go; empty when nothing is left.
    """
    text = re.sub(r"\([^)]*\)|@.*$", " ", name.lower())
    text = re.sub(r"\d+(\.\d+)?\s*[gm]hz.*$", " ", text)
    text = re.sub(r"\b(intel|amd|processors?|cpu|with .*|\w+-core)\b", " ", text)
    text = re.sub(r"(\d)\s*(v\d)\b", r"\1 \2", text)
    key = " ".join(re.findall(r"[a-z0-9]+(?:-[a-z0-9]+)*", text))
    return f"xeon {key}" if re.match(r"e[357]-\d|[elx]\d{4}", key) else key


def cpu_series(name: str) -> str:
    """The series of a CPU: its key with every number reduced to `#`, but with the generation (`v3`) kept."""
    return re.sub(r"(?<!v)\d+", "#", cpu_key(name))


def _features(one: Description) -> list[float]:
    """The description in numbers; NaN where unknown. Logarithms, since hardware multiplies rather than adds."""
    year = float("nan") if one.hw_year is None else one.hw_year
    chips, cores = _log(one.chips), _log(one.cores)
    per_chip = cores - chips
    clock, memory, supply = _log(one.cpu_mhz), _log(one.memory_gb), _log(one.psu_rating_w)
    form = one.form_factor.lower()
    amd = float(bool(re.search(r"amd|epyc|opteron", one.cpu_name.lower()))) if one.cpu_name else float("nan")
    age = (year - 2013.0) / 5.0
    return [
        age,
        *(max(0.0, year - hinge) if np.isfinite(year) else year for hinge in (2008.0, 2010.0, 2012.0, 2015.0, 2018.0)),
        chips,
        per_chip,
        _log(one.threads) - cores,
        memory,
        memory - cores,
        supply,
        clock,
        _log(one.psu_count),
        *(float(word in form) if form else float("nan") for word in ("tower", "blade", "1u")),
        amd,
        amd * age,
        per_chip * age,
        per_chip**2,
        chips * age,
        supply**2,
        clock * per_chip,
        memory * age,
        chips * per_chip,
    ]


def _filled(one: Description, typical: Mapping[str, Typical]) -> Description:
    """The description with what belongs to the CPU filled in from servers of the same model, series, or all."""
    names = (cpu_key(one.cpu_name), cpu_series(one.cpu_name), "")
    known = next((typical[name] for name in names if name in typical), None)
    if known is None:
        return one
    chips = one.chips
    if chips is None and one.cores is not None and np.isfinite(known.cores_per_chip):
        chips = max(1.0, round(one.cores / known.cores_per_chip))
    return replace(
        one,
        hw_year=known.hw_year if one.hw_year is None else one.hw_year,
        cpu_mhz=known.cpu_mhz if one.cpu_mhz is None else one.cpu_mhz,
        chips=chips,
    )


def _typical(descriptions: Sequence[Description]) -> dict[str, Typical]:
    found: dict[str, list[tuple[float, float, float]]] = {}
    for one in descriptions:
        year, clock = (float("nan") if value is None else value for value in (one.hw_year, one.cpu_mhz))
        per_chip = one.cores / one.chips if one.cores and one.chips else float("nan")
        for name in {cpu_key(one.cpu_name), cpu_series(one.cpu_name), ""}:
            found.setdefault(name, []).append((year, clock, per_chip))
    return {name: Typical(*(_median(column) for column in zip(*rows, strict=True))) for name, rows in found.items()}


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.median(known)) if known else float("nan")


def _log(value: float | None) -> float:
    return float(np.log(value)) if value is not None and value > 0.0 else float("nan")


def _centre_and_scale(rows: Floats) -> tuple[Floats, Floats]:
    known = np.isfinite(rows)
    count = np.maximum(known.sum(axis=0), 1)
    centre = np.where(known, rows, 0.0).sum(axis=0) / count
    deviation = np.sqrt(np.where(known, (rows - centre) ** 2, 0.0).sum(axis=0) / count)
    return centre, np.where(deviation > 1e-9, deviation, 1.0)


def _standardised(rows: Floats, centre: Floats, scale: Floats) -> Floats:
    """Standardised features, cut to what the collection shows: a straight line is no guide beyond it."""
    return np.clip((rows - centre) / scale, -4.0, 4.0)


def _imputed(features: Floats, correlation: Floats) -> Floats:
    """Features with the unknown ones at their expectation given the known ones (a Gaussian's conditional mean)."""
    result = features.copy()
    unknown = ~np.isfinite(features)
    # Servers of one file mostly lack the same fields, so few distinct patterns are solved.
    for pattern in np.unique(unknown[unknown.any(axis=1)], axis=0):
        rows = np.flatnonzero((unknown == pattern).all(axis=1))
        known = ~pattern
        within = correlation[np.ix_(known, known)] + IMPUTATION_RIDGE * np.eye(int(known.sum()))
        weights = np.linalg.solve(within, correlation[np.ix_(known, pattern)])
        result[np.ix_(rows, np.flatnonzero(pattern))] = features[np.ix_(rows, np.flatnonzero(known))] @ weights
    return result
