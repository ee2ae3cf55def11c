"""Made-up servers with power curves as real ones have them: a jump out of idle, a flat middle, a steep end."""

import csv

import numpy as np

from sparsam.power.description import Description
from sparsam.power.selection import Collection

CPUS = ("Xeon E5-2660", "Xeon E5-2699 v3", "EPYC 7742", "Xeon Platinum 8180")
LOADS = np.arange(11) / 10.0


def made_up_servers(count: int = 60, seed: int = 1) -> Collection:
    chance = np.random.default_rng(seed)
    cpu = chance.integers(len(CPUS), size=count)
    cores = chance.choice([8, 16, 32, 64], size=count)
    full = 60.0 + (5.0 + cpu) * cores * np.exp(chance.normal(0, 0.05, count))
    idle = full * (0.15 + 0.05 * cpu) * np.exp(chance.normal(0, 0.05, count))
    bend, steep = chance.uniform(0.6, 0.9, count), chance.uniform(0.0, 0.3, count)
    shape = bend[:, None] * LOADS + (1 - bend)[:, None] * (1 - np.exp(-LOADS / 0.03))
    shape = (shape + steep[:, None] * LOADS**4) / (1 + steep[:, None])
    watts = (idle[:, None] + (full - idle)[:, None] * shape) * np.exp(chance.normal(0, 0.002, (count, 11)))
    load = np.tile(LOADS, (count, 1)) + np.concatenate(
        [np.zeros((count, 1)), chance.normal(0, 0.002, (count, 10))], axis=1
    )
    descriptions = tuple(
        Description(
            cpu_name=CPUS[cpu[row]],
            hw_year=2012.0 + 2 * cpu[row],
            chips=2.0,
            cores=float(cores[row]),
            threads=2.0 * cores[row],
            memory_gb=4.0 * cores[row],
            psu_rating_w=750.0,
        )
        for row in range(count)
    )
    return Collection(tuple(f"srv-{row}" for row in range(count)), descriptions, load, watts)


def server_rows(servers: Collection) -> list[dict[str, str]]:
    """The servers as rows with the columns that published power curves have."""
    rows = []
    for row, one in enumerate(servers.descriptions):
        cells = {"server_id": servers.server_ids[row], "cpu_name": one.cpu_name}
        cells |= {"cores": f"{one.cores:g}", "threads": f"{one.threads:g}", "chips": f"{one.chips:g}"}
        cells |= {"memory_gb": f"{one.memory_gb:g}", "hw_year": f"{one.hw_year:g}", "psu_rating_w": "750"}
        cells["power_w_idle"] = repr(float(servers.watts[row, 0]))
        for step in range(1, 11):
            cells[f"power_w_at_{step}0pct"] = repr(float(servers.watts[row, step]))
            cells[f"actual_load_pct_at_{step}0pct"] = repr(float(100 * servers.load[row, step]))
        rows.append(cells)
    return rows


def write_rows(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
