"""`sparsam assess`: what a cluster would save, from what it says of itself; nothing in it is changed."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import msgspec
from rich.console import Console, Group
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from sparsam.cli.assesspage import figure, page, percent
from sparsam.cli.clusters import Objects, cluster_options, read_objects
from sparsam.cli.clusteruse import merged_use, use_from_prometheus, use_of_now
from sparsam.cli.output import emit, output_option, plain_table, step
from sparsam.cli.tables import BadInput
from sparsam.power.sleep import ASSUMED
from sparsam.simulation.cluster import Cluster, Use, read_cluster
from sparsam.simulation.clusternodes import EmptyCluster
from sparsam.simulation.reach import Volumes
from sparsam.simulation.savings import Outcome, Prices, Replay, Savings, advice, assess, replays, run
from sparsam.simulation.trace import BadTrace

_AMOUNT = re.compile(r"\s*(\d+(?:\.\d+)?|\.\d+)\s*([^\s/\d]*)\s*(?:/\s*kWh)?\s*", re.IGNORECASE)
_GRAMS = {"": 1.0, "g": 1.0, "gco2e": 1.0, "gco2": 1.0, "kg": 1000.0}


@click.command(name="assess")
@cluster_options()
@click.option("--prometheus", "url", help="A Prometheus server with the kubelets' container_cpu_usage_seconds_total.")
@click.option("--days", type=click.FloatRange(0.05, 60.0), default=7.0, show_default=True, help="How far to look back.")
@click.option("--price", default="0.25/kWh", show_default=True, help="Of energy, such as '0.25 EUR/kWh'.")
@click.option("--carbon", default="300 g/kWh", show_default=True, help="CO2e of energy, in g or kg.")
@click.option(
    "--pue",
    type=click.FloatRange(1.0, 5.0),
    default=1.5,
    show_default=True,
    help="The building's energy by the servers'.",
)
@click.option(
    "--sleep-state",
    type=click.Choice(sorted(ASSUMED)),
    default="off",
    show_default=True,
    help="How servers sleep that do not state it.",
)
@click.option(
    "--report", "directory", type=click.Path(path_type=Path, file_okay=False), help="Writes assessment.html and .json."
)
@output_option
def assess_command(output: str, directory: Path | None, **options: Any) -> None:
    """Estimate what a cluster would save by placing pods by watts and letting empty servers sleep.

    Reads nodes, pods, volumes and use, and changes nothing: any Kubernetes will do. The pods are replayed on models of
    the servers; what no annotation or ServerModel states is guessed. Every number is estimated and comes with what
    nine of ten errors of the models stay below.

    \b
    Examples:
      sparsam assess --kubeconfig ~/.kube/config
      sparsam assess --prometheus http://prometheus:9090 --days 14 --price '0.21 EUR/kWh' --carbon '350 g/kWh'
      sparsam assess --report assessment               one page to print: assessment/assessment.html
    """
    prices = Prices(*_price(options["price"]), _carbon(options["carbon"]), options["pue"])
    with step("read the cluster"):
        objects = read_objects(options["kubeconfig"], options["context"])
    cluster = _cluster(objects, _use(objects, options), options["sleep_state"])
    try:
        found = assess(cluster, _played(cluster), prices)
    except BadTrace as error:
        raise BadInput(str(error)) from error
    notes = _assumptions(objects, cluster, options)
    value = {
        "cluster": objects.server,
        "estimated": True,
        "prices": asdict(prices),
        "days": options["days"],
        **asdict(found),
        "measure_next": list(advice(found)),
        "assumptions": notes,
    }
    emit(value, output, lambda: _tables(found, prices, notes))
    if directory is not None:
        _write(directory, value, page(objects.server, found, prices, notes))


def _price(text: str) -> tuple[float, str]:
    amount, unit = _parsed("--price", text, "0.25 EUR/kWh")
    return amount, unit


def _carbon(text: str) -> float:
    amount, unit = _parsed("--carbon", text, "300 g/kWh")
    if unit.lower() not in _GRAMS:
        raise BadInput(f"--carbon: {unit!r} is neither g nor kg; such as '300 g/kWh'")
    return amount * _GRAMS[unit.lower()]


def _parsed(option: str, text: str, example: str) -> tuple[float, str]:
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise BadInput(f"{option}: {text!r} is no amount per kWh, such as '{example}'")
    return float(match[1]), match[2]


def _use(objects: Objects, options: dict[str, Any]) -> Use:
    now = time.time()
    moment = use_of_now(objects, options["days"], now)
    if not options["url"]:
        return moment
    with _progress("ask Prometheus", 1.0) as advance:
        days = use_from_prometheus(options["url"], objects, options["days"], now, advance)
    return merged_use(days, moment)


def _cluster(objects: Objects, use: Use, sleep_state: str) -> Cluster:
    volumes = Volumes(objects.claims or (), objects.volumes or ())
    try:
        return read_cluster(objects.nodes, objects.pods, use, volumes, budgets=objects.budgets or (), sleep=sleep_state)
    except EmptyCluster as error:
        raise BadInput(f"{objects.server}: {error}") from error


def _played(cluster: Cluster) -> dict[Replay, Outcome]:
    planned = replays(cluster)
    workers = min(len(planned), os.cpu_count() or 1)
    with ProcessPoolExecutor(workers) as pool, _progress("replay", len(planned)) as advance:
        started = {pool.submit(run, cluster, each): each for each in planned}
        for done, _ in enumerate(as_completed(started), start=1):
            advance(done)
        outcomes = {each: future.result() for future, each in started.items()}
    return {each: outcomes[each] for each in planned}


@contextmanager
def _progress(what: str, total: float) -> Iterator[Any]:
    """On a terminal a bar, told how much is done."""
    console = Console(stderr=True)
    columns = (TextColumn(what), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)


def _assumptions(objects: Objects, cluster: Cluster, options: dict[str, Any]) -> list[str]:
    told = list(cluster.notes)
    if objects.claims is None or objects.volumes is None:
        told.append("persistent volumes could not be read: pods may be tied to nodes more than is known")
    if objects.budgets is None:
        told.append("PodDisruptionBudgets could not be read: more pods may be moved than they allow")
    if not options["url"] and objects.pod_metrics is None:
        told.append("the metrics API is not served, and no --prometheus was given")
    if cluster.own_cores > 0.0:
        told.append(f"{cluster.own_cores:.1f} cores are used by nodes' own pods and systems, which stay where they are")
    state = ASSUMED[options["sleep_state"]]
    told += [
        "where pods are placed anew, all are at once; a running cluster comes there as pods are replaced",
        "only pods of controllers with two replicas and more are moved, and as many at once as PodDisruptionBudgets "
        "allow now",
        f"a sleeping server draws {state.asleep_watts:g} W and takes {state.wake_seconds:g} s to wake, where its node "
        "does not state another way of sleeping; nodes of the control plane stay awake",
        f"the year is like the {options['days']:g} days looked at; of Jobs only those whose pods still exist are known",
        "errors of servers of one kind go together, those of different kinds do not; the watts of sleeping servers are "
        "taken as exact",
    ]
    return told


def _tables(found: Savings, prices: Prices, notes: Sequence[str]) -> Group:
    money = prices.currency or "MONEY"
    rows = [
        (
            each.name,
            figure(each.kwh_per_year, each.kwh_error),
            figure(each.money_per_year, each.money_error),
            figure(each.co2_tonnes_per_year, each.co2_error, 1),
            percent(each.saved_ratio, each.saved_error),
            each.text,
        )
        for each in found.scenarios
    ]
    heads = ("PLACEMENT", "KWH/YEAR", f"{money.upper()}/YEAR", "T CO2E/YEAR", "SAVED", "MEANS")
    parts: list[Any] = [
        Text(
            f"{found.nodes} nodes, {found.pods} pods, CPU {found.mean_load_ratio:.0%} in use. "
            "All numbers are estimated, ± what nine of ten errors stay below.\n"
        ),
        plain_table(heads, rows),
    ]
    parts += [Text(f"{each.name}: no saving stated, {each.why_not}") for each in found.scenarios if each.why_not]
    kinds = [
        (
            each.name,
            str(each.nodes),
            each.sureness,
            f"±{each.idle_error_ratio:.0%} idle, ±{each.max_error_ratio:.0%} full",
            f"{each.share_of_error:.0%}",
        )
        for each in found.kinds
    ]
    parts += [Text("\nservers, those first that the error of the saving is owed to:")]
    parts.append(plain_table(("KIND", "NODES", "KNOWN BY", "ERROR OF WATTS", "SHARE OF ERROR"), kinds))
    if told := advice(found):
        parts += [Text("\nto know it better: " + "; ".join(told))]
    if found.constraints:
        costs = [
            (each.text, str(each.pods), f"{each.kwh_per_year:,.0f}", f"{each.money_per_year:,.0f}")
            for each in found.constraints
        ]
        parts.append(Text("\nwhat keeps more from being saved, each tried without it:"))
        parts.append(plain_table(("CONSTRAINT", "PODS", "KWH/YEAR", f"{money.upper()}/YEAR"), costs))
    parts.append(Text("\nassumed:\n" + "\n".join(f"- {each}" for each in notes)))
    return Group(*parts)


def _write(directory: Path, value: dict[str, Any], html: str) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "assessment.html").write_text(html)
        (directory / "assessment.json").write_bytes(msgspec.json.format(msgspec.json.encode(value), indent=2))
    except OSError as error:
        raise BadInput(f"--report: {directory}: {error.strerror or error}") from error
    click.echo(f"wrote assessment.html and assessment.json in {directory}", err=True)
