"""Reading tables of measurements: what is wrong is said with the file, the row and the column; exit code 2."""

from __future__ import annotations

import csv
import gzip
import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import click
import numpy as np
import numpy.typing as npt

MAXIMUM_ROWS = 200_000


class BadInput(click.ClickException):
    """The input cannot be used; nothing was written."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Table:
    """The cells of a file by column. Rows count from 1, the header not included."""

    path: Path
    columns: dict[str, list[str]]
    lines: list[int]
    """Where in the file each row ends: blank lines and line breaks within cells do not count as rows."""

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.columns.values()), []))

    def texts(self, column: str) -> list[str]:
        """The cells of a column; empty when the column is not there."""
        return self.columns.get(column, [""] * self.rows)

    def numbers(self, column: str) -> npt.NDArray[np.float64]:
        """The numbers of a column; raises BadInput at a cell that is empty or no finite number."""
        values = np.empty(self.rows)
        for row, cell in enumerate(self.columns[column]):
            value = parse_number(cell)
            if value is None:
                raise self.bad(row, column, f"{cell!r} is not a number" if cell.strip() else "is empty")
            values[row] = value
        return values

    def optional_numbers(self, column: str) -> list[float | None]:
        """The numbers of a column, None where a cell is empty or the column is not there; raises BadInput for text."""
        values = []
        for row, cell in enumerate(self.texts(column)):
            value = parse_number(cell)
            if value is None and cell.strip():
                raise self.bad(row, column, f"{cell!r} is not a number")
            values.append(value)
        return values

    def bad(self, row: int, column: str, why: str) -> BadInput:
        """The complaint about one cell; `row` counts from 0."""
        return BadInput(f"{self.path}: row {row + 1} (line {self.lines[row]}), column {column}: {why}")


def read_columns(path: Path) -> list[str]:
    """The column names of a file."""
    with _opened(path) as lines:
        return _header(path, _records(path, lines))


def read_table(path: Path, maximum: int = MAXIMUM_ROWS) -> Table:
    """Read a whole file; raises BadInput for one that is not a table or has too many rows to be held at once."""
    with _opened(path) as text:
        records = _records(path, text)
        names = _header(path, records)
        cells: list[list[str]] = [[] for _ in names]
        lines: list[int] = []
        for line, record in records:
            row = f"{path}: row {len(lines) + 1} (line {line})"
            if len(lines) >= maximum:
                raise BadInput(f"{row}: more than {maximum} rows cannot be held at once")
            if len(record) != len(names):
                raise BadInput(f"{row}: {len(record)} cells, but {len(names)} columns")
            lines.append(line)
            for column, cell in zip(cells, record, strict=True):
                column.append(cell)
    if not lines:
        raise BadInput(f"{path}: a header but no rows")
    return Table(path, dict(zip(names, cells, strict=True)), lines)


def require_columns(path: Path, names: Sequence[str], required: Sequence[str], kind: str) -> None:
    """Raises BadInput naming the columns that are missing, and those that may be meant for them."""
    missing = [name for name in required if name not in names]
    if missing:
        strangers = [name for name in names if name not in required]
        hint = f"; columns not understood: {', '.join(strangers[:8])}" if strangers else ""
        raise BadInput(f"{path}: line 1, the header: no column {', '.join(missing)} ({kind}){hint}")


def parse_number(cell: str) -> float | None:
    """A finite number as tables write it, or None."""
    if "_" in cell:
        return None
    try:
        value = float(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _header(path: Path, records: Iterator[tuple[int, list[str]]]) -> list[str]:
    _, names = next(records, (0, []))
    names = [name.strip() for name in names]
    if not names:
        raise BadInput(f"{path}: empty")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInput(f"{path}: line 1, the header: column {', '.join(twice)} comes more than once")
    return names


def _records(path: Path, lines: TextIO) -> Iterator[tuple[int, list[str]]]:
    """The records that are not blank, with the line that each ends on; raises BadInput where the file is no table."""
    reader = csv.reader(lines)
    try:
        for record in reader:
            if record:
                yield reader.line_num, record
    except (csv.Error, UnicodeDecodeError, EOFError, zlib.error) as error:
        raise BadInput(f"{path}: not a comma-separated table: {error}") from error


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as lines:
                yield lines
        else:
            with path.open(encoding="utf-8-sig", newline="") as lines:
                yield lines
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from error
