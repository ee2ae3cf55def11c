"""The page of an assessment: one sheet of A4, one HTML file that needs nothing else."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from html import escape

from sparsam.cli.charts import COLOURS
from sparsam.simulation.savings import CONSOLIDATED, Prices, Savings, Scenario, advice

WIDTH, BAR, GAP, NAME = 720, 16, 6, 150
MOST_KINDS, MOST_NOTES, MOST_ADVICE = 5, 14, 2
"""What fits on a sheet."""
STYLE = (
    "@page{size:A4;margin:12mm}body{font:9pt/1.25 sans-serif;max-width:182mm;margin:6mm auto;color:#222}"
    "h1{font-size:15pt;margin:0 0 1mm}h2{font-size:11pt;margin:3.5mm 0 1mm}p{margin:1mm 0}ul{margin:0;padding-left:5mm}"
    "table{border-collapse:collapse;width:100%}td,th{padding:.6mm 2mm;text-align:right;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child{text-align:left}.big{font-size:13pt}.small{font-size:7.5pt;color:#444}svg{width:100%}"
    "@media print,(min-width:44rem){td{white-space:nowrap}td:first-child{white-space:normal}}"
    "@media print{body{font:8pt/1.15 sans-serif;margin:0;max-width:none}h2{margin:2.5mm 0 .5mm}td,th{padding:.3mm 2mm}"
    ".small{font-size:7pt}svg{width:80%}}"
)


def page(cluster: str, found: Savings, prices: Prices, notes: Sequence[str]) -> str:
    """The whole document."""
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    measured = "".join(f"<li>{escape(each)}</li>" for each in advice(found, MOST_ADVICE))
    assumed = "".join(f"<li>{escape(each)}</li>" for each in notes[:MOST_NOTES])
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>What {escape(cluster)} would save</title>"
        f"<style>{STYLE}</style><h1>What this cluster would save</h1>"
        f"<p>{escape(cluster)}, {today}: {found.nodes} nodes, {found.pods} pods, CPU {found.mean_load_ratio:.0%} "
        "in use. Nothing was changed. All numbers are estimated; ± is what nine of ten errors stay below.</p>"
        f"<p class=big>{escape(_headline(found, prices))}</p>{bars(found.scenarios)}{_scenario_table(found, prices)}"
        f"<h2>How well the servers are known</h2>{_kind_table(found)}"
        f"{f'<h2>To know it better</h2><ul>{measured}</ul>' if measured else ''}"
        f"{_constraint_table(found, prices)}<h2>Assumed</h2><ul class=small>{assumed}</ul></html>\n"
    )


def figure(value: float, error: float, digits: int = 0) -> str:
    """A number with its error, no more exact than it is known."""
    return f"{value:,.{digits}f} ±{error:,.{digits}f}"


def percent(ratio: float | None, error: float | None) -> str:
    """A share with its error."""
    return "unequal work" if ratio is None else f"{ratio:.1%}" + (f" ±{error:.1%}" if error else "")


def bars(scenarios: Sequence[Scenario]) -> str:
    """Energy of each scenario as a bar with its error, as SVG."""
    top = max(each.kwh_per_year + each.kwh_error for each in scenarios) or 1.0
    scale = (WIDTH - NAME - 10) / top
    parts = []
    for row, each in enumerate(scenarios):
        y, length = row * (BAR + GAP), each.kwh_per_year * scale
        low, high = (max(each.kwh_per_year + side * each.kwh_error, 0.0) * scale + NAME for side in (-1.0, 1.0))
        middle = y + BAR / 2
        parts.append(
            f'<text x="{NAME - 6}" y="{y + 13}" text-anchor="end">{escape(each.name)}</text>'
            f'<rect x="{NAME}" y="{y}" width="{length:.1f}" height="{BAR}" fill="{COLOURS[row]}" opacity="0.75"/>'
            f'<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {y + 4}V{y + BAR - 4}M{high:.1f} {y + 4}V{y + BAR - 4}"'
            ' stroke="#222" fill="none"/>'
        )
    height = len(scenarios) * (BAR + GAP)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" '
        f'font-size="12" role="img" aria-label="Energy per year of each placement">{"".join(parts)}</svg>'
        "<p class=small>Estimated kWh per year, at the meter of the building; the lines are the errors.</p>"
    )


def _headline(found: Savings, prices: Prices) -> str:
    today, sleeping = found.scenarios[0], found.scenario(CONSOLIDATED)
    if sleeping.saved_ratio is None:
        return f"No saving can be stated: {sleeping.why_not}."
    money = f"{today.money_per_year - sleeping.money_per_year:,.0f} {prices.currency or 'of money'}"
    return (
        f"About {percent(sleeping.saved_ratio, sleeping.saved_error)} of the energy: "
        f"{today.kwh_per_year - sleeping.kwh_per_year:,.0f} kWh, {money} and "
        f"{today.co2_tonnes_per_year - sleeping.co2_tonnes_per_year:,.1f} t CO2e a year (estimated)."
    )


def _scenario_table(found: Savings, prices: Prices) -> str:
    rows = [
        (
            f"<b>{escape(each.name)}</b><br><span class=small>{escape(each.why_not or each.text)}</span>",
            figure(each.kwh_per_year, each.kwh_error),
            figure(each.money_per_year, each.money_error),
            figure(each.co2_tonnes_per_year, each.co2_error, 1),
            percent(each.saved_ratio, each.saved_error),
        )
        for each in found.scenarios
    ]
    return _table(("", "kWh/year", f"{prices.currency or 'money'}/year", "t CO2e/year", "saved"), rows) + (
        f"<p class=small>{prices.money_per_kwh:g} {escape(prices.currency)} and {prices.gco2_per_kwh:g} g CO2e "
        f"per kWh; the building takes {prices.pue:g} times the servers' energy.</p>"
    )


def _kind_table(found: Savings) -> str:
    rows = [
        (
            escape(each.name),
            str(each.nodes),
            each.sureness,
            f"±{each.idle_error_ratio:.0%} / ±{each.max_error_ratio:.0%}",
            f"{each.share_of_error:.0%}",
        )
        for each in found.kinds[:MOST_KINDS]
    ]
    rest = found.kinds[MOST_KINDS:]
    if rest:
        share = sum(each.share_of_error for each in rest)
        rows.append((f"{len(rest)} more kinds", str(sum(each.nodes for each in rest)), "", "", f"{share:.0%}"))
    return _table(("servers", "nodes", "known by", "error idle / full load", "share of the saving's error"), rows)


def _constraint_table(found: Savings, prices: Prices) -> str:
    if not found.constraints:
        return ""
    rows = [
        (escape(each.text), str(each.pods), f"{each.kwh_per_year:,.0f}", f"{each.money_per_year:,.0f}")
        for each in found.constraints
    ]
    head = "<h2>What keeps more from being saved, each tried without it</h2>"
    return head + _table(("constraint", "pods", "kWh/year", f"{prices.currency or 'money'}/year"), rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
