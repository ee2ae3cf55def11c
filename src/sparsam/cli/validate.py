"""`sparsam models validate`: how well models predict what they have not seen, on a table of measurements."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from sparsam.cli.output import emit, output_option, plain_table
from sparsam.cli.seriesfiles import CARD_COLUMNS, SERIES_COLUMNS, CardSeries, read_cards, read_series
from sparsam.cli.serverfiles import SERVER_COLUMNS, STEP_COLUMNS, Run, read_runs, read_servers
from sparsam.cli.tables import BadInput, read_columns
from sparsam.power.catalogue import populations
from sparsam.power.description import Description
from sparsam.power.gpu import CardFit
from sparsam.power.gpu import fit as fit_card
from sparsam.power.priors import MINIMUM_SERVERS, Population, learn
from sparsam.power.selection import Collection, Comparison, Score, compare
from sparsam.power.timeseries import SeriesScore
from sparsam.power.timeseries import validate as validate_series
from sparsam.power.validation import Elsewhere, Validation
from sparsam.power.validation import validate as validate_collection

Json = dict[str, Any]
CHOSEN = "chosen"
WIDE = 1000


@click.command()
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--test",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Learn from FILE, score on this one. Servers that are in both are not learned from.",
)
@output_option
def validate(file: Path, test: Path | None, output: str) -> None:
    """Measure how well power models predict what they have not seen, on a table of measurements.

    The kind of table is told from its columns: server power curves (power_w_idle, power_w_at_10pct, ...), load steps
    (target_load_pct, pkg_w), counters over time (node_power_w, cpu_cycles_per_s, ...; fitted on the first 70 % and
    judged on the rest), GPU cards over time (gpu_util_pct_mean, gpu_power_w_mean). Exit code 2 when the table cannot
    be used.
    """
    columns = read_columns(file)
    kind = max(_KINDS, key=lambda kind: sum(column in columns for column in kind[0]) / len(kind[0]))
    if not any(column in columns for column in kind[0]):
        raise BadInput(f"{file}: line 1, the header: no known kind of table has columns {', '.join(columns[:12])}")
    kind[1](file, test, output)


def _validate_servers(file: Path, test: Path | None, output: str) -> None:
    collection = read_servers(file)
    elsewhere = _built_in(collection)
    if test is not None:
        known, collection = collection, read_servers(test)
        elsewhere = _learned_from(known, collection, file)
    started = time.perf_counter()
    result = validate_collection(collection, elsewhere)
    seconds = time.perf_counter() - started
    show(_servers_json(result), output, lambda: _servers_tables(result, collection, seconds))


def _built_in(collection: Collection) -> Elsewhere | None:
    """The built-in populations, unless they were learned from one of these very servers."""
    shipped = populations()
    return None if set(collection.server_ids) & set(shipped.server_ids) else shipped.population


def _learned_from(known: Collection, judged: Collection, file: Path) -> Elsewhere:
    """Populations of the known servers without those to be judged."""
    judged_ids = set(judged.server_ids)
    rows = [row for row, one in enumerate(known.server_ids) if one not in judged_ids]
    others = known.take(np.array(rows, dtype=np.intp))
    if len(others.server_ids) < MINIMUM_SERVERS:
        raise BadInput(f"{file}: {len(others.server_ids)} servers to learn from; at least {MINIMUM_SERVERS} are needed")

    def population(knowledge: str) -> Population:
        described = others.knowing(knowledge)
        return learn(described.descriptions, described.load, described.watts)

    return population


def _servers_json(result: Validation) -> list[Json]:
    """One object for each family, and one for the choice among them, which also tells the errors with less known."""
    comparison = result.comparison
    counts = np.bincount(comparison.final, minlength=len(comparison.families))
    families = [
        _score_json(score) | {"chosen": False, "servers_choosing": int(count)}
        for score, count in zip(comparison.families, counts, strict=True)
    ]
    choice = _score_json(comparison.choice) | {
        "chosen": True,
        "learned_from": result.learned_from,
        "less_known": [_score_json(one.score) | {"known": one.known} for one in result.settings],
        "measure_next": [
            {
                "load": one.step.load,
                "expected_mape_pct": round(one.step.expected_mape_pct, 3),
                "held_out_mape_pct": round(one.held_out_mape_pct, 3),
            }
            for one in result.plan
        ],
    }
    return [*families, choice]


def _score_json(score: Score) -> Json:
    return {
        "family": score.name,
        "pooled_mape_pct": round(score.pooled_mape_pct, 4),
        "p90_server_mape_pct": round(score.p90_server_mape_pct, 4),
        "servers": len(score.errors),
        "mape_pct_by_level": [round(value, 3) for value in score.mape_pct_by_level],
    }


def _servers_tables(result: Validation, collection: Collection, seconds: float) -> list[Table]:
    comparison = result.comparison
    counts = np.bincount(comparison.final, minlength=len(comparison.families))
    heads = [f"{level:.0%}" for level in np.median(collection.load, axis=0)[1:-1]]
    rows = [[*_score_cells(score), str(int(count))] for score, count in zip(comparison.families, counts, strict=True)]
    rows.append([*_score_cells(comparison.choice), str(len(collection.server_ids))])
    families = plain_table(("FAMILY", "MAPE %", "P90 SERVER", *heads, "CHOSEN BY"), rows)
    families.caption = (
        f"{len(collection.server_ids)} servers, each level predicted from all others; {CHOSEN}: the family of least "
        f"error on the other levels.\nThe learned family knows {result.learned_from}. {seconds:.1f} s."
    )
    families.caption_justify = "left"
    if not result.settings:
        return [families]
    sparse = plain_table(
        ("KNOWN", "MAPE %", "P90 SERVER", *heads),
        [[one.known, *_score_cells(one.score)[1:]] for one in result.settings],
    )
    plan = plain_table(
        ("MEASURE NEXT", "EXPECTED %", "HELD OUT %"),
        [
            [f"{one.step.load:.0%}", f"{one.step.expected_mape_pct:.2f}", f"{one.held_out_mape_pct:.2f}"]
            for one in result.plan
        ],
    )
    plan.caption = "after idle and full load: the step that helps most, and the error over all levels once it is done"
    plan.caption_justify = "left"
    return [families, sparse, plan]


def _score_cells(score: Score) -> list[str]:
    levels = [f"{value:.2f}" for value in score.mape_pct_by_level]
    return [score.name, f"{score.pooled_mape_pct:.2f}", f"{score.p90_server_mape_pct:.2f}", *levels]


def _validate_runs(file: Path, test: Path | None, output: str) -> None:
    if test is not None:
        raise click.UsageError("--test: load steps are judged run by run; there is nothing to learn from another file")
    runs = read_runs(file)
    compared = [(run, _compare_run(run)) for run in runs]
    show([_run_json(*one) for one in compared], output, lambda: [_runs_table(compared)])


def _compare_run(run: Run) -> Comparison:
    return compare(Collection((run.run_id,), (Description(),), run.load[None], run.watts[None]))


def _run_json(run: Run, comparison: Comparison) -> Json:
    chosen = comparison.families[int(comparison.final[0])].name
    return {
        "run": run.run_id,
        "instance": run.instance,
        "family": chosen,
        "mape_pct": round(comparison.choice.pooled_mape_pct, 4),
        "mape_pct_by_family": {one.name: round(one.pooled_mape_pct, 4) for one in comparison.families},
        "mape_pct_by_level": [round(value, 3) for value in comparison.choice.mape_pct_by_level],
        "full_load_ratio_by_test": {
            test: round(watts / float(run.watts[-1]), 4) for test, watts in run.other_full_load_watts.items()
        },
    }


def _runs_table(compared: Sequence[tuple[Run, Comparison]]) -> Table:
    names = [score.name for score in compared[0][1].families]
    rows = []
    for run, comparison in compared:
        errors = [f"{score.pooled_mape_pct:.2f}" for score in comparison.families]
        mix = [watts / float(run.watts[-1]) for watts in run.other_full_load_watts.values()]
        other = f"{min(mix):.2f}-{max(mix):.2f}" if mix else "-"
        chosen = comparison.families[int(comparison.final[0])].name
        rows.append([run.run_id, *errors, f"{comparison.choice.pooled_mape_pct:.2f}", chosen, other])
    table = plain_table(("RUN", *(name.upper() for name in names), CHOSEN.upper(), "FAMILY", "OTHER WORK"), rows)
    table.caption = (
        f"errors in % of watts at the steps between idle and full load, each predicted from the others; {CHOSEN}: the\n"
        "family of least error on the other steps; other work: its watts at full load as a share of this test's"
    )
    table.caption_justify = "left"
    return table


def _validate_series(file: Path, test: Path | None, output: str) -> None:
    series = read_series(file)
    held = read_series(test, series.threads) if test else None
    try:
        scores = validate_series(series.columns, series.watts, (held.columns, held.watts) if held else None)
    except ValueError as error:
        raise BadInput(f"{file}: {error}") from error
    split = f"fitted on {file.name}, judged on {test.name}" if test else "fitted on the first 70 %, judged on the rest"
    samples = len(held.watts) if held else len(series.watts)
    show([_series_json(one) for one in scores], output, lambda: [_series_table(scores, f"{samples} samples, {split}")])


def _series_json(score: SeriesScore) -> Json:
    """As for servers; of a single node, the error that nine of ten servers stay below is its own."""
    return {
        "family": score.family,
        "pooled_mape_pct": round(score.pooled_mape_pct, 4),
        "p90_server_mape_pct": round(score.pooled_mape_pct, 4),
        "servers": 1,
        "chosen": score.chosen,
        "p90_stretch_mape_pct": round(score.p90_mape_pct, 4),
        "training_mape_pct": round(score.training_mape_pct, 4),
    }


def _series_table(scores: Sequence[SeriesScore], split: str) -> Table:
    rows = [
        [
            one.family,
            f"{one.pooled_mape_pct:.2f}",
            f"{one.p90_mape_pct:.2f}",
            f"{one.training_mape_pct:.2f}",
            "yes" if one.chosen else "",
        ]
        for one in scores
    ]
    table = plain_table(("FAMILY", "MAPE %", "P90 STRETCH", "IN TRAINING", CHOSEN.upper()), rows)
    table.caption = (
        f"{split}; stretches: twentieths of the time judged; in training: time-blocked\n"
        "cross-validation, by which the family is chosen. RAPL is a meter, shown for comparison and never chosen."
    )
    table.caption_justify = "left"
    return table


def _validate_cards(file: Path, test: Path | None, output: str) -> None:
    if test is not None:
        raise click.UsageError("--test: cards are judged server by server, on blocks of time held out")
    fits = []
    for one in read_cards(file):
        try:
            fits.append((one, fit_card(one.utilization, one.watts)))
        except ValueError as error:
            raise BadInput(f"{file}: column server, {one.server}: {error}") from error
    show([_card_json(*one) for one in fits], output, lambda: [_cards_table(fits)])


def _card_json(cards: CardSeries, fitted: CardFit) -> Json:
    figures = {name: round(value, 4) if np.isfinite(value) else None for name, value in asdict(fitted).items()}
    return {"server": cards.server, "gpu_model": cards.model, **figures}


def _cards_table(fits: Sequence[tuple[CardSeries, CardFit]]) -> Table:
    rows = [
        [
            cards.server,
            cards.model,
            str(one.samples),
            f"{one.idle_watts:.1f}",
            f"{one.awake_watts:.1f}",
            f"{one.awake_watts + one.watts_per_utilization:.1f}",
            *(f"{error:.1f}" for error in (one.mape_pct, one.active_mape_pct, one.idle_mape_pct, one.p90_pct)),
        ]
        for cards, one in fits
    ]
    heads = ("SERVER", "CARD", "SAMPLES", "IDLE W", "AWAKE W", "FULL W", "MAPE %", "ACTIVE %", "IDLE %", "P90 %")
    table = plain_table(heads, rows)
    table.caption = "watts of one card; errors on blocks of time held out: of all samples, with load, without load"
    table.caption_justify = "left"
    return table


def show(value: Any, output: str, tables: Callable[[], Sequence[Table]]) -> None:
    """Print a JSON-like value, or tables that are never cut: a terminal that is too narrow wraps them itself."""
    if output != "table":
        emit(value, output, Table)
        return
    for index, table in enumerate(tables()):
        wide = Console(width=WIDE, highlight=False)
        if index:
            wide.print()
        wide.print(table, soft_wrap=True)


_KINDS: tuple[tuple[Sequence[str], Callable[[Path, Path | None, str], None]], ...] = (
    (SERVER_COLUMNS, _validate_servers),
    (STEP_COLUMNS, _validate_runs),
    (SERIES_COLUMNS, _validate_series),
    (CARD_COLUMNS, _validate_cards),
)
