"""`sparsam sim`: the same arrivals under several policies on a modelled fleet, in virtual time."""

from __future__ import annotations

import math
import os
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
import numpy as np
import yaml
from click.core import ParameterSource
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from sparsam.cli.clusters import cluster_options, read_fleet
from sparsam.cli.fleetfiles import open_fleet
from sparsam.cli.output import emit, output_option, plain_table
from sparsam.cli.tables import BadInput
from sparsam.cli.tracefiles import read_trace
from sparsam.scheduling.policies import POLICIES
from sparsam.simulation.experiment import Row, Run, compare, play
from sparsam.simulation.facility import BadFacility, Facility, parse_facility
from sparsam.simulation.failures import Failures
from sparsam.simulation.fleet import Fleet
from sparsam.simulation.headline import headline, label
from sparsam.simulation.history import History
from sparsam.simulation.trace import BadTrace, Trace, merged
from sparsam.simulation.traces.generators import DAY_SECONDS, diurnal_services, poisson_batch, sysbench_mix
from sparsam.simulation.traces.openb import without_cards
from sparsam.simulation.traces.rows import Reading

SLEEPS = {"off": False, "on": True}
SERVICE_CORES, BATCH_CORE_SECONDS, SYSBENCH_CORE_SECONDS = 1.2, 2550.0, 777.0
"""What a made-up pod asks for on average."""
MADE_UP = ("day", "batch", "sysbench")


@dataclass(frozen=True, slots=True)
class Job:
    """One run for a worker process, which makes fleet and trace itself: they are larger than their names."""

    fleet: str | Fleet
    """A whole one only of a cluster, which is asked once."""
    trace: str
    load: float | None
    seconds: float
    compress: float
    repeat: int
    in_order: float | None
    cpu_only: bool
    lenient: bool
    moves: bool
    failures: Failures | None
    facility: Facility | None
    policy: str
    sleep: bool
    seed: int


@click.command()
@click.argument(
    "scenario",
    required=False,
    is_eager=True,
    expose_value=False,
    callback=lambda context, _, path: read_scenario(context, path),
    type=click.Path(path_type=Path, dir_okay=False),
)
@click.option("--fleet", help="rise-N, mixed-N, uniform-N, or a file: YAML, saved nodes, openb's CSV [rise-215].")
@cluster_options("--from-cluster", help="The fleet is the nodes of a cluster, which is only read.")
@click.option("--trace", default="day", show_default=True, help="A file (see docs/traces.md), or day, batch, sysbench.")
@click.option(
    "--load",
    type=float,
    help="Requested share of the fleet's CPU, or of its cards if that is more [0.3; of a file: as it is].",
)
@click.option(
    "--days", type=click.FloatRange(0.0, min_open=True), default=1.0, show_default=True, help="Of made-up traces."
)
@click.option(
    "--compress", type=click.FloatRange(0.0, min_open=True), default=1.0, show_default=True, help="Divide all times."
)
@click.option("--repeat", type=click.IntRange(1, 1000), default=1, show_default=True, help="Play a trace so often.")
@click.option(
    "--in-order",
    type=click.FloatRange(0.0, min_open=True),
    metavar="SECONDS",
    help="Submit at even steps; no pod ends.",
)
@click.option("--cpu-only", is_flag=True, help="Pods ask for CPU and memory alone: no cards, no model of them.")
@click.option(
    "--lenient",
    is_flag=True,
    help="Leave out and count what cannot be used: rows of a file, pods larger than any node.",
)
@click.option("--policies", default="kube-default,sparsam", show_default=True, help=f"Of {', '.join(POLICIES)}.")
@click.option("--sleep", default="off,on", show_default=True, help="Without and with nodes sent to sleep.")
@click.option(
    "--moves/--no-moves", default=True, show_default=True, help="Where nodes sleep: empty some by moving pods."
)
@click.option(
    "--facility", type=click.Path(path_type=Path, dir_okay=False), help="YAML of the building: cooling, price."
)
@click.option(
    "--failures", metavar="HOURS[:HOURS]", help="Mean time between a server's failures, and to repair it [4]."
)
@click.option("--seeds", type=click.IntRange(1, 1000), default=1, show_default=True, help="Made-up traces, so many.")
@click.option(
    "--report", type=click.Path(path_type=Path, file_okay=False), help="Write a page, pictures and numbers there."
)
@output_option
@click.pass_context
def sim(command: click.Context, /, output: str, report: Path | None, **options: Any) -> None:
    """Replay a trace on modelled servers under several policies, and state what each would draw.

    The policies are the shipped scheduler's own code. The others are compared with the first of them, without sleep if
    that is played; a saving is stated only where the same work was done. Energies are those of the servers' models, so
    estimated.

    \b
    Examples:
      sparsam sim
      sparsam sim --fleet mixed-500 --load 0.5 --seeds 5
      sparsam sim --fleet rise-215 --trace pods.json --policies kube-default,peaks,sparsam -o json
      sparsam sim scenario.yaml --seeds 1      a file holds options by name; those given beside it win
      sparsam sim --from-cluster --load 0.4                    the nodes of the cluster that $KUBECONFIG names
      sparsam sim --fleet nodes.json --trace pods.json         saved by kubectl get nodes -o json
    """
    jobs = list(_jobs(options))
    played = _run(jobs, histories=report is not None)
    runs = [run for run, _ in played]
    rows = compare(runs)
    value = {"runs": [asdict(run) for run in runs], "comparison": [asdict(row) for row in rows]}
    if report is not None:
        _write(report, jobs[0], played, rows, (value, _asked(command)))
    emit(value, output, lambda: _table(rows, runs))


