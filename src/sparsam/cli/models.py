"""`sparsam models list|show|plot|compare|estimate|validate`: the catalogue of server power models, and your own."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
from rich.table import Table

from sparsam.cli.charts import Chart, Series, svg, text
from sparsam.cli.output import output_option, plain_table
from sparsam.cli.tables import BadInput, parse_number
from sparsam.cli.validate import show as show_tables
from sparsam.cli.validate import validate
from sparsam.power.calibration import Peers
from sparsam.power.calibration import estimate as estimate_model
from sparsam.power.catalogue import Profile, population_for, profiles
from sparsam.power.description import Description, cpu_key
from sparsam.power.fleet import Fleet
from sparsam.power.model import ServerModel, check_points, decode
from sparsam.power.priors import calibration_plan

CHART_POINTS = 101
STEPS_PLANNED = 3


@click.group()
def models() -> None:
    """Server power models: the built-in ones, your own files, and how well models predict.

    \b
    Examples:
      sparsam models list --cpu epyc
      sparsam models show xeon-platinum-8180-2s
      sparsam models plot epyc-7742-2s my-server.json --file curves.svg
      sparsam models estimate --cpu "AMD EPYC 7742" --sockets 2 --cores 128 --threads 256 --memory 512
      sparsam models validate specpower.csv
    """


models.add_command(validate)


@models.command("list")
@click.option("--cpu", default="", help="Only profiles whose CPU has this in its name.")
@output_option
def list_profiles(cpu: str, output: str) -> None:
    """List the built-in server profiles."""
    found = [one for one in profiles() if cpu.lower() in one.cpu_name.lower() or cpu.lower() in cpu_key(one.cpu_name)]
    show_tables([_summary(one) for one in found], output, lambda: [_profile_table(found)])


@models.command()
@click.argument("model")
@output_option
def show(model: str, output: str) -> None:
    """Show a model: MODEL is the name of a profile or a file."""
    name, found, profile = _find(model)
    value = msgspec.to_builtins(profile or found)
    show_tables(value, output, lambda: [_model_table(name, found, profile)])


@models.command()
@click.argument("model", nargs=-1, required=True)
@output_option
def compare(model: tuple[str, ...], output: str) -> None:
    """Compare models: watts at each load, side by side."""
    found = [_find(one)[:2] for one in model]
    loads = np.arange(11) / 10.0
    watts = {name: [one.watts(load) for load in loads] for name, one in found}
    value = [
        {
            "model": name,
            "family": one.family,
            "idle_watts": round(one.idle_watts, 1),
            "max_watts": round(one.max_watts, 1),
            "idle_share": round(one.idle_watts / one.max_watts, 3),
            "watts": [round(value, 1) for value in watts[name]],
        }
        for name, one in found
    ]

    def table() -> list[Table]:
        rows = [[f"{load:.0%}", *(f"{watts[name][step]:.1f}" for name, _ in found)] for step, load in enumerate(loads)]
        rows.append(["idle/max", *(f"{one.idle_watts / one.max_watts:.2f}" for _, one in found)])
        return [plain_table(("LOAD", *(name.upper() for name, _ in found)), rows)]

    show_tables(value, output, table)


@models.command()
@click.argument("model", nargs=-1, required=True)
@click.option("--file", type=click.Path(path_type=Path, dir_okay=False), help="Write an SVG instead of drawing here.")
def plot(model: tuple[str, ...], file: Path | None) -> None:
    """Draw power curves, in the terminal or as an SVG file (with the band that nine of ten readings lie in)."""
    loads = np.linspace(0.0, 1.0, CHART_POINTS)
    series = []
    for one in model:
        name, found, _ = _find(one)
        fleet = Fleet([found] * CHART_POINTS)
        low, high = fleet.interval(loads)
        series.append(Series(name, 100.0 * loads, fleet.watts(loads), low, high))
    chart = Chart("Power over load", "load in %", "watts", series)
    if file is None:
        click.echo(text(chart))
    elif file.suffix.lower() != ".svg":
        raise BadInput(f"{file}: charts are written as .svg")
    else:
        file.write_text(svg(chart))
        click.echo(f"wrote {file}", err=True)


@models.command()
@click.option("--cpu", "cpu_name", required=True, help="CPU name, as the operating system says it.")
@click.option("--sockets", "chips", type=click.IntRange(1), help="Number of CPUs.")
@click.option("--cores", type=click.IntRange(1), help="Cores of all CPUs together.")
@click.option("--threads", type=click.IntRange(1), help="Hardware threads of all CPUs together.")
@click.option("--memory", "memory_gb", type=click.FloatRange(0.5), help="Memory in GB.")
@click.option("--year", "hw_year", type=click.IntRange(2000, 2100), help="Year in which the hardware came out.")
@click.option("--psu", "psu_rating_w", type=click.FloatRange(10), help="Rating of one power supply in watts.")
@click.option("--at", "points", multiple=True, metavar="LOAD=WATTS", help="A measured point, such as 0=105 or 50=260.")
@output_option
def estimate(points: tuple[str, ...], output: str, **hardware: Any) -> None:
    """Estimate a server's model from its hardware and any measured points; say which load to measure next.

    LOAD is in per cent of the server's maximum, 0 being idle.
    """
    description = Description(**hardware)
    load, watts = _points(points)
    population = population_for(description)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    model = estimate_model(Peers(population, description), date=today, load=load, watts=watts)
    plan = calibration_plan(population.covariance, load.tolist(), STEPS_PLANNED)

    def tables() -> list[Table]:
        steps = [[f"{step.load:.0%}", f"{step.expected_mape_pct:.1f}"] for step in plan]
        return [_model_table("estimate", model, None), plain_table(("MEASURE NEXT", "ERROR % THEN"), steps)]

    show_tables(msgspec.to_builtins(model), output, tables)


def _find(name: str) -> tuple[str, ServerModel, Profile | None]:
    """A model by the name of its profile or in a file; raises BadInput."""
    for one in profiles():
        if one.name == name:
            return name, one.model, one
    path = Path(name)
    if not path.is_file():
        close = [one.name for one in profiles() if name.lower() in one.name][:5]
        hint = f"; did you mean {', '.join(close)}?" if close else "; see sparsam models list"
        raise BadInput(f"no profile and no file {name!r}{hint}")
    try:
        return path.stem, decode(path.read_bytes()), None
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: {error}") from error


def _points(given: Sequence[str]) -> tuple[Any, Any]:
    points = {}
    for one in given:
        left, _, right = one.partition("=")
        load, watts = parse_number(left.rstrip("% ")), parse_number(right)
        if load is None or watts is None or not 0.0 <= load <= 100.0 or watts <= 0.0:
            raise BadInput(f"--at {one}: expected a load in per cent and watts, such as 50=260")
        points[load / 100.0] = watts
    loads = np.array(sorted(points), dtype=np.float64)
    watts_at = np.array([points[load] for load in loads.tolist()], dtype=np.float64)
    if len(points) > 1:
        from_idle = np.concatenate([[0.0], loads[loads > 0.0]])
        idle = watts_at[0]
        try:
            check_points(from_idle, np.concatenate([[idle], watts_at[loads > 0.0]]), minimum=2)
        except ValueError as error:
            raise BadInput(f"--at: {error}") from error
    return loads, watts_at


def _summary(one: Profile) -> dict[str, Any]:
    return {
        "name": one.name,
        "cpu": one.cpu_name,
        "year": one.hw_year,
        "sockets": one.chips,
        "cores": one.cores,
        "threads": one.threads,
        "memory_gb": one.memory_gb,
        "bias": one.bias,
        "idle_watts": round(one.model.idle_watts, 1),
        "max_watts": round(one.model.max_watts, 1),
        "family": one.model.family,
        "mape_pct": _mape_pct(one.model),
        "server_id": one.model.server_id,
        "derivation": one.derivation,
    }


def _profile_table(found: Sequence[Profile]) -> Table:
    heads = ("NAME", "CPU", "YEAR", "SOCKETS", "CORES", "MEMORY", "BIAS", "IDLE W", "MAX W", "ERROR %", "SERVER")
    rows = []
    for one in found:
        error = _mape_pct(one.model)
        rows.append(
            [
                one.name,
                cpu_key(one.cpu_name),
                str(one.hw_year),
                str(one.chips),
                str(one.cores),
                f"{one.memory_gb:g}G",
                one.bias,
                f"{one.model.idle_watts:.0f}",
                f"{one.model.max_watts:.0f}",
                "modelled" if error is None else f"{error:.1f}",
                one.model.server_id,
            ]
        )
    return plain_table(heads, rows)


def _mape_pct(model: ServerModel) -> float | None:
    """Mean hold-out error over the levels, or None when none could be held out."""
    if not model.error_by_level:
        return None
    return round(100.0 * float(np.mean([one.mean_ratio for one in model.error_by_level])), 2)


def _model_table(name: str, model: ServerModel, profile: Profile | None) -> Table:
    rows = []
    for step in range(11):
        load = step / 10.0
        low, high = model.interval(load)
        band = f"{low:.1f} - {high:.1f}" if np.isfinite(low) else "unknown"
        rows.append([f"{load:.0%}", f"{model.watts(load):.1f}", band])
    table = plain_table(("LOAD", "WATTS", "NINE OF TEN READINGS"), rows)
    error = _mape_pct(model)
    lines = [
        f"{name}: {model.family}" + ("" if error is None else f", mean hold-out error {error:.2f} %"),
        f"source: {model.source}" + (f" ({model.server_id})" if model.server_id else "") + f", {model.date}",
    ]
    if profile:
        lines.append(f"{profile.vendor} {profile.server}, {profile.chips} x {profile.cpu_name}, {profile.hw_year}")
        lines.append(profile.derivation)
    elif model.estimated:
        lines.append("estimated: servers like this one had a say")
    table.caption, table.caption_justify = "\n".join(lines), "left"
    return table
