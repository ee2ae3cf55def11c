"""Ready-made fleets, by name: `rise-215`, `mixed-N` and `uniform-N`."""

from __future__ import annotations

import re
from collections.abc import Callable

from sparsam.power.catalogue import profiles
from sparsam.simulation.fleet import Fleet, Group, near

# What is common in data centres: recent enough to have deep idle states, and not a machine for one purpose.
YEAR, THREADS = 2012, range(16, 257)
GENERATIONS = (
    "xeon-e5-2660-2s",
    "xeon-e5-2699-v4-2s",
    "xeon-gold-6152-2s",
    "xeon-platinum-8280-2s",
    "epyc-7742-2s",
)
PERFORMANCE = "-performance"
GIBIBYTES_PER_THREAD = 4
PODS = 250
"""For each node: the kubelet's default of 110 would leave the largest servers half empty."""
SLEEP = "suspended"
ZONES = ("zone-a", "zone-b", "zone-c")
EXAMPLES = ("rise-215", "mixed-2000", "uniform-100")


def fleet_named(name: str) -> Fleet:
    """A ready-made fleet; raises ValueError for a name that is none."""
    kinds: dict[str, Callable[[int], Fleet]] = {"rise": rise, "mixed": mixed, "uniform": uniform}
    match = re.fullmatch(r"(rise|mixed|uniform)-([1-9]\d{0,5})", name)
    if match is None:
        raise ValueError(f"{near(name, EXAMPLES)}; ready-made are rise-N, mixed-N and uniform-N of so many nodes")
    return kinds[match[1]](int(match[2]))


def rise(nodes: int = 215) -> Fleet:
    """Five generations of two-socket servers, as many of each, every other one with its BIOS set to performance."""
    models = [model + bios for bios in ("", PERFORMANCE) for model in GENERATIONS]
    return _evenly(f"rise-{nodes}", models, nodes)


def mixed(nodes: int) -> Fleet:
    """As many as can be of each usual server of the catalogue with either BIOS profile, over three zones."""
    models = [one.name for one in profiles() if one.hw_year >= YEAR and one.threads in THREADS]
    return _evenly(f"mixed-{nodes}", models, nodes)


def uniform(nodes: int, model: str = "xeon-gold-6152-2s") -> Fleet:
    """Servers that are all alike."""
    return _evenly(f"uniform-{nodes}", [model], nodes)


def _evenly(name: str, models: list[str], nodes: int) -> Fleet:
    """The first models get one more where the numbers do not divide."""
    threads = {one.name: one.threads for one in profiles()}
    each, more = divmod(nodes, len(models))
    counts = [(model, each + (place < more)) for place, model in enumerate(models)]
    groups = tuple(
        Group(model=model, count=count, memory=f"{GIBIBYTES_PER_THREAD * threads[model]}Gi", pods=PODS, sleep=SLEEP)
        for model, count in counts
        if count
    )
    return Fleet(name=name, groups=groups, zones=ZONES if nodes > 1000 else ())
