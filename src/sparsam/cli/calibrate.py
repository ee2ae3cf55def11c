"""`sparsam calibrate`: from measurements of a node to its power model, its report and its ServerModel object."""

from __future__ import annotations

import asyncio
import datetime
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
import yaml
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from sparsam.cli.charts import text
from sparsam.cli.report import Report, Work, charts, html, png
from sparsam.cli.tables import BadInput
from sparsam.cli.telemetryfiles import NAMES, Telemetry, read_telemetry
from sparsam.objects.kinds import SERVERMODELS
from sparsam.power.calibration import Peers
from sparsam.power.catalogue import population_for
from sparsam.power.description import Description
from sparsam.power.model import ServerModel, encode
from sparsam.power.server import MODEL_ANNOTATION
from sparsam.power.streaming import CELLS, LoadStatistics
from sparsam.power.telemetry import TelemetryFit, fit_telemetry

NAME = re.compile(r"[^a-z0-9.-]+")


def _options(*decorators: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda function: reduce(lambda inner, decorator: decorator(inner), reversed(decorators), function)


_telemetry = _options(
    click.option("--from", "file", type=click.Path(path_type=Path, dir_okay=False), help="CSV, CSV.GZ or Parquet."),
    click.option("--map", "columns", multiple=True, metavar="NAME=COLUMN", help=f"{', '.join(NAMES)}: which column."),
    click.option("--prometheus", "url", help="A Prometheus server that has the telemetry."),
    click.option("--query-utilization", help="PromQL of utilization in 0..1, one series for each node."),
    click.option("--query-watts", help="PromQL of watts, one series for each node."),
    click.option("--node-label", default="instance", show_default=True, help="The label that tells nodes apart."),
    click.option("--hours", type=click.FloatRange(0.1, 9600), default=24.0, help="How far to look back [24]."),
    click.option(
        "--step", "step_seconds", type=click.IntRange(1, 3600), default=60, help="Seconds between samples [60]."
    ),
)
_hardware = _options(
    click.option("--cpu", "cpu_name", default="", help="CPU name: how the curve goes on above the highest load seen."),
    click.option("--sockets", "chips", type=click.IntRange(1), help="Number of CPUs."),
    click.option("--cores", type=click.IntRange(1), help="Cores of all CPUs together."),
    click.option("--threads", type=click.IntRange(1), help="Hardware threads of all CPUs together."),
    click.option("--memory", "memory_gb", type=click.FloatRange(0.5), help="Memory in GB."),
)


_tunnel = _options(
    click.option("--drive", "driven", is_flag=True, help="Drive load steps on this machine and measure them."),
    click.option("--mixes", default="", help="Kinds of work, of integer,matrix,memory [all]."),
    click.option("--levels", default="0,10,20,30,40,50,60,70,80,90,100", help="Load levels in per cent [every tenth]."),
    click.option("--repeats", type=click.IntRange(1, 10), default=2, show_default=True, help="Runs of each kind."),
    click.option("--settle", type=click.FloatRange(0), default=20.0, help="Seconds before a step counts [20]."),
    click.option("--measure", type=click.FloatRange(1), default=30.0, show_default=True, help="Seconds that count."),
    click.option("--max-celsius", type=float, default=90.0, show_default=True, help="Break off above this."),
    click.option("--max-watts", type=float, help="Break off above this."),
    click.option("--stress-program", default="stress-ng", hidden=True),
    click.option("--sys-root", type=click.Path(path_type=Path), default=Path("/sys"), hidden=True),
    click.option("--proc-root", type=click.Path(path_type=Path), default=Path("/proc"), hidden=True),
)


@click.command()
@_telemetry
@_tunnel
@_hardware
@click.option("--node", "node_name", help="Name of the node [the file's name, or the label's value].")
@click.option("--idle-watts", type=click.FloatRange(0.1), help="Watts without load, where no sample is idle.")
@click.option(
    "--output",
    "-O",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("calibration"),
    show_default=True,
    help="Where models and reports are written.",
)
def calibrate(file: Path | None, url: str | None, directory: Path, **options: Any) -> None:
    """Fit a node's power model to its telemetry or to load steps, and say how good it is.

    Writes for each node NODE.model.json, NODE.servermodel.yaml (for kubectl apply), NODE.annotation.yaml (for kubectl
    patch node, on clusters without our kinds), NODE.html and, with matplotlib, NODE.png. Nothing is written, and the
    exit code is 2, when the telemetry carries no model.

    \b
    Examples:
      sparsam calibrate --from telemetry.csv --node worker-1
      sparsam calibrate --from fleet.parquet --map utilization=cpu --map watts=pdu_w --cpu "AMD EPYC 7742"
      sparsam calibrate --prometheus http://prometheus:9090 --hours 168 --node-label instance \\
        --query-utilization '1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[2m]))' \\
        --query-watts 'sum by (instance) (ipmi_dcmi_power_consumption_watts)'
      sparsam calibrate --drive --max-celsius 85     two hours of load steps on this machine, by its own sensors
    """
    if sum((file is not None, url is not None, options["driven"])) != 1:
        raise click.UsageError("give one of --from FILE, --prometheus URL and --drive")
    if options["driven"]:
        from sparsam.cli.drive import drive

        _write(drive(options), directory)
        return
    reports = [_from_file(file, options)] if file is not None else asyncio.run(_from_prometheus(str(url), options))
    for report in reports:
        _write(report, directory)


def _from_file(file: Path, options: dict[str, Any]) -> Report:
    chosen = _pairs(options["columns"])
    with _progress(f"read {file.name}") as advance:
        telemetry = read_telemetry(file, chosen, advance)
    node = options["node_name"] or file.name.partition(".")[0]
    facts = telemetry.facts
    known = (
        ("samples", f"{facts.rows:,}"),
        ("utilization was in", "per cent" if telemetry.percent else "ratio"),
        ("watts", f"{facts.lowest_watts:g} to {facts.highest_watts:g}"),
    )
    return _report(node, _Source(file.name, telemetry.statistics, known, telemetry), options)


async def _from_prometheus(url: str, options: dict[str, Any]) -> list[Report]:
    from sparsam.cli.prometheus import BadAnswer, read_range

    if not options["query_utilization"] or not options["query_watts"]:
        raise click.UsageError("--prometheus needs --query-utilization and --query-watts")
    try:
        with _progress("ask Prometheus") as advance:
            nodes = await read_range(
                url,
                options["query_utilization"],
                options["query_watts"],
                label=options["node_label"],
                hours=options["hours"],
                step_seconds=options["step_seconds"],
                progress=advance,
            )
    except BadAnswer as error:
        raise BadInput(f"{url}: {error}") from error
    wanted = options["node_name"]
    reports = []
    for node, samples in nodes.items():
        if wanted and node != wanted:
            continue
        facts = (("samples", f"{samples.statistics.samples:,}"), ("hours", f"{options['hours']:g}"))
        reports.append(_report(node, _Source(f"Prometheus {url}", samples.statistics, facts), options))
    if not reports:
        raise BadInput(
            f"{url}: no node has both utilization and watts" + (f" and is called {wanted}" if wanted else "")
        )
    return reports


@dataclass(frozen=True, slots=True)
class _Source:
    name: str
    statistics: LoadStatistics
    facts: tuple[tuple[str, str], ...]
    telemetry: Telemetry | None = None


def _report(node: str, source: _Source, options: dict[str, Any]) -> Report:
    try:
        fit = fit_telemetry(
            source.statistics,
            source=source.name,
            date=datetime.datetime.now(datetime.UTC).date().isoformat(),
            server_id=node,
            peers=_peers(options),
            idle_watts=options["idle_watts"],
        )
    except ValueError as error:
        raise BadInput(f"{source.name}: {node}: {error}") from error
    return Report(node, fit.model, fit.steps, fit.scores, fit.held_out, source.facts, _work(source.telemetry, fit))


def _peers(options: dict[str, Any]) -> Peers | None:
    if not options["cpu_name"]:
        return None
    fields = ("cpu_name", "chips", "cores", "threads", "memory_gb")
    description = Description(**{name: options[name] for name in fields})
    return Peers(population_for(description), description)


def _work(telemetry: Telemetry | None, fit: TelemetryFit) -> Work | None:
    """CPI by load, where the file counts cycles and instructions."""
    if telemetry is None or not {"cycles", "instructions"} <= set(telemetry.sums):
        return None
    count = telemetry.statistics.count.sum(axis=0)
    cycles, instructions = telemetry.sums["cycles"], telemetry.sums["instructions"]
    some = (count > 0.0) & (instructions > 0.0)
    load = (np.arange(CELLS) / (CELLS - 1))[some]
    watts = fit.model.curves().take(np.zeros(len(load), dtype=np.intp)).watts(load)
    cpi = cycles[some] / instructions[some]
    return Work(instructions[some] / count[some], cpi, cpi / watts)


def server_model(node: str, model: ServerModel) -> dict[str, Any]:
    """The ServerModel object of a node."""
    name = NAME.sub("-", node.lower()).strip("-.") or "node"
    return {
        "apiVersion": SERVERMODELS.api_version,
        "kind": SERVERMODELS.kind,
        "metadata": {"name": name},
        "spec": {"nodeName": node, "model": msgspec.json.decode(encode(model))},
    }


def _write(report: Report, directory: Path) -> None:
    name = NAME.sub("-", report.node.lower()).strip("-.") or "node"
    annotation = {"metadata": {"annotations": {MODEL_ANNOTATION: encode(report.model).decode()}}}
    files: dict[str, bytes | None] = {
        f"{name}.model.json": encode(report.model),
        f"{name}.servermodel.yaml": yaml.safe_dump(server_model(report.node, report.model), sort_keys=False).encode(),
        f"{name}.annotation.yaml": yaml.safe_dump(annotation).encode(),
        f"{name}.html": html(report).encode(),
        f"{name}.png": png(report),
    }
    directory.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        if content is not None:
            (directory / file).write_bytes(content)
    click.echo(text(charts(report)[0]))
    best = next(one for one in report.scores if one.chosen)
    click.echo(
        f"\n{report.node}: {report.model.family}, {report.model.idle_watts:.1f} W idle, "
        f"{report.model.max_watts:.1f} W at full load; error {best.rms_pct:.2f} % (root mean square, on time held out)"
    )
    written = ", ".join(file for file, content in files.items() if content is not None)
    click.echo(f"wrote {written} in {directory}", err=True)
    if files[f"{name}.png"] is None:
        click.echo("no PNG: it needs matplotlib (pip install 'sparsam[plots]')", err=True)
    click.echo(f"next: kubectl apply -f {directory / f'{name}.servermodel.yaml'}", err=True)


def _pairs(columns: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for each in columns:
        name, equals, column = each.partition("=")
        if not equals or name not in ("utilization", "watts", "time", "cycles", "instructions"):
            raise click.UsageError(
                f"--map {each}: give NAME=COLUMN with utilization, watts, time, cycles or instructions"
            )
        found[name] = column
    return found


@contextmanager
def _progress(what: str) -> Iterator[Any]:
    """A counter of rows on a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _rows: None
        return
    columns = (SpinnerColumn(), TextColumn(what), TextColumn("{task.completed:,.0f} rows"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda rows: progress.update(task, completed=rows)
