"""How the command speaks: progress on stderr, results on stdout as a table, JSON or YAML."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import click
import msgspec
import yaml
from rich.console import Console, RenderableType
from rich.table import Table

F = TypeVar("F", bound=Callable[..., Any])

UNCUT_WIDTH = 1000

_console = Console(stderr=True, highlight=False)


def output_option(function: F) -> F:
    """Adds `-o table|json|yaml`."""
    choice = click.Choice(["table", "json", "yaml"])
    return click.option("-o", "--output", type=choice, default="table", show_default=True, help="Output format.")(
        function
    )


def emit(value: Any, output: str, table: Callable[[], RenderableType]) -> None:
    """Print a JSON-like value in the format asked for; the table is built only when wanted."""
    if output == "json":
        click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
    elif output == "yaml":
        click.echo(yaml.safe_dump(value, sort_keys=False), nl=False)
    else:
        # A table that a program reads is not to be cut.
        console = Console(highlight=False)
        wide = console if console.is_terminal else Console(highlight=False, width=UNCUT_WIDTH)
        wide.print(table(), soft_wrap=not console.is_terminal)


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table in kubectl's manner: no lines, upper-case heads."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


@contextlib.contextmanager
def step(text: str) -> Iterator[None]:
    """Show that something is under way, then how long it took; without a terminal only the result line."""
    started = time.monotonic()
    with _console.status(text) if _console.is_terminal else contextlib.nullcontext():
        yield
    _console.print(f"  {text}  [dim]{time.monotonic() - started:.1f} s[/dim]")
