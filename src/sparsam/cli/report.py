"""The report of a calibration: what was measured, what the model makes of it and how far to trust it; HTML and PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import numpy as np

from sparsam.cli.charts import COLOURS, Chart, Series, svg
from sparsam.power.curves import Floats
from sparsam.power.model import ServerModel
from sparsam.power.streaming import CellErrors, Steps
from sparsam.power.telemetry import FamilyScore

POINTS = 101
MEASURED, PREDICTED = COLOURS[1], COLOURS[0]
STYLE = (
    "body{font-family:sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child{text-align:left}.chosen{font-weight:bold}svg{max-width:46rem}"
)


@dataclass(frozen=True, slots=True)
class Work:
    """Speed and cost of work by load, where the telemetry had counters; arrays of shape (cells,)."""

    instructions_per_second: Floats
    cpi: Floats
    cpi_per_watt: Floats


@dataclass(frozen=True, slots=True)
class Report:
    """One node's calibration."""

    node: str
    model: ServerModel
    steps: Steps
    scores: tuple[FamilyScore, ...]
    held_out: CellErrors
    facts: tuple[tuple[str, str], ...]
    """Name and value of what else a reader should know."""
    work: Work | None = None
    mixes: dict[str, tuple[Floats, Floats]] = field(default_factory=dict)
    """Load and watts of each kind of work that was driven."""

    def predicted(self, load: Floats) -> Floats:
        """The model's watts; of the shape of `load`."""
        return self.model.curves().take(np.zeros(len(load), dtype=np.intp)).watts(load)

    def residual_pct(self) -> tuple[Floats, Floats]:
        """Loads, and there the mean of measured less predicted, in per cent, on time held out."""
        some = self.held_out.count > 0.0
        load = np.arange(len(some))[some] / (len(some) - 1)
        return load, 100.0 * self.held_out.signed[some] / self.held_out.count[some]


def html(report: Report) -> str:
    """One self-contained page."""
    rows = "".join(f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in _facts(report))
    families = "".join(
        f"<tr{' class=chosen' if one.chosen else ''}><td>{one.family}</td><td>{one.rms_pct:.2f}</td></tr>"
        for one in sorted(report.scores, key=lambda one: one.rms_pct)
    )
    steps = "".join(
        f"<tr><td>{load:.0%}</td><td>{watts:.1f}</td><td>{guess:.1f}</td><td>{count:.0f}</td></tr>"
        for load, watts, guess, count in zip(
            report.steps.load,
            report.steps.watts,
            report.predicted(report.steps.load),
            report.steps.count,
            strict=True,
        )
    )
    drawings = "".join(svg(chart) for chart in charts(report))
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(report.node)}: power model</title>"
        f"<style>{STYLE}</style><h1>Power model of {escape(report.node)}</h1><table>{rows}</table>"
        "<h2>Families</h2><p>Root mean square error in per cent on stretches of time held out.</p>"
        f"<table><tr><th>family</th><th>error %</th></tr>{families}</table>{drawings}"
        "<h2>Load steps</h2><table><tr><th>load</th><th>measured W</th><th>predicted W</th>"
        f"<th>samples</th></tr>{steps}</table></html>\n"
    )


def charts(report: Report) -> list[Chart]:
    """Measured beside predicted, residuals, error by level, and work against watts where it is known."""
    load = np.linspace(0.0, 1.0, POINTS)
    watts = report.predicted(load)
    table_load, table_ratio = report.model.error_table()
    ratio = np.interp(load, table_load, table_ratio)
    band = "predicted, with the band of nine in ten samples"
    predicted = Series(band, 100 * load, watts, watts * (1 - ratio), watts * (1 + ratio))
    measured = Series("measured", 100 * report.steps.load, report.steps.watts, dots=True)
    found = [Chart("Power over load", "load in %", "watts", [predicted, measured, *_mixes(report)])]
    at, residual = report.residual_pct()
    sides = [
        Series(name, 100 * at[side], np.abs(residual[side]), dots=True)
        for name, side in (("predicted too little", residual >= 0.0), ("predicted too much", residual < 0.0))
        if side.any()
    ]
    found.append(Chart("Mean residual on time held out", "load in %", "per cent of the watts", sides))
    if report.model.error_by_level:
        levels = Series("nine of ten samples stay below", 100 * table_load, 100 * table_ratio)
        found.append(Chart("Error by load level, on time held out", "load in %", "per cent of the watts", [levels]))
    return found + _work_charts(report.work)


def _work_charts(work: Work | None) -> list[Chart]:
    if work is None:
        return []
    speed, axis = work.instructions_per_second / 1e9, "10^9 instructions/s"
    cost = 1e3 * work.cpi_per_watt
    return [
        Chart("CPI over speed", axis, "cycles per instruction", [Series("CPI", speed, work.cpi, dots=True)]),
        Chart("CPI per watt over speed", axis, "CPI per kW", [Series("CPI/kW", speed, cost, dots=True)]),
    ]


def png(report: Report) -> bytes | None:
    """The charts as one picture; None without matplotlib."""
    return draw(charts(report), f"{report.node}: {report.model.family}")


def draw(drawn: Sequence[Chart], title: str) -> bytes | None:
    """Charts below each other as PNG; None without matplotlib."""
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot
    except ImportError:
        return None
    figure, axes = pyplot.subplots(len(drawn), 1, figsize=(9, 5 * len(drawn)), squeeze=False)
    for chart, axis in zip(drawn, axes[:, 0], strict=True):
        _draw(axis, chart)
    figure.suptitle(title, y=0.995)
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    pyplot.close(figure)
    return buffer.getvalue()


def _draw(axis: object, chart: Chart) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axis, Axes)
    for index, one in enumerate(chart.series):
        colour = COLOURS[index % len(COLOURS)]
        if one.low is not None and one.high is not None:
            axis.fill_between(one.x, one.low, one.high, color=colour, alpha=0.15)
        axis.plot(one.x, one.y, "o" if one.dots else "-", color=colour, label=one.name)
    axis.set(title=chart.title, xlabel=chart.x_label, ylabel=chart.y_label)
    axis.set_ylim(bottom=0)
    axis.grid(alpha=0.3)
    axis.legend(loc="best", fontsize="small")


def _mixes(report: Report) -> Sequence[Series]:
    return [Series(f"{name} work", 100 * load, watts, dots=True) for name, (load, watts) in report.mixes.items()]


def _facts(report: Report) -> list[tuple[str, str]]:
    model = report.model
    low, high = model.load_range
    return [
        ("family", model.family),
        ("idle", f"{model.idle_watts:.1f} W"),
        ("full load", f"{model.max_watts:.1f} W"),
        ("measured load", f"{low:.0%} to {high:.0%}"),
        ("estimated", "yes: other servers had a say" if model.estimated else "no"),
        ("source", model.source),
        ("date", model.date),
        *report.facts,
    ]
