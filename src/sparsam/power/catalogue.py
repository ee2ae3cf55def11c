"""Built-in knowledge: profiles of real servers as fitted coefficients, and what a collection taught about any server.

Both are JSON files beside this module, made by `tools/build_catalogue.py`. Parsing takes bytes; `profiles()` and
`population_for()` read the shipped files once, when first asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any, TypeVar

import msgspec
import numpy as np

from sparsam.power.curves import Floats
from sparsam.power.description import Description, Encoding, Typical
from sparsam.power.model import ServerModel, from_json
from sparsam.power.priors import Population

PROFILES_SCHEMA = "power.sparsam.dev/catalogue/v1"
POPULATIONS_SCHEMA = "power.sparsam.dev/population/v1"

# Five digits of a logarithm of watts are a thousandth of a per cent of the watts.
DIGITS = 5


class Profile(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A server of the catalogue."""

    name: str
    vendor: str
    server: str
    cpu_name: str
    hw_year: int
    chips: int
    cores: int
    threads: int
    memory_gb: float
    ssj_ops_per_thread: float
    """Operations of server-side Java that one hardware thread does in a second at full load: its speed."""
    bias: str
    """Of the BIOS: `efficiency`, as published runs are tuned, or `performance`."""
    derivation: str
    """How the model came about, in words."""
    model: ServerModel


class _Profiles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    schema: str
    source: str
    profiles: tuple[dict[str, Any], ...]


class _Population(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `Population` with lists for arrays; unknown medians are null."""

    servers: int
    mean: list[float]
    centre: list[float]
    scale: list[float]
    slopes: list[list[float]]
    cpus: dict[str, list[float]]
    series: dict[str, list[float]]
    correlation: list[list[float]]
    typical: dict[str, tuple[float | None, float | None, float | None]]
    covariance: list[list[float]]


class Populations(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Populations by what they know of the hardware (see `description.KNOWLEDGE`), and the servers that they know."""

    schema: str
    source: str
    server_ids: tuple[str, ...]
    by_knowledge: dict[str, _Population]

    def population(self, known: str) -> Population:
        """The population learned from this much knowledge of the hardware."""
        return _population(self.by_knowledge[known])


Document = TypeVar("Document", _Profiles, Populations)


def parse_profiles(raw: bytes) -> tuple[Profile, ...]:
    """The profiles in a catalogue file; raises ValueError for another version or a model that does not hold up."""
    document = _parse(raw, _Profiles, PROFILES_SCHEMA)
    profiles = []
    for value in document.profiles:
        model = from_json(value.get("model"))
        profiles.append(msgspec.convert({**value, "model": model}, Profile))
    return tuple(profiles)


def parse_populations(raw: bytes) -> Populations:
    """The populations in a file; raises ValueError for another version."""
    return _parse(raw, Populations, POPULATIONS_SCHEMA)


def format_profiles(profiles: Sequence[Profile], source: str) -> bytes:
    """A catalogue file: one profile per line, so that changes can be read."""
    lines = b",\n".join(msgspec.json.encode(profile) for profile in profiles)
    head = msgspec.json.encode({"schema": PROFILES_SCHEMA, "source": source})[:-1]
    return head + b',"profiles":[\n' + lines + b"\n]}\n"


def format_populations(populations: dict[str, Population], server_ids: Sequence[str], source: str) -> bytes:
    """A populations file."""
    by_knowledge = {known: _wire(population) for known, population in populations.items()}
    document = Populations(POPULATIONS_SCHEMA, source, tuple(server_ids), by_knowledge)
    return msgspec.json.encode(document) + b"\n"


@cache
def profiles() -> tuple[Profile, ...]:
    """The built-in profiles."""
    return parse_profiles(_shipped("catalogue.json"))


@cache
def populations() -> Populations:
    """The built-in populations."""
    return parse_populations(_shipped("population.json"))


def population_for(one: Description) -> Population:
    """The built-in population that knows about as much of the hardware as the description says."""
    if one.cpu_name and one.hw_year and one.chips and one.cores and one.threads and one.memory_gb and one.psu_rating_w:
        return populations().population("hardware")
    return populations().population("node" if one.cores else "cpu")


def _shipped(name: str) -> bytes:
    return resources.files("sparsam.power").joinpath("data", name).read_bytes()


def _parse(raw: bytes, kind: type[Document], schema: str) -> Document:
    try:
        document = msgspec.json.decode(raw, type=kind)
    except msgspec.DecodeError as error:
        raise ValueError(f"not a {schema} file: {error}") from error
    if document.schema != schema:
        raise ValueError(f"unknown schema {document.schema!r}; this version reads {schema!r}")
    return document


def _population(wire: _Population) -> Population:
    return Population(
        servers=wire.servers,
        mean=np.array(wire.mean),
        encoding=Encoding(
            centre=np.array(wire.centre),
            scale=np.array(wire.scale),
            correlation=np.array(wire.correlation),
            typical={
                name: Typical(*(float("nan") if value is None else value for value in values))
                for name, values in wire.typical.items()
            },
        ),
        slopes=np.array(wire.slopes),
        cpus={name: np.array(effect) for name, effect in wire.cpus.items()},
        series={name: np.array(effect) for name, effect in wire.series.items()},
        covariance=np.array(wire.covariance),
    )


def _wire(population: Population) -> _Population:
    return _Population(
        servers=population.servers,
        mean=_list(population.mean),
        centre=_list(population.encoding.centre),
        scale=_list(population.encoding.scale),
        slopes=[_list(row) for row in population.slopes],
        cpus={name: _list(effect) for name, effect in population.cpus.items()},
        series={name: _list(effect) for name, effect in population.series.items()},
        correlation=[_list(row) for row in population.encoding.correlation],
        typical={
            name: (_known(one.hw_year), _known(one.cpu_mhz), _known(one.cores_per_chip))
            for name, one in population.encoding.typical.items()
        },
        # Rounding must not cost the covariance its positive eigenvalues, the smallest of which is about 1e-6.
        covariance=[_list(row, DIGITS + 4) for row in population.covariance],
    )


def _list(values: Floats, digits: int = DIGITS) -> list[float]:
    return [round(float(value), digits) for value in values]


def _known(value: float) -> float | None:
    return value if np.isfinite(value) else None
