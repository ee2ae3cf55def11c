"""Line charts without a plotting library: SVG for files, characters for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

import numpy as np

from sparsam.power.curves import Floats

# Okabe and Ito's palette, which stays apart for colour-blind readers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999")
MARKS = "*o+x#@%&"
WIDTH, HEIGHT, MARGIN = 600, 380, 70
LEGEND_LINE, SHORT_NAME = 22, 32
"""Height of a line of the legend, and the letters of a name that leave room for another beside it."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line; `low` and `high` bound its error band where there is one. Arrays of shape (points,)."""

    name: str
    x: Floats
    y: Floats
    low: Floats | None = None
    high: Floats | None = None
    dots: bool = False
    """Dots instead of a line: for what was measured."""


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines over common axes, both from zero."""

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    least_top: float = 0.0
    """The y axis goes at least so far up."""

    def x_ticks(self) -> list[float]:
        """Round numbers over the x axis."""
        return _ticks(max(float(np.max(one.x)) for one in self.series))

    def y_ticks(self) -> list[float]:
        """Round numbers over the y axis, up to the highest band."""
        tops = [one.y if one.high is None else np.fmax(one.y, one.high) for one in self.series]
        return _ticks(max(self.least_top, *(float(np.nanmax(top)) for top in tops)))


def svg(chart: Chart) -> str:
    """The chart as an SVG document."""
    x_ticks, y_ticks = chart.x_ticks(), chart.y_ticks()
    right, bottom = WIDTH - MARGIN / 2, HEIGHT - MARGIN

    def across(values: Floats) -> Floats:
        return np.asarray(MARGIN + values / x_ticks[-1] * (right - MARGIN))

    def down(values: Floats) -> Floats:
        return np.asarray(bottom - values / y_ticks[-1] * (bottom - MARGIN))

    columns = 2 if max(len(one.name) for one in chart.series) <= SHORT_NAME else 1
    legend = LEGEND_LINE * -(-len(chart.series) // columns)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT + legend}" '
        'font-family="sans-serif" font-size="14">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{WIDTH / 2:g}" y="28" text-anchor="middle" font-size="17">{escape(chart.title)}</text>',
        f'<text x="{WIDTH / 2:g}" y="{HEIGHT - 18}" text-anchor="middle">{escape(chart.x_label)}</text>',
        f'<text x="18" y="{HEIGHT / 2:g}" text-anchor="middle" transform="rotate(-90 18 {HEIGHT / 2:g})">'
        f"{escape(chart.y_label)}</text>",
    ]
    for tick in x_ticks:
        x = float(across(np.array(tick)))
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18:g}" text-anchor="middle">{tick:g}</text>')
    for tick in y_ticks:
        y = float(down(np.array(tick)))
        parts.append(f'<line x1="{MARGIN}" y1="{y:.1f}" x2="{right:g}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{MARGIN - 6}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for index, one in enumerate(chart.series):
        colour = COLOURS[index % len(COLOURS)]
        if one.low is not None and one.high is not None and np.isfinite(one.low).all():
            band_x, band_y = np.concatenate([one.x, one.x[::-1]]), np.concatenate([one.low, one.high[::-1]])
            parts.append(f'<polygon points="{_points(across(band_x), down(band_y))}" fill="{colour}" opacity="0.15"/>')
        if one.dots:
            parts.extend(
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"/>'
                for x, y in zip(across(one.x), down(one.y), strict=True)
            )
        else:
            line = _points(across(one.x), down(one.y))
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        line_number, column = divmod(index, columns)
        x, y = MARGIN + column * (WIDTH - MARGIN) // columns, HEIGHT + LEGEND_LINE * line_number
        parts.append(f'<rect x="{x}" y="{y - 9}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{x + 20}" y="{y + 2}">{escape(one.name)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def text(chart: Chart, width: int = 72, height: int = 20) -> str:
    """The chart in characters, one mark for each line."""
    x_ticks, y_ticks = chart.x_ticks(), chart.y_ticks()
    grid = [[" "] * width for _ in range(height)]
    for index, one in enumerate(chart.series):
        columns = np.linspace(0.0, x_ticks[-1], width)
        if one.dots:
            columns = one.x
        values = np.interp(columns, one.x, one.y, left=np.nan, right=np.nan)
        for x, y in zip(columns, values, strict=True):
            if np.isfinite(y):
                row = round((1.0 - y / y_ticks[-1]) * (height - 1))
                grid[row][round(x / x_ticks[-1] * (width - 1))] = MARKS[index % len(MARKS)]
    labels = [""] * height
    for tick in y_ticks:
        labels[round((1.0 - tick / y_ticks[-1]) * (height - 1))] = f"{tick:g}"
    margin = max(len(label) for label in labels)
    lines = [f"{label:>{margin}} |{''.join(row)}".rstrip() for label, row in zip(labels, grid, strict=True)]
    axis = [" "] * (width + 6)
    for tick in x_ticks:
        at = round(tick / x_ticks[-1] * (width - 1))
        axis[at : at + len(f"{tick:g}")] = f"{tick:g}"
    names = [f"  {MARKS[index % len(MARKS)]} {one.name}" for index, one in enumerate(chart.series)]
    return "\n".join(
        [
            chart.title,
            *lines,
            " " * margin + " +" + "-" * width,
            " " * (margin + 2) + "".join(axis).rstrip(),
            f"{' ' * (margin + 2)}{chart.x_label}; upwards: {chart.y_label}",
            *names,
        ]
    )


def _ticks(top: float) -> list[float]:
    """Four to nine round steps from zero to just above the top."""
    top = max(top, 1e-9)
    rough = top / 5.0
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(float(factor * power) for factor in (1.0, 2.0, 2.5, 5.0, 10.0) if factor * power >= rough * 0.999)
    return [step * index for index in range(int(np.ceil(top / step - 1e-9)) + 1)]


def _points(x: Floats, y: Floats) -> str:
    return " ".join(f"{one:.1f},{other:.1f}" for one, other in zip(x, y, strict=True))
