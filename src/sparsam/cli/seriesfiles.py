"""Tables of samples over time: counters beside the watts of one node, or the cards of several servers.

Cells are turned into arrays here, in the order of time; what cannot be is refused with its row and column.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from sparsam.cli.tables import Table, read_table, require_columns
from sparsam.power.counters import CYCLES, INSTRUCTIONS, MISSES, UTILIZATION
from sparsam.power.curves import Floats, Rows
from sparsam.power.timeseries import RAPL, infer_threads

TIME, BUSY, WATTS = "timestamp_s", "bpf_cpu_time_raw", "node_power_w"
COUNTERS = {"cpu_cycles_per_s": CYCLES, "cpu_instructions_per_s": INSTRUCTIONS, "cache_misses_per_s": MISSES}
RAPL_COLUMNS = ("rapl_package_w", "rapl_dram_w")
SERIES_COLUMNS = (BUSY, *COUNTERS, WATTS)

SERVER, HOUR, CARD, CARD_LOAD, CARD_WATTS = "server", "time_local", "gpu_model", "gpu_util_pct_mean", "gpu_power_w_mean"
CARD_COLUMNS = (SERVER, HOUR, CARD_LOAD, CARD_WATTS)

# Watts of one node or card span far less; what lies farther from their median is in another unit.
UNIT_RATIO = 50.0


@dataclass(frozen=True, slots=True)
class Series:
    """Consecutive samples of one node; every column has shape (samples,)."""

    columns: dict[str, Floats]
    watts: Floats
    threads: int


@dataclass(frozen=True, slots=True)
class CardSeries:
    """Consecutive samples of one server's cards, in watts of one card; shape (samples,)."""

    server: str
    model: str
    utilization: Floats
    watts: Floats


def read_series(path: Path, threads: int | None = None) -> Series:
    """Counters and watts of one node; raises BadInput.

    `threads` are the node's hardware threads where another file has told them; else the busiest sample does.
    """
    table = read_table(path)
    require_columns(path, list(table.columns), SERIES_COLUMNS, "counters of a node over time")
    order = _order_of_samples(table)
    watts = _watts(table, WATTS, np.arange(table.rows))[order]
    busy = _changing(table, BUSY)[order]
    threads = threads or infer_threads(busy)
    columns = {UTILIZATION: busy / (1000.0 * threads)}
    columns |= {name: _changing(table, column)[order] for column, name in COUNTERS.items()}
    if all(column in table.columns for column in RAPL_COLUMNS):
        package, dram = (_not_negative(table, column)[order] for column in RAPL_COLUMNS)
        columns[RAPL] = package + dram
    return Series(columns, watts, threads)


def read_cards(path: Path) -> list[CardSeries]:
    """Utilization and watts of the cards of each server; raises BadInput."""
    table = read_table(path)
    require_columns(path, list(table.columns), CARD_COLUMNS, "cards over time")
    percent, hours, models = _not_negative(table, CARD_LOAD), table.texts(HOUR), table.texts(CARD)
    for row in np.flatnonzero(percent > 100.0)[:1].tolist():
        raise table.bad(row, CARD_LOAD, f"{percent[row]:g} is not a utilization in per cent")
    members: dict[str, list[int]] = {}
    for row, server in enumerate(table.texts(SERVER)):
        members.setdefault(server, []).append(row)
    found = []
    for server, unordered in members.items():
        rows = sorted(unordered, key=lambda row: hours[row])
        watts = _watts(table, CARD_WATTS, np.array(rows, dtype=np.intp))
        for before, row in pairwise(rows):
            # An hour comes twice where clocks are set back, but not with the same readings.
            if (hours[row], percent[row], watts[row]) == (hours[before], percent[before], watts[before]):
                raise table.bad(row, HOUR, f"{hours[row]} of {server} is already in row {before + 1}")
        found.append(CardSeries(server, models[rows[0]], percent[rows] / 100.0, watts[rows]))
    return found


def _order_of_samples(table: Table) -> Rows:
    """The rows by time, none of which comes twice; as they are when the file does not tell the time."""
    if TIME not in table.columns:
        return np.arange(table.rows)
    seconds = table.numbers(TIME)
    order = np.argsort(seconds, kind="stable")
    for index in np.flatnonzero(np.diff(seconds[order]) == 0.0)[:1].tolist():
        first, second = int(order[index]), int(order[index + 1])
        raise table.bad(second, TIME, f"{seconds[second]:.0f} is already in row {first + 1}: a sample comes once")
    return order


def _watts(table: Table, column: str, rows: Rows) -> Floats:
    """All watts of a column, those in the rows given checked to be of one unit."""
    watts = table.numbers(column)
    for row in np.flatnonzero(watts <= 0.0)[:1].tolist():
        raise table.bad(row, column, f"{watts[row]:g} W: watts are above zero")
    ratio = watts[rows] / np.median(watts[rows])
    for row in rows[(ratio > UNIT_RATIO) | (ratio < 1.0 / UNIT_RATIO)][:1].tolist():
        typical = float(np.median(watts[rows]))
        raise table.bad(row, column, f"{watts[row]:g}, but the median is {typical:g}: these are different units")
    return watts


def _not_negative(table: Table, column: str) -> Floats:
    values = table.numbers(column)
    for row in np.flatnonzero(values < 0.0)[:1].tolist():
        raise table.bad(row, column, f"{values[row]:g} is below zero")
    return values


def _changing(table: Table, column: str) -> Floats:
    values = _not_negative(table, column)
    if float(np.ptp(values)) == 0.0:
        raise table.bad(0, column, f"{values[0]:g}, as in every row: nothing can be learned from a constant load")
    return values