def read_scenario(context: click.Context, path: Path | None) -> None:
    """Take options from a YAML file as defaults; paths in it are meant from where it is. Raises BadInput."""
    if path is None:
        return
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadInput(f"{path}: {' '.join(str(error).split())}") from error
    known = {each.name for each in context.command.params if isinstance(each, click.Option)}
    if not isinstance(document, dict):
        raise BadInput(f"{path}: a scenario is a mapping of options, such as load: 0.3")
    for name in document:
        if str(name).replace("-", "_") not in known:
            raise BadInput(f"{path}: {name}: no such option; there are {', '.join(sorted(map(str, known)))}")
    found = {name.replace("-", "_"): _option_text(value) for name, value in document.items()}
    if isinstance(found.get("sleep"), bool):
        found["sleep"] = _option_text([found["sleep"]])
    for name in ("fleet", "trace"):
        if (beside := path.parent / str(found.get(name, "."))).is_file():
            found[name] = str(beside)
    context.default_map = {**(context.default_map or {}), **found}


def _option_text(value: Any) -> Any:
    """Lists as the options have them, with commas; YAML's on and off are booleans there."""
    if not isinstance(value, list):
        return value
    return ",".join(("off", "on")[each] if isinstance(each, bool) else str(each) for each in value)


def _jobs(options: dict[str, Any]) -> Iterator[Job]:
    policies, sleeps = options["policies"].split(","), options["sleep"].split(",")
    for name in policies:
        if name not in POLICIES:
            raise BadInput(f"--policies: {name!r} is none of {', '.join(POLICIES)}")
    for each in sleeps:
        if each not in SLEEPS:
            raise BadInput(f"--sleep: {each!r} is neither on nor off")
    sleeps = [each for each in SLEEPS if each in sleeps]
    if options["load"] is not None and not 0.0 < options["load"] < 10.0:
        raise BadInput(f"--load: {options['load']:g} is not a share above 0")
    names = ("trace", "load", "compress", "repeat", "in_order", "cpu_only", "lenient", "moves")
    what = {name: options[name] for name in names} | {
        "fleet": _fleet(options),
        "failures": _failures(options["failures"]),
        "facility": _facility(options["facility"]),
    }
    made_up = options["trace"] in MADE_UP and not Path(options["trace"]).exists()
    if not made_up and not Path(options["trace"]).exists():
        raise BadInput(f"--trace: {options['trace']}: no such file; made-up traces are {', '.join(MADE_UP)}")
    # Both are read once here, so that what is wrong with them is said before anything runs.
    _read.cache_clear()
    first = Job(**what, seconds=DAY_SECONDS * options["days"], policy=policies[0], sleep=False, seed=0)
    make_trace(first, _opened(first.fleet), told=lambda text: click.echo(text, err=True))
    for seed in range(options["seeds"] if made_up else 1):
        for policy in policies:
            for each in sleeps:
                yield Job(**what, seconds=first.seconds, policy=policy, sleep=SLEEPS[each], seed=seed)


def _failures(text: str | None) -> Failures | None:
    if text is None:
        return None
    try:
        hours = [float(each) for each in text.split(":", 1)]
        found = Failures(hours[0], hours[1]) if len(hours) > 1 else Failures(hours[0])
    except ValueError:
        raise BadInput(f"--failures: {text!r} is no time in hours, or two with a colon, such as 2000:4") from None
    if not (0.0 < found.mtbf_hours < math.inf and 0.0 < found.mttr_hours < math.inf):
        raise BadInput(f"--failures: {text!r}: times are above 0")
    return found


