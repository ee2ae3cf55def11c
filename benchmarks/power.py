"""Power models: watts of 10,000 nodes at once for every family, and fitting 600 servers with the choice of a family.

    OMP_NUM_THREADS=1 python benchmarks/power.py [--data specpower.csv] [-o json]

Each time stands beside its target. The ratio compares one call for the fleet with one call for each node, measured in
the same run. Without a table of measured servers, servers drawn from the catalogue's profiles are fitted.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np

from sparsam.cli.serverfiles import read_servers
from sparsam.power.catalogue import profiles
from sparsam.power.description import Description
from sparsam.power.fleet import Fleet
from sparsam.power.model import FORMULAS, INTERPOLATED, fit_model
from sparsam.power.selection import Collection
from sparsam.power.validation import validate

LOADS = np.arange(11) / 10.0
NODES, SERVERS, REPEATS, SINGLE = 10_000, 600, 50, 200
PREDICT_TARGET_MS, FIT_TARGET_SECONDS = 1.0, 10.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, help="a table of measured servers")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    servers = six_hundred(read_servers(options.data) if options.data else from_catalogue())
    results = {"predict": predict(servers), "fit": fit(servers)}
    if options.output == "json":
        print(json.dumps(results, indent=2))
    else:
        report(**results)


def from_catalogue() -> Collection:
    """Readings of the catalogue's servers as their fitted models give them, each a little off."""
    found, chance = profiles(), np.random.default_rng(1)
    watts = np.array([[one.model.watts(load) for load in LOADS] for one in found])
    watts = np.sort(watts * np.exp(chance.normal(0.0, 0.005, watts.shape)), axis=1)
    descriptions = [
        Description(one.cpu_name, None, one.hw_year, one.chips, one.cores, one.threads, one.memory_gb) for one in found
    ]
    return Collection(tuple(one.name for one in found), tuple(descriptions), np.tile(LOADS, (len(found), 1)), watts)


def six_hundred(servers: Collection) -> Collection:
    """As many servers as the target speaks of; a table with fewer is repeated under new ids, slightly scaled."""
    rows = np.arange(SERVERS) % len(servers.server_ids)
    ids = tuple(f"{servers.server_ids[row]}-{copy}" for copy, row in enumerate(rows))
    many = servers.take(rows)
    return Collection(ids, many.descriptions, many.load, many.watts * (1.0 + 1e-4 * np.arange(SERVERS))[:, None])


def predict(servers: Collection) -> list[dict[str, object]]:
    chance = np.random.default_rng(0)
    load, added = chance.random(NODES), np.full(NODES, 0.05)
    families = (*FORMULAS, *INTERPOLATED)
    by_family = {
        family: [fit_model(family, LOADS, watts, source="", date="") for watts in servers.watts[:100]]
        for family in families
    }
    fleets = {family: [models[node % 100] for node in range(NODES)] for family, models in by_family.items()}
    fleets["mixed"] = [by_family[families[node % len(families)]][node % 100] for node in range(NODES)]
    results = []
    for family, models in fleets.items():
        fleet = Fleet(models)
        watts = median_ms(lambda fleet=fleet: fleet.watts(load))
        marginal = median_ms(lambda fleet=fleet: fleet.marginal_watts(load, added))
        started = time.perf_counter()
        for node in range(SINGLE):
            models[node].watts(load[node])
        single = (time.perf_counter() - started) * 1e3 / SINGLE * NODES
        results.append(
            {"family": family, "watts_ms": watts, "marginal_ms": marginal, "one_by_one_over_at_once": single / watts}
        )
    return results


def fit(servers: Collection) -> dict[str, float]:
    started = time.process_time()
    result = validate(servers)
    seconds = time.process_time() - started
    return {"servers": SERVERS, "families": len(result.comparison.families), "cpu_seconds": seconds}


def report(predict: list[dict[str, object]], fit: dict[str, float]) -> None:
    print(f"{NODES:,} nodes, median of {REPEATS}, target {PREDICT_TARGET_MS} ms")
    print(f"{'family':18}{'watts ms':>10}{'marginal ms':>13}{'one by one / at once':>22}")
    for one in predict:
        times = f"{one['watts_ms']:10.3f}{one['marginal_ms']:13.3f}{one['one_by_one_over_at_once']:22,.0f}"
        print(f"{one['family']:18}{times}")
    worst = max(one["marginal_ms"] for one in predict)
    print(f"slowest {worst:.3f} ms: {'within' if worst <= PREDICT_TARGET_MS else 'OVER'} the target\n")
    seconds = fit["cpu_seconds"]
    within = "within" if seconds <= FIT_TARGET_SECONDS else "OVER"
    print(f"{fit['servers']} servers, {fit['families']} families, nested choice, all settings: {seconds:.2f} s of CPU")
    print(f"{within} the target of {FIT_TARGET_SECONDS:.0f} s ({FIT_TARGET_SECONDS / seconds:.1f} times faster)")


def median_ms(call) -> float:
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return 1e3 * statistics.median(times)


if __name__ == "__main__":
    main()
