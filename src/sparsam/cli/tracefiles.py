"""Traces from files of any known format: CSV, Parquet, JSON and SWF, plain or gzip. What is wrong is a `BadInput`."""

from __future__ import annotations

import csv
import gzip
import io
import os
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, TextIO

import msgspec
from rich.console import Console
from rich.progress import wrap_file

from sparsam.cli.tables import BadInput
from sparsam.cli.telemetryfiles import MEMORY_LIMIT, NO_DUCKDB
from sparsam.simulation.trace import BadTrace
from sparsam.simulation.traces.openb import POD_COLUMNS, read_openb_pods
from sparsam.simulation.traces.podlist import read_pods
from sparsam.simulation.traces.rows import SHORT, Reading
from sparsam.simulation.traces.swf import read_swf
from sparsam.simulation.traces.table import REQUIRED, read_table
from sparsam.simulation.traces.vmusage import INTERVAL_COLUMNS, PLANETLAB_COLUMNS, read_bitbrains, read_planetlab

Rows = Iterator[Mapping[str, Any]]

FORMATS = ("table", "openb", "planetlab", "bitbrains", "pods", "swf")
_BY_SUFFIX = {".swf": "swf", ".json": "pods"}
_BY_COLUMNS = {
    "table": REQUIRED,
    "openb": POD_COLUMNS,
    "planetlab": PLANETLAB_COLUMNS[:3],
    "bitbrains": INTERVAL_COLUMNS,
}
_READERS: dict[str, Callable[..., Reading]] = {
    "table": read_table,
    "openb": read_openb_pods,
    "planetlab": read_planetlab,
}
_PIECE_ROWS = 10_000
_LONG_BYTES = 10_000_000
"""Of a file that takes more than a second or two."""


def read_trace(path: Path, trace_format: str = "", *, lenient: bool = False) -> Reading:
    """Read a trace of the format that its name and columns tell, or of one of `FORMATS`; raises BadInput.

    Bitbrains' table of VMs is looked for beside that of the intervals: `x.csv.gz` has its VMs in `x_vms.csv`.
    """
    kind = trace_format or _BY_SUFFIX.get(_suffix(path), "")
    try:
        if kind == "pods":
            return read_pods(_items(path), str(path), lenient=lenient)
        if kind == "swf":
            with _opened(path) as lines:
                return read_swf(lines, str(path), lenient=lenient).reading
        with _table(path) as (columns, rows):
            return _read_rows(path, kind or _guess(path, columns), rows, lenient)
    except BadTrace as error:
        raise BadInput(str(error)) from error
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror or error}") from error


def _read_rows(path: Path, kind: str, rows: Rows, lenient: bool) -> Reading:
    if kind == "bitbrains":
        vms = _vms_of(path)
        with _table(vms) as (_, sizes):
            return read_bitbrains(rows, sizes, str(path), str(vms), lenient=lenient)
    if kind not in _READERS:
        raise BadInput(f"{path}: no format {kind!r}; there are {', '.join(FORMATS)}")
    return _READERS[kind](rows, str(path), lenient=lenient)


def _guess(path: Path, columns: list[str]) -> str:
    for kind, needed in _BY_COLUMNS.items():
        if set(needed) <= set(columns):
            return kind
    there = ", ".join(columns[:12]) or "none"
    raise BadInput(f"{path}: line 1, the header: columns of no known trace ({there}); docs/traces.md describes ours")


def _vms_of(path: Path) -> Path:
    stem = path.name.removesuffix(".gz").removesuffix(_suffix(path))
    for name in (f"{stem}_vms.csv", f"{stem}_vms.csv.gz"):
        if (found := path.with_name(name)).exists():
            return found
    raise BadInput(f"{path}: no {stem}_vms.csv beside it, which tells the sizes of the VMs")


def _items(path: Path) -> list[Any]:
    try:
        with _opened(path) as text:
            document = msgspec.json.decode(text.read())
    except (ValueError, EOFError, zlib.error) as error:
        raise BadInput(f"{path}: not JSON: {error}") from error
    items = document.get("items") if isinstance(document, dict) else document
    if not isinstance(items, list):
        raise BadInput(f"{path}: items: no list of Pods; export one with kubectl get pods -A -o json")
    return items


@contextmanager
def _table(path: Path) -> Iterator[tuple[list[str], Rows]]:
    """The columns of a table and its rows."""
    if _suffix(path) == ".parquet":
        yield _parquet(path)
        return
    if _suffix(path) != ".csv":
        raise BadInput(f"{path}: a trace is a .csv, .json, .swf (each also .gz) or .parquet file")
    with _opened(path) as lines:
        reader = csv.DictReader(lines, restval=SHORT)
        try:
            columns = [name.strip() for name in reader.fieldnames or ()]
        except (csv.Error, UnicodeDecodeError, EOFError, zlib.error) as error:
            raise BadInput(f"{path}: not a comma-separated table: {error}") from error
        twice = sorted({name for name in columns if columns.count(name) > 1})
        if twice:
            raise BadInput(f"{path}: line 1, the header: column {', '.join(twice)} comes more than once")
        reader.fieldnames = columns
        yield columns, reader


def _parquet(path: Path) -> tuple[list[str], Rows]:
    try:
        import duckdb
    except ImportError:
        raise BadInput(f"{path}: {NO_DUCKDB}") from None
    if not path.is_file():
        raise BadInput(f"{path}: No such file or directory")
    try:
        connection = duckdb.connect()
        connection.execute(f"SET memory_limit='{MEMORY_LIMIT}'")
        found = connection.execute("SELECT * FROM read_parquet(?)", [str(path)])
        columns = [str(column[0]) for column in found.description or ()]
    except duckdb.Error as error:
        raise BadInput(f"{path}: {str(error).splitlines()[0]}") from error

    def rows() -> Rows:
        while piece := found.fetchmany(_PIECE_ROWS):
            for values in piece:
                yield dict(zip(columns, values, strict=True))

    return columns, rows()


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    """As text; old logs have remarks in other encodings, which no field of theirs depends on."""
    errors = "replace" if _suffix(path) == ".swf" else "strict"
    with path.open("rb") as raw, _watched(raw) as seen:
        whole = gzip.GzipFile(fileobj=seen) if path.suffix == ".gz" else seen
        with io.TextIOWrapper(whole, encoding="utf-8-sig", newline="", errors=errors) as lines:
            yield lines


def _watched(raw: BinaryIO) -> AbstractContextManager[BinaryIO]:
    """With a progress bar on a terminal, if the file is long."""
    console, size = Console(stderr=True), os.fstat(raw.fileno()).st_size
    if size < _LONG_BYTES or not console.is_terminal:
        return nullcontext(raw)
    return wrap_file(raw, size, description="read", console=console, transient=True)


def _suffix(path: Path) -> str:
    """Without that of gzip."""
    return path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