def _facility(path: Path | None) -> Facility | None:
    if path is None:
        return None
    try:
        return parse_facility(yaml.safe_load(path.read_text()) or {}, str(path))
    except BadFacility as error:
        raise BadInput(str(error)) from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadInput(f"{path}: {' '.join(str(error).split())}") from error


def _fleet(options: dict[str, Any]) -> str | Fleet:
    if not options["from_cluster"]:
        if options["kubeconfig"] or options["context"]:
            raise BadInput("--kubeconfig and --context go with --from-cluster")
        return options["fleet"] or "rise-215"
    if options["fleet"]:
        raise BadInput("--fleet and --from-cluster exclude each other")
    return read_fleet(options["kubeconfig"], options["context"])


def _opened(fleet: str | Fleet) -> Fleet:
    return fleet if isinstance(fleet, Fleet) else open_fleet(fleet)


def make_trace(job: Job, fleet: Fleet, told: Callable[[str], None] = lambda _: None) -> Trace:
    """The arrivals of a job, every pod of which fits on some node; raises BadInput. `told` hears what is left out."""
    try:
        trace = _arrivals(job, fleet, told)
        if job.compress != 1.0:
            trace = trace.compressed(job.compress)
        if job.repeat > 1:
            trace = trace.repeated(job.repeat)
        if not trace.horizon_seconds:
            raise BadInput(f"{job.trace}: ends when it begins; --in-order SECONDS submits its pods one by one")
    except BadTrace as error:
        raise BadInput(str(error)) from error
    return trace


def _arrivals(job: Job, fleet: Fleet, told: Callable[[str], None]) -> Trace:
    if job.trace not in MADE_UP or Path(job.trace).exists():
        reading = _read(Path(job.trace), job.lenient)
        if reading.skipped:
            told(f"{reading.skipped} rows left out; the first: {reading.complaint}")
        found = _fitting(without_cards(reading.trace) if job.cpu_only else reading.trace, job, fleet, told)
        if job.in_order is not None:
            found = found.in_order(job.in_order)
        return found if job.load is None else found.scaled(job.load, fleet.cores(), fleet.cards())
    return _fitting(_made_up(job, fleet.cores()), job, fleet, told)


def _made_up(job: Job, fleet_cores: float) -> Trace:
    chance, cores = np.random.default_rng(job.seed), (job.load or 0.3) * fleet_cores
    if job.trace == "sysbench":
        return sysbench_mix(chance, 3600.0 * cores / SYSBENCH_CORE_SECONDS, job.seconds)
    if job.trace == "batch":
        return poisson_batch(chance, 3600.0 * cores / BATCH_CORE_SECONDS, job.seconds)
    services = diurnal_services(chance, max(round(cores / 2 / SERVICE_CORES), 1), job.seconds)
    return merged([services, poisson_batch(chance, 1800.0 * cores / BATCH_CORE_SECONDS, job.seconds)], "day")


def _fitting(trace: Trace, job: Job, fleet: Fleet, told: Callable[[str], None]) -> Trace:
    """Without pods that are larger than every node; raises BadInput for the first unless they may be left out."""
    amounts = list(fleet.amounts())
    try:
        trace.check_fits(amounts)
    except BadTrace as error:
        fits = trace.fits(amounts)
        if job.lenient and fits.any():
            told(f"pods left out that are larger than every node: {np.count_nonzero(~fits)}; the first: {error}")
            return trace.taken(fits)
        cards = ", --cpu-only their cards" if "gpu" in error.field else ""
        raise BadInput(f"{error} (--lenient leaves such pods out{cards})") from error
    return trace


@lru_cache(maxsize=1)
def _read(path: Path, lenient: bool) -> Reading:
    """Once: the processes that run the jobs are forked later."""
    return read_trace(path, lenient=lenient)


def _work(job: Job, histories: bool) -> tuple[Run, History | None]:
    """One run; histories, of the first seed alone, go back to whoever draws them."""
    fleet = _opened(job.fleet)
    trace = make_trace(job, fleet)
    nodes = fleet.node_objects()
    how: dict[str, Any] = {"failures": job.failures and replace(job.failures, seed=job.seed), "facility": job.facility}
    how |= {"sleeps": job.sleep, "moves": job.moves, "seed": job.seed, "timer": time.thread_time}
    run, history = play(nodes, trace, job.policy, **how)
    return run, history if histories and job.seed == 0 else None


