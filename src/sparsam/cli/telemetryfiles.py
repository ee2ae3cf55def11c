"""Telemetry of any size to sums: CSV in pieces, or CSV and Parquet through DuckDB where that is installed.

Every file is read twice: once to learn its units and its span of time and to find what is no number, once for the sums.
"""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from sparsam.cli.tables import BadInput, read_columns
from sparsam.power.curves import Floats
from sparsam.power.streaming import CELLS, STRETCHES, LoadStatistics

PIECE_ROWS = 100_000
MEMORY_LIMIT = "2GB"
NAMES = {
    "utilization": ("utilization", "cpu_utilization", "cpu_util", "util", "load", "cpu_percent", "utilization_pct"),
    "watts": ("watts", "power_w", "node_power_w", "power", "node_watts", "power_watts"),
    "time": ("time_s", "t_s", "timestamp_s", "timestamp", "time", "t"),
    "cycles": ("cycles", "cpu_cycles_per_s", "cpu_cycles"),
    "instructions": ("instructions", "cpu_instructions_per_s", "cpu_instructions"),
}
NEEDED = ("utilization", "watts")
EXTRA = ("cycles", "instructions")
SHORT = {"utilization": "u", "watts": "w", "time": "t"}
HIGHEST_RATIO, HIGHEST_PERCENT = 1.1, 110.0
PLAUSIBLE_WATTS = (3.0, 30_000.0)
NO_DUCKDB = "Parquet needs DuckDB: pip install 'sparsam[telemetry]'"

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the first reading found."""

    rows: int
    first_time: float
    last_time: float
    highest_load: float
    lowest_watts: float
    highest_watts: float


@dataclass(frozen=True, slots=True)
class Telemetry:
    """A file as sums, with the units that were found."""

    statistics: LoadStatistics
    facts: Facts
    percent: bool
    """Whether utilization was in per cent."""
    sums: dict[str, Floats] = field(default_factory=dict)
    """Of cycles and instructions where the file has them: sums by load cell, shape (CELLS,)."""


def read_telemetry(path: Path, chosen: dict[str, str], progress: Progress = lambda _rows: None) -> Telemetry:
    """Read a file; `chosen` maps our names (utilization, watts, time) to its columns. Raises BadInput."""
    reader = _reader(path)
    columns = _columns(path, reader.columns(), chosen)
    facts = reader.facts(columns, progress)
    percent = _is_percent(path, columns["utilization"], facts)
    low, high = PLAUSIBLE_WATTS
    if not low <= facts.highest_watts <= high:
        column, watts = columns["watts"], facts.highest_watts
        raise BadInput(f"{path}: column {column}: the highest value is {watts:g}; that is no server's power in watts")
    statistics, sums = reader.sums(columns, facts, 100.0 if percent else 1.0, progress)
    return Telemetry(statistics, facts, percent, sums)


def _columns(path: Path, names: Sequence[str], chosen: dict[str, str]) -> dict[str, str]:
    found = {}
    for ours, usual in NAMES.items():
        if ours in chosen:
            if chosen[ours] not in names:
                raise BadInput(f"{path}: no column {chosen[ours]} for {ours}; there are {', '.join(names[:20])}")
            found[ours] = chosen[ours]
        elif match := next((name for name in usual if name in names), None):
            found[ours] = match
        elif ours in NEEDED:
            hint = f"name it with --map {ours}=COLUMN; there are {', '.join(names[:20])}"
            raise BadInput(f"{path}: no column for {ours} (such as {', '.join(usual[:3])}); {hint}")
    return found


def _is_percent(path: Path, column: str, facts: Facts) -> bool:
    if facts.highest_load <= HIGHEST_RATIO:
        return False
    if facts.highest_load <= HIGHEST_PERCENT:
        return True
    raise BadInput(
        f"{path}: column {column}: the highest value is {facts.highest_load:g}; utilization must be a ratio up to 1 "
        f"or per cent up to 100, in one unit throughout"
    )


class _CsvReader:
    """CSV, plain or gzip, in pieces."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def columns(self) -> list[str]:
        return read_columns(self._path)

    def facts(self, columns: dict[str, str], progress: Progress) -> Facts:
        rows, lowest, highest = 0, np.full(3, np.inf), np.full(3, -np.inf)
        for piece in self._pieces(columns):
            time = piece.get("time", np.arange(rows, rows + len(piece["watts"]), dtype=np.float64))
            stacked = np.stack([time, piece["utilization"], piece["watts"]])
            lowest, highest = np.minimum(lowest, stacked.min(axis=1)), np.maximum(highest, stacked.max(axis=1))
            rows += len(piece["watts"])
            progress(rows)
        if not rows:
            raise BadInput(f"{self._path}: a header but no rows")
        return Facts(rows, float(lowest[0]), float(highest[0]), float(highest[1]), float(lowest[2]), float(highest[2]))

    def sums(
        self, columns: dict[str, str], facts: Facts, scale: float, progress: Progress
    ) -> tuple[LoadStatistics, dict[str, Floats]]:
        statistics, rows = LoadStatistics.empty(), 0
        extra: dict[str, Floats] = {name: np.zeros(CELLS) for name in EXTRA if name in columns}
        span = max(facts.last_time - facts.first_time, 1e-9)
        for piece in self._pieces(columns):
            count = len(piece["watts"])
            time = piece.get("time", np.arange(rows, rows + count, dtype=np.float64))
            stretch = np.floor((time - facts.first_time) / span * STRETCHES)
            load = np.clip(piece["utilization"] / scale, 0.0, 1.0)
            statistics = statistics.merged(LoadStatistics.of(stretch, load, piece["watts"]))
            cell = np.rint(load * (CELLS - 1)).astype(np.intp)
            for name, total in extra.items():
                total += np.bincount(cell, piece[name], CELLS)
            rows += count
            progress(rows)
        return statistics, extra

    def _pieces(self, columns: dict[str, str]) -> Iterator[dict[str, Floats]]:
        with _opened(self._path) as text:
            rows = csv.reader(text)
            header = [name.strip() for name in next(rows)]
            places = {name: header.index(column) for name, column in columns.items()}
            kept: list[list[str]] = []
            before = 0
            for row in rows:
                if len(row) != len(header):
                    if not row:
                        continue
                    at = f"row {before + len(kept) + 1} (line {rows.line_num})"
                    raise BadInput(f"{self._path}: {at}: {len(row)} cells, but {len(header)} columns")
                kept.append(row)
                if len(kept) == PIECE_ROWS:
                    yield self._numbers(kept, places, columns, before)
                    before += len(kept)
                    kept = []
            if kept:
                yield self._numbers(kept, places, columns, before)

    def _numbers(
        self, rows: list[list[str]], places: dict[str, int], columns: dict[str, str], before: int
    ) -> dict[str, Floats]:
        found = {}
        for name, place in places.items():
            cells = [row[place] for row in rows]
            try:
                values = np.array(cells, dtype=np.float64)
            except ValueError:
                values = np.array([_number(cell) for cell in cells])
            wrong = np.flatnonzero(~np.isfinite(values) | ((values < 0.0) & (name != "time")))
            if len(wrong):
                at = int(wrong[0])
                why = "is negative" if np.isfinite(values[at]) else "is not a number"
                raise BadInput(f"{self._path}: row {before + at + 1}, column {columns[name]}: {cells[at]!r} {why}")
            found[name] = values
        return found


