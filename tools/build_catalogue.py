"""Builds the server catalogue and the population prior from a table of measured servers.

    python tools/build_catalogue.py specpower.csv --date 2026-11-23

Writes src/sparsam/power/data/catalogue.json (fitted coefficients of representative servers, not their readings) and
population.json (what all servers taught: slopes on the hardware, effects of CPUs, covariance of the levels).
"""

from __future__ import annotations

import argparse
import csv
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec
import numpy as np

from sparsam.cli.serverfiles import read_servers
from sparsam.power.calibration import level_errors
from sparsam.power.catalogue import Profile, format_populations, format_profiles
from sparsam.power.curves import Floats
from sparsam.power.description import KNOWLEDGE, cpu_key, cpu_series
from sparsam.power.model import LevelError, fit_model
from sparsam.power.priors import learn
from sparsam.power.selection import Collection, Comparison, Score, compare

DATA = Path(__file__).parents[1] / "src" / "sparsam" / "power" / "data"
SOURCE = "SPECpower_ssj2008 results published by SPEC, as collected by green-coding-solutions/spec-power-model"
COMPACT = ("power_law", "exponential", "idle_exponential")

# What a BIOS profile for performance adds when idle: 19 % over the profile for performance per watt, since it
# disables C1E and the C-states (Dell, "Optimal BIOS settings for HPC with Dell PowerEdge 12th generation servers",
# section 5.1, on 16 PowerEdge M620 with two Xeon E5-2680 each). That the addition falls linearly to nothing at full
# load, where all cores are awake in either profile, is our assumption.
PERFORMANCE_IDLE_RATIO = 1.19
FIRST_YEAR_WITH_DEEP_SLEEP = 2009


def main() -> None:
    """Read the table, write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path)
    parser.add_argument("--date", required=True, help="date to be stated in the models")
    options = parser.parse_args()
    servers = read_servers(options.table)
    with options.table.open(newline="") as lines:
        rows = list(csv.DictReader(lines))

    comparison = compare(servers)
    chosen = representatives(servers, rows)
    profiles = []
    for row in chosen:
        base = profile(servers, rows[row], row, comparison, options.date)
        profiles.append(base)
        if base.hw_year >= FIRST_YEAR_WITH_DEEP_SLEEP:
            profiles.append(performance_variant(base, options.date))
    populations = {}
    for known in KNOWLEDGE:
        described = servers.knowing(known)
        populations[known] = learn(described.descriptions, described.load, described.watts)

    DATA.mkdir(exist_ok=True)
    (DATA / "catalogue.json").write_bytes(format_profiles(profiles, SOURCE))
    (DATA / "population.json").write_bytes(format_populations(populations, servers.server_ids, SOURCE))
    click.echo(f"{len(profiles)} profiles of {len(chosen)} servers, populations of {len(servers.server_ids)} servers")


def representatives(servers: Collection, rows: list[dict[str, str]]) -> list[int]:
    """One server for each CPU generation: of the CPU and socket count seen most often, the one in the middle."""
    generations: dict[tuple[str, int, str], dict[tuple[str, str], list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, server in enumerate(rows):
        key = cpu_key(server["cpu_name"])
        if key and not server["quality_flags"]:
            generation = (cpu_series(server["cpu_name"]), int(server["hw_year"]) // 2, _size(int(server["chips"])))
            generations[generation][key, server["chips"]].append(row)
    chosen: dict[tuple[str, str], int] = {}
    for configurations in generations.values():
        configuration, members = max(configurations.items(), key=lambda item: (len(item[1]), item[0]))
        if len(members) >= 2 or int(rows[members[0]]["hw_year"]) >= 2017:
            chosen.setdefault(configuration, medoid(servers, members))
    return sorted(chosen.values(), key=lambda row: (rows[row]["hw_available"], rows[row]["server_id"]))


def medoid(servers: Collection, members: list[int]) -> int:
    """The member nearest to all others in log watts."""
    curves = np.log(servers.watts[members])
    distance = np.abs(curves[:, None] - curves[None]).mean(axis=(1, 2))
    return members[int(distance.argmin())]


def profile(servers: Collection, server: dict[str, str], row: int, comparison: Comparison, date: str) -> Profile:
    """The formula with the least leave-one-level-out error, as a profile."""
    scores = {score.name: score.errors[row] for score in comparison.families if score.name in COMPACT}
    family = min(scores, key=lambda name: scores[name].mean())
    errors = level_errors(servers.load[row, 1:-1], Score(family, scores[family][None]))
    model = fit_model(
        family,
        servers.load[row],
        servers.watts[row],
        source=SOURCE,
        date=date,
        errors=errors,
        server_id=server["server_id"],
    )
    return Profile(
        name=_name(server["cpu_name"], int(server["chips"])),
        vendor=server["vendor"],
        server=re.sub(r"\s*\(.*\)", "", server["model"]),
        cpu_name=server["cpu_name"],
        hw_year=int(server["hw_year"]),
        chips=int(server["chips"]),
        cores=int(server["cores"]),
        threads=int(server["threads"]),
        memory_gb=float(server["memory_gb"]),
        ssj_ops_per_thread=round(float(server["ssj_ops_at_100pct"]) / int(server["threads"]), 1),
        bias="efficiency",
        derivation="fitted to the published result; such runs are tuned by the vendor for efficiency",
        model=model,
    )


def performance_variant(base: Profile, date: str) -> Profile:
    """The same server with its BIOS set to performance: modelled, not measured."""
    load = np.arange(11) / 10.0
    watts = np.array([base.model.watts(one) for one in load])
    added = (PERFORMANCE_IDLE_RATIO - 1.0) * watts[0] * (1.0 - load)
    model = fit_model("idle_exponential", load, watts + added, source=SOURCE, date=date, server_id=base.model.server_id)
    more = f"{PERFORMANCE_IDLE_RATIO - 1.0:.0%}"
    return msgspec.structs.replace(
        base,
        name=f"{base.name}-performance",
        bias="performance",
        derivation=(
            f"modelled, not measured: {base.name} with {more} more at idle, falling linearly to none at full load; the "
            "idle from Dell, 'Optimal BIOS settings for HPC with Dell PowerEdge 12th generation servers', section 5.1; "
            "errors are the measured server's and all that was added"
        ),
        model=msgspec.structs.replace(
            model, estimated=True, error_by_level=_doubted(base.model.error_by_level, load, added / (watts + added))
        ),
    )


def _doubted(errors: Sequence[LevelError], load: Floats, added_ratio: Floats) -> tuple[LevelError, ...]:
    """The errors of a model to whose watts something was added that may as well be nothing or twice as much."""
    more = [round(float(np.interp(each.load, load, added_ratio)), 4) for each in errors]
    return tuple(
        LevelError(each.load, each.mean_ratio + ratio, each.p90_ratio + ratio)
        for each, ratio in zip(errors, more, strict=True)
    )


def _name(cpu_name: str, chips: int) -> str:
    return f"{cpu_key(cpu_name).replace(' ', '-')}-{chips}s"


def _size(chips: int) -> str:
    return "single" if chips == 1 else "double" if chips == 2 else "large"


if __name__ == "__main__":
    main()
