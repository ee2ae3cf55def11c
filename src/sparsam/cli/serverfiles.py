"""Tables of measured servers: one row for each server (SPECpower's columns) or one for each load step of a run.

Cells are turned into arrays here, and what no power curve can look like is refused with its row and column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from sparsam.cli.tables import Table, read_table, require_columns
from sparsam.power.curves import Floats
from sparsam.power.description import NUMBERS, Description
from sparsam.power.model import FALL_TOLERANCE, MAXIMUM_LOAD, check_points
from sparsam.power.selection import Collection

STEPS = tuple(range(10, 101, 10))
WATTS_COLUMNS = ("power_w_idle", *(f"power_w_at_{step}pct" for step in STEPS))
LOAD_COLUMNS = tuple(f"actual_load_pct_at_{step}pct" for step in STEPS)
SERVER_COLUMNS = ("server_id", "cpu_name", *WATTS_COLUMNS, *LOAD_COLUMNS)
STEP_COLUMNS = ("run_id", "test", "target_load_pct", "pkg_w")

MAXIMUM_SERVERS = 20_000
# A whole server draws between these at full load; outside, the column is in another unit.
PLAUSIBLE_WATTS = (3.0, 30_000.0)
# Published servers draw 1.5 to 84 W for each hardware thread at full load.
PLAUSIBLE_WATTS_PER_THREAD = (0.2, 2_000.0)
# No server draws this many times more after one load step than before it: one of the two is in another unit.
PLAUSIBLE_STEP = 8.0


@dataclass(frozen=True, slots=True)
class Run:
    """The load steps of one run, and what other work drew at full load."""

    run_id: str
    instance: str
    load: Floats
    watts: Floats
    other_full_load_watts: dict[str, float]


def read_servers(path: Path) -> Collection:
    """Servers with their eleven-point power curves; raises BadInput."""
    table = read_table(path, MAXIMUM_SERVERS)
    require_columns(path, list(table.columns), SERVER_COLUMNS, "server power curves")
    ids = _distinct_ids(table)
    watts = np.stack([table.numbers(column) for column in WATTS_COLUMNS], axis=1)
    percent = np.stack([np.zeros(table.rows), *(table.numbers(column) for column in LOAD_COLUMNS)], axis=1)
    _check_loads(table, percent)
    _check_watts(table, watts)
    return Collection(tuple(ids), tuple(_descriptions(table)), np.round(percent / 100.0, 9), watts)


def read_runs(path: Path) -> list[Run]:
    """Runs of load steps, by the steps of the test that covers most loads; raises BadInput."""
    table = read_table(path)
    require_columns(path, list(table.columns), STEP_COLUMNS, "load steps")
    percent, watts = table.numbers("target_load_pct"), table.numbers("pkg_w")
    rows: dict[str, list[int]] = {}
    for row, run in enumerate(table.texts("run_id")):
        rows.setdefault(run, []).append(row)
    return [_run(table, run, members, percent, watts) for run, members in rows.items()]


def _run(table: Table, run: str, rows: Sequence[int], percent: Floats, watts: Floats) -> Run:
    tests = table.texts("test")
    loads: dict[str, set[float]] = {}
    for row in rows:
        loads.setdefault(tests[row], set()).add(float(percent[row]))
    sweep = max(loads, key=lambda test: len(loads[test]))
    steps = sorted((row for row in rows if tests[row] == sweep), key=lambda row: percent[row])
    for before, row in pairwise(steps):
        if percent[row] == percent[before]:
            raise table.bad(row, "target_load_pct", f"{percent[row]:g} comes twice in run {run}")
    load = percent[steps] / 100.0
    try:
        check_points(load, watts[steps])
    except ValueError as error:
        raise table.bad(steps[-1], "pkg_w", f"run {run}: {error}") from error
    other = {tests[row]: float(watts[row]) for row in rows if tests[row] != sweep and percent[row] == 100.0}
    return Run(run, table.texts("instance")[rows[0]], load, watts[steps], other)


def _distinct_ids(table: Table) -> list[str]:
    seen: dict[str, int] = {}
    ids = [cell.strip() for cell in table.texts("server_id")]
    for row, one in enumerate(ids):
        if not one:
            raise table.bad(row, "server_id", "is empty")
        if one in seen:
            raise table.bad(row, "server_id", f"{one!r} is already in row {seen[one] + 1}: each server comes once")
        seen[one] = row
    return ids


def _descriptions(table: Table) -> list[Description]:
    numbers = [table.optional_numbers(column) for column in NUMBERS]
    names, forms = table.texts("cpu_name"), table.texts("form_factor")
    return [
        Description(cpu_name=names[row], form_factor=forms[row], **dict(zip(NUMBERS, values, strict=True)))
        for row, values in enumerate(zip(*numbers, strict=True))
    ]


def _check_loads(table: Table, percent: Floats) -> None:
    columns = ("power_w_idle", *LOAD_COLUMNS)
    for row in np.flatnonzero(
        (np.diff(percent, axis=1) <= 0.0).any(axis=1) | (percent[:, -1] > 100.0 * MAXIMUM_LOAD)
    ).tolist():
        loads = percent[row]
        if loads[-1] > 100.0 * MAXIMUM_LOAD:
            raise table.bad(row, columns[-1], f"{loads[-1]:g} is not a load in per cent of the calibrated maximum")
        step = int((np.diff(loads) <= 0.0).argmax()) + 1
        if np.ptp(loads[1:]) == 0.0:
            raise table.bad(row, columns[step], f"the load is constant at {loads[1]:g} %: no curve can be fitted")
        raise table.bad(row, columns[step], f"load {loads[step]:g} % is not above the step before it")
    for row in np.flatnonzero(percent[:, -1] <= 2.0).tolist():
        raise table.bad(row, columns[-1], f"{percent[row, -1]:g} looks like a ratio; loads are in per cent")


def _check_watts(table: Table, watts: Floats) -> None:
    low, high = PLAUSIBLE_WATTS
    for row in np.flatnonzero((watts <= 0.0).any(axis=1)).tolist():
        step = int((watts[row] <= 0.0).argmax())
        raise table.bad(row, WATTS_COLUMNS[step], f"{watts[row, step]:g} W: watts are above zero")
    threads = np.array([value or np.nan for value in table.optional_numbers("threads")])
    per_thread = watts[:, -1] / threads
    off = (watts[:, -1] < low) | (watts[:, -1] > high)
    off |= (per_thread < PLAUSIBLE_WATTS_PER_THREAD[0]) | (per_thread > PLAUSIBLE_WATTS_PER_THREAD[1])
    steps = watts[:, 1:] / watts[:, :-1]
    odd = (steps < 1.0 - FALL_TOLERANCE) | (steps > PLAUSIBLE_STEP)
    for row in np.flatnonzero(odd.any(axis=1) | off).tolist():
        if odd[row].any():
            step = int(odd[row].argmax())
            before, after = watts[row, step], watts[row, step + 1]
            jump = not 1.0 / PLAUSIBLE_STEP < after / before < PLAUSIBLE_STEP
            why = "these are different units" if jump else "power falls with load"
            raise table.bad(row, WATTS_COLUMNS[step + 1], f"{after:g} after {before:g} in the step before it: {why}")
        raise table.bad(row, WATTS_COLUMNS[-1], f"{watts[row, -1]:g} at full load is in another unit than watts")
