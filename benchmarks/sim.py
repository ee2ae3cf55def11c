"""How fast does the twin run? Events, decisions and virtual seconds for each real second, by nodes and pods.

    OMP_NUM_THREADS=1 python benchmarks/sim.py [--sizes 215x20000,2000x100000] [--days 1] [--sleep off] [-o table|json]

Batch work that asks for 30 % of the CPU, under the policy sparsam, one process, one thread. The ratio is to
kube-default on the same arrivals in the same run: what the power policy costs. `--no-ratio` leaves that run out.
For orientation, CloudSim Plus states 50,000 hosts and 100,000 VMs in 6.4 minutes at steps of an hour, without any
decision about power.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import time
from typing import Any

import numpy as np

from sparsam.scheduling.policies import make_policy
from sparsam.scheduling.watts import Weights
from sparsam.simulation.fleets import mixed
from sparsam.simulation.trace import Trace
from sparsam.simulation.traces.generators import poisson_batch
from sparsam.simulation.world import Rules, World

DAY_SECONDS = 86_400.0
LOAD, SHORTEST_SECONDS = 0.3, 60.0


def arrivals(nodes: int, pods: int, days: float = 1.0) -> Trace:
    """So many pods over the days, as long as makes them ask for the load."""
    made = poisson_batch(np.random.default_rng(1), pods / days / 24.0, days * DAY_SECONDS)
    cores = mixed(nodes).cores()
    ratio = LOAD * cores / made.mean_requested_cores()
    stays = np.maximum(made.duration_seconds * ratio, SHORTEST_SECONDS)
    return Trace(**{name: getattr(made, name) for name in Trace.__slots__} | {"duration_seconds": stays})


def measure(nodes: list[Any], trace: Trace, policy: str, *, sleeps: bool) -> tuple[float, int]:
    """Seconds, and how often a pod came or went."""
    world = World(nodes, trace, make_policy(policy, Weights(sleeps=sleeps)), Rules(sleeps=sleeps))
    began = time.perf_counter()
    history = world.run()
    events = np.isfinite(history.started_seconds).sum() + np.isfinite(history.ended_seconds).sum()
    return time.perf_counter() - began, int(events)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="215x20000,2000x20000,2000x100000", help="nodes x pods")
    parser.add_argument("--days", type=float, default=1.0, help="over which the pods arrive")
    parser.add_argument("--no-ratio", action="store_true", help="leave out kube-default")
    parser.add_argument("--sleep", choices=("on", "off"), default="off")
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    options = parser.parse_args()
    rows = []
    for size in options.sizes.split(","):
        count, pods = (int(each) for each in size.split("x"))
        nodes, trace = mixed(count).node_objects(), arrivals(count, pods, options.days)
        usual = math.nan if options.no_ratio else measure(nodes, trace, "kube-default", sleeps=False)[0]
        seconds, events = measure(nodes, trace, "sparsam", sleeps=options.sleep == "on")
        rows.append(
            {
                "nodes": count,
                "pods": len(trace),
                "seconds": round(seconds, 2),
                "events_per_second": round(events / seconds),
                "decisions_per_second": round(len(trace) / seconds),
                "virtual_to_real": round(options.days * DAY_SECONDS / seconds),
                "ratio": round(seconds / usual, 2),
                "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            }
        )
        if options.output == "table":
            if len(rows) == 1:
                print(" ".join(f"{name.upper():>20}" for name in rows[0]))
            print(" ".join(f"{value!s:>20}" for value in rows[-1].values()), flush=True)
    if options.output == "json":
        print(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