def _write(
    directory: Path, job: Job, played: Sequence[tuple[Run, History | None]], rows: Sequence[Row], told: tuple[Any, str]
) -> None:
    """The report; `told` is what `-o json` prints, and the command."""
    from sparsam.cli.simreport import write_report
    from sparsam.simulation.story import tell

    value, asked = told
    fleet = _opened(job.fleet)
    trace = make_trace(job, fleet)
    story = tell(fleet.node_objects(), trace, [(run, history) for run, history in played if history is not None])
    facts = {
        "command": asked,
        "fleet": f"{fleet.name}: {fleet.size} servers, {fleet.cores():.0f} cores",
        "trace": f"{trace.name}: {len(trace)} pods in {trace.horizon_seconds / 3600.0:.1f} h, "
        f"{trace.mean_requested_cores():.0f} cores requested on average",
        "seeds": f"{len({run.seed for run, _ in played})}; pictures show the first",
    }
    names = write_report(directory, story, rows, facts, value)
    click.echo(f"{directory}: {', '.join(names)}", err=True)


def _asked(context: click.Context) -> str:
    """The command that repeats this, with what was given."""
    parts = context.command_path.split()
    for option in context.command.params:
        name, value = option.name or "", context.params.get(option.name or "")
        if context.get_parameter_source(name) is ParameterSource.DEFAULT or name in ("report", "output"):
            continue
        if isinstance(value, bool):
            parts.append(option.opts[0] if value else option.secondary_opts[0])
        elif value is not None:
            parts += [max(option.opts, key=len), str(value)]
    return shlex.join(parts)


def _run(jobs: Sequence[Job], *, histories: bool) -> list[tuple[Run, History | None]]:
    console = Console(stderr=True)
    columns = (TextColumn("simulate"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    workers = min(len(jobs), os.cpu_count() or 1)
    with (
        ProcessPoolExecutor(workers, get_context("fork")) as pool,
        Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar,
    ):
        task = bar.add_task("runs", total=len(jobs))
        started = [pool.submit(_work, job, histories) for job in jobs]
        for _ in as_completed(started):
            bar.advance(task)
        return [each.result() for each in started]


def _table(rows: Sequence[Row], runs: Sequence[Run]) -> Table:
    heads: tuple[str, ...] = (
        "POLICY",
        "SLEEP",
        "KWH",
        "SAVED",
        "BOUND",
        "WORK",
        "LATE",
        "DROPPED",
        "PENDING P99",
        "DECISION P99",
    )
    lines: list[tuple[str, ...]] = []
    for row in rows:
        own = [run for run in runs if (run.policy, run.sleep) == (row.policy, row.sleep)]
        decisions = [run.decision_p99_ms for run in own if run.decision_p99_ms is not None]
        lines.append(
            (
                row.policy,
                "on" if row.sleep else "off",
                f"{row.energy_kwh:.1f}",
                _saved(row),
                f"{row.bound_ratio:.1%}",
                f"{np.mean([run.work_done for run in own]):.1f} core h",
                str(sum(run.late for run in own)),
                str(sum(run.dropped for run in own)),
                f"{max(run.pending_p99_s for run in own):.0f} s",
                f"{max(decisions):.2f} ms" if decisions else "-",
            )
        )
    if any(run.pue is not None for run in runs):
        heads, lines = _with_building(heads, lines, rows, runs)
    table = plain_table(heads, lines)
    first, told = rows[0], headline(rows)
    said = [
        told,
        f"saved: of the energy of {first.policy} with sleep {'on' if first.sleep else 'off'}; estimated",
        *(f"{label(row)}: not compared, {row.why_not}" for row in rows if row.why_not and label(row) not in told),
    ]
    table.caption, table.caption_justify = "\n".join(said), "left"
    return table


def _with_building(
    heads: tuple[str, ...], lines: Sequence[tuple[str, ...]], rows: Sequence[Row], runs: Sequence[Run]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Columns for what the building took, means over seeds."""
    found = []
    for row, line in zip(rows, lines, strict=True):
        own = [run for run in runs if (run.policy, run.sleep) == (row.policy, row.sleep)]
        means = [np.mean([getattr(run, name) for run in own]) for name in ("facility_kwh", "pue", "cost", "co2e_kg")]
        found.append((*line, f"{means[0]:.1f}", f"{means[1]:.3f}", f"{means[2]:.2f}", f"{means[3]:.1f} kg"))
    return (*heads, "BUILDING KWH", "PUE", "COST", "CO2E"), found


def _saved(row: Row) -> str:
    if row.saved_ratio is None:
        return "unequal work"
    return f"{row.saved_ratio:.1%}" + ("" if row.saved_error is None else f" ±{row.saved_error:.1%}")