class _DuckReader:
    """CSV and Parquet through DuckDB, which spills to disk rather than fill the memory."""

    def __init__(self, path: Path, duckdb: Any) -> None:
        self._path = path
        self._connection = duckdb.connect()
        self._connection.execute(f"SET memory_limit='{MEMORY_LIMIT}'")
        self._error = duckdb.Error
        self._is_parquet = path.suffix == ".parquet"
        self._source = "read_parquet(?)" if self._is_parquet else self._csv_source()

    def _csv_source(self) -> str:
        """As our own reader takes CSV: every cell a text, nothing guessed."""
        types = ", ".join(f"{_text(name)}: 'VARCHAR'" for name in read_columns(self._path))
        return f"read_csv(?, auto_detect=false, header=true, delim=',', quote='\"', columns={{{types}}})"

    def columns(self) -> list[str]:
        rows = self._run(f"DESCRIBE SELECT * FROM {self._source}")
        return [str(row[0]) for row in rows]

    def facts(self, columns: dict[str, str], progress: Progress) -> Facts:
        time = "t" if "time" in columns else "0.0"
        [row] = self._checked(
            columns,
            f"SELECT count(*), min({time}), max({time}), max(u), min(w), max(w), "
            f"count(*) FILTER (WHERE NOT ({_fine(columns)})) FROM ({self._numbers(columns)})",
        )
        rows, bad = int(row[0]), int(row[6])
        if bad:
            self._complain_as_csv(columns)
            raise self._first_bad(columns)
        if not rows:
            raise BadInput(f"{self._path}: a header but no rows")
        progress(rows)
        if "time" not in columns:
            return Facts(rows, 0.0, float(rows), *(float(value) for value in row[3:6]))
        return Facts(rows, *(float(value) for value in row[1:6]))

    def sums(
        self, columns: dict[str, str], facts: Facts, scale: float, progress: Progress
    ) -> tuple[LoadStatistics, dict[str, Floats]]:
        span = max(facts.last_time - facts.first_time, 1e-9)
        time = "t" if "time" in columns else "row_number() OVER ()"
        extra: list[str] = [name for name in EXTRA if name in columns]
        totals = "".join(f", sum({name})" for name in extra)
        # Arithmetic only: the columns' names are quoted in `_numbers`, everything else is a number of ours.
        rows = self._run(
            f"SELECT stretch, cell, count(*), sum(load), sum(w), sum(w * w){totals} FROM ("
            f"SELECT *, least({STRETCHES - 1}, floor(({time} - {facts.first_time!r}) / {span!r} * {STRETCHES}))::INT "
            f"AS stretch, round_even(least(u / {scale!r}, 1.0) * {CELLS - 1}, 0)::INT AS cell, "
            f"least(u / {scale!r}, 1.0) AS load FROM ({self._numbers(columns)})) GROUP BY stretch, cell"
        )
        arrays = np.zeros((4 + len(extra), STRETCHES, CELLS))
        for stretch, cell, *values in rows:
            arrays[:, int(stretch), int(cell)] = values
        progress(facts.rows)
        sums = {name: arrays[4 + place].sum(axis=0) for place, name in enumerate(extra)}
        return LoadStatistics(*arrays[:4]), sums

    def _numbers(self, columns: dict[str, str]) -> str:
        names = {"utilization": "u", "watts": "w", "time": "t"}
        picked = (
            f"TRY_CAST({_quoted(column)} AS DOUBLE) AS {names.get(ours, ours)}" for ours, column in columns.items()
        )
        return f"SELECT {', '.join(picked)} FROM {self._source}"

    def _complain_as_csv(self, columns: dict[str, str]) -> None:
        """Our own reader knows the row and the words of what is wrong with a CSV."""
        if not self._is_parquet:
            _CsvReader(self._path).facts(columns, lambda _rows: None)

    def _first_bad(self, columns: dict[str, str]) -> BadInput:
        [row] = self._run(
            f"SELECT n, {', '.join(_short(ours) for ours in columns)} FROM (SELECT row_number() OVER () AS n, * "
            f"FROM ({self._numbers(columns)})) WHERE NOT ({_fine(columns)}) ORDER BY n LIMIT 1"
        )
        for value, (ours, column) in zip(row[1:], columns.items(), strict=True):
            if value is None or not math.isfinite(value) or (value < 0.0 and ours != "time"):
                why = "is not a number" if value is None or not math.isfinite(value) else "is negative"
                return BadInput(f"{self._path}: row {row[0]}, column {column}: {value!r} {why}")
        return BadInput(f"{self._path}: row {row[0]} cannot be used")

    def _checked(self, columns: dict[str, str], query: str) -> list[tuple[Any, ...]]:
        try:
            return self._run(query)
        except BadInput:
            self._complain_as_csv(columns)
            raise

    def _run(self, query: str) -> list[tuple[Any, ...]]:
        try:
            rows: list[tuple[Any, ...]] = self._connection.execute(query, [str(self._path)]).fetchall()
        except self._error as error:
            raise BadInput(f"{self._path}: {str(error).splitlines()[0]}") from error
        return rows


def _fine(columns: dict[str, str]) -> str:
    tests = (
        f"{_short(ours)} IS NOT NULL AND isfinite({_short(ours)})"
        + ("" if ours == "time" else f" AND {_short(ours)} >= 0")
        for ours in columns
    )
    return " AND ".join(tests)


def _short(ours: str) -> str:
    return SHORT.get(ours, ours)


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _quoted(column: str) -> str:
    return '"' + column.replace('"', '""') + '"'


def _reader(path: Path) -> _CsvReader | _DuckReader:
    try:
        import duckdb
    except ImportError:
        if path.suffix == ".parquet":
            raise BadInput(f"{path}: {NO_DUCKDB}") from None
        return _CsvReader(path)
    return _DuckReader(path, duckdb)


def _number(cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        return math.nan


def _opened(path: Path) -> TextIO:
    try:
        if path.suffix == ".gz":
            return gzip.open(path, "rt", newline="", encoding="utf-8", errors="replace")
        return path.open(newline="", encoding="utf-8", errors="replace")
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from error
