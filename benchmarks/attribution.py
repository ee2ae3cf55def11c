"""What metering costs between two readings, and predictions beside the server curves, for 10,000 nodes at once.

    OMP_NUM_THREADS=1 python benchmarks/attribution.py [-o json]

Each time stands beside its target: a meter cycle may take 5 ms of CPU in all, of which parting a node's watts among its
pods is one step; watts and marginal watts of 10,000 nodes take less than 1 ms. `benchmarks/power.py` times the server
curves themselves.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np

from sparsam.power.attribution import EnergyLedger, Node, Use, attribute
from sparsam.power.counterfleet import CounterFleet
from sparsam.power.counters import CYCLES, INSTRUCTIONS, MISSES, UTILIZATION, CounterModel, fit
from sparsam.power.gpu import Cards
from sparsam.power.online import assume, observe, start, terms
from sparsam.power.psu import certified
from sparsam.power.sleep import assumed
from sparsam.power.streaming import LoadStatistics

NODES, PODS, SAMPLES, REPEATS = 10_000, 250, 1_000_000, 50
PREDICTION_TARGET_MS, CYCLE_TARGET_MS = 1.0, 5.0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    results = [*metering(), *predictions(), *learning()]
    if options.output == "json":
        print(json.dumps(results, indent=2))
        return
    print(f"{'what':52}{'median ms':>10}{'target ms':>11}")
    for one in results:
        target = f"{one['target_ms']:.1f}" if one["target_ms"] else "-"
        print(f"{one['what']:52}{one['ms']:10.3f}{target:>11}")


def metering() -> list[dict[str, object]]:
    chance = np.random.default_rng(0)
    use = Use(chance.random(PODS), chance.random(PODS) * 2**30, np.zeros(PODS))
    node, ledger, keys = Node(300.0, 100.0, 1.0), EnergyLedger(), [f"pod-{number}" for number in range(PODS)]

    def cycle() -> None:
        ledger.observe(keys, attribute(node, use), 1.0)

    return [timed(f"part and add up the watts of {PODS} pods", cycle, CYCLE_TARGET_MS)]


def predictions() -> list[dict[str, object]]:
    chance = np.random.default_rng(1)
    load, idle, added = chance.random(NODES), np.full(NODES, 100.0), np.full(NODES, 0.05)
    fleet, rates = CounterFleet([counter_model()] * NODES), counters(load)
    more, free = {CYCLES: np.full(NODES, 1e9)}, np.zeros(NODES, dtype=bool)
    cards = Cards(idle, idle + 30.0, idle + 40.0, 2.0 * idle, np.full(NODES, 0.1))
    supplies = certified(["gold", "titanium"] * (NODES // 2), np.full(NODES, 800.0), sharing=2)
    sleep = assumed("off", idle, 3.0 * idle)
    calls: dict[str, Callable[[], object]] = {
        "counters, watts": lambda: fleet.watts(rates),
        "counters, marginal watts": lambda: fleet.marginal_watts(rates, more),
        "GPU cards, watts": lambda: cards.watts(load, free),
        "GPU cards, marginal watts": lambda: cards.marginal_watts(load, added, free),
        "power supplies, wall watts": lambda: supplies.wall_watts(300.0 * load),
        "sleep, break-even": sleep.break_even_seconds,
    }
    return [timed(f"{name} of {NODES:,} nodes", call, PREDICTION_TARGET_MS) for name, call in calls.items()]


def learning() -> list[dict[str, object]]:
    chance = np.random.default_rng(2)
    load = chance.random(NODES)
    reference = np.tile([100.0, 200.0, 0.0], (NODES, 1))
    learner = start(reference, error_ratio=np.full(NODES, 0.03), max_watts=np.full(NODES, 300.0))
    now, later = terms(load, load), terms(load + 0.05, load + 0.05)
    watts = learner.watts(now)
    stretch = chance.integers(0, 20, SAMPLES).astype(np.float64)
    many, their_watts = chance.random(SAMPLES), chance.random(SAMPLES)
    return [
        timed(f"learned models, watts of {NODES:,} nodes", lambda: learner.watts(now), PREDICTION_TARGET_MS),
        timed(f"what to assume of {NODES:,} nodes", lambda: assume(learner, now, later), PREDICTION_TARGET_MS),
        timed(f"learn one reading of each of {NODES:,} nodes", lambda: observe(learner, now, watts), None),
        timed(f"sums of {SAMPLES:,} samples", lambda: LoadStatistics.of(stretch, many, their_watts), None),
    ]


def counters(load: np.ndarray) -> dict[str, np.ndarray]:
    return {UTILIZATION: load, CYCLES: 5e10 * load, INSTRUCTIONS: 4e10 * load, MISSES: 1e7 * load}


def counter_model() -> CounterModel:
    columns = counters(np.random.default_rng(3).random(2000))
    return fit(columns, 150.0 + 4e-9 * columns[CYCLES] + 6.0 * np.log1p(columns[MISSES] / 1e5))


def timed(what: str, call: Callable[[], object], target_ms: float | None) -> dict[str, object]:
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return {"what": what, "ms": round(1e3 * statistics.median(times), 4), "target_ms": target_ms}


if __name__ == "__main__":
    main()
