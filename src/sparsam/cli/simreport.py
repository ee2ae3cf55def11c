"""The report of `sparsam sim`: one HTML page that needs nothing else, the same pictures as PNG, the numbers as JSON."""

from __future__ import annotations

import base64
import struct
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from sparsam.cli.charts import Chart, Series, svg
from sparsam.cli.report import draw
from sparsam.cli.tables import BadInput
from sparsam.scheduling.watts import SparsamPolicy
from sparsam.simulation.experiment import Row
from sparsam.simulation.headline import headline, label
from sparsam.simulation.story import PERCENTILES, SHADE_ASLEEP, SHADE_CHANGING, SHADE_FAILED, Chapter, Shades, Story
from sparsam.units import joules_to_kwh

Pixels = npt.NDArray[np.uint8]

STYLE = (
    "body{font:15px/1.45 sans-serif;max-width:60rem;margin:1.5rem auto;padding:0 1rem;color:#222;background:#fff}"
    "h1{font-size:1.6rem;margin:.2rem 0}h2{font-size:1.15rem;margin:1.6rem 0 .3rem}.big{font-size:1.25rem}"
    ".wide{overflow-x:auto}table{border-collapse:collapse;width:100%}.small{font-size:.85rem;color:#444}"
    "td,th{padding:.2rem .6rem;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}"
    "td:first-child,th:first-child{text-align:left}svg{width:100%;height:auto}code{overflow-wrap:anywhere}"
    ".maps,.charts{display:grid;grid-template-columns:1fr 1fr;gap:1rem}"
    ".maps img{width:100%;height:22rem;image-rendering:pixelated}"
    "figure{margin:0}.key span{display:inline-block;width:1em;height:1em;vertical-align:-.15em;margin:0 .3em 0 .9em}"
    ".facts td{white-space:normal;text-align:left;overflow-wrap:anywhere}"
    "@media(max-width:600px){.maps,.charts{grid-template-columns:1fr}.maps img{height:14rem}}"
    "@media print{body{font-size:9pt;margin:0;max-width:none}h2,figure,svg{break-inside:avoid}.wide{overflow:visible}}"
)
LOW, HIGH = np.array([232.0, 240.0, 248.0]), np.array([8.0, 48.0, 107.0])
SHADES = {SHADE_ASLEEP: (190, 190, 190), SHADE_FAILED: (213, 94, 0), SHADE_CHANGING: (240, 228, 66)}
"""Grey for sleep, vermilion for failure, yellow on the way; load goes from pale to dark blue."""


def write_report(directory: Path, story: Story, rows: Sequence[Row], facts: Mapping[str, str], value: Any) -> list[str]:
    """Write everything into a directory, all or nothing; returns the names of the files. Raises BadInput."""
    files = {
        "report.html": html(story, rows, facts).encode(),
        "report.json": msgspec.json.format(msgspec.json.encode({**value, "story": numbers(story)}), indent=1),
        **{f"{name}.png": picture for name, picture in maps(story).items()},
    }
    drawn = pictures(story)
    if drawn is not None:
        files["charts.png"] = drawn
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory, prefix=".report-") as made:
            for name, content in files.items():
                (Path(made) / name).write_bytes(content)
            for name in files:
                (Path(made) / name).replace(directory / name)
    except OSError as error:
        raise BadInput(f"--report: {directory}: {error.strerror or error}") from error
    return sorted(files)


def html(story: Story, rows: Sequence[Row], facts: Mapping[str, str]) -> str:
    """The page."""
    told = "".join(f"<tr><td>{escape(name)}</td><td>{escape(text)}</td></tr>" for name, text in facts.items())
    drawings = "".join(f"<figure>{svg(chart)}</figure>" for chart in charts(story))
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>What the scheduler saves</title><style>{STYLE}</style><h1>What the scheduler saves</h1>"
        f"<p class=big>{escape(headline(rows))}</p><p class=small>Energies are those of the servers' models, "
        "so estimated. The bound is what no scheduler that starts work when it comes could undercut.</p>"
        f"<div class=wide>{_energy_table(story, rows)}</div><h2>Utilization of every node</h2>{_map_figures(story)}"
        f"<h2>Over time, by rack and by pod</h2><div class=charts>{drawings}</div>"
        f"<h2>Where the energy went, kWh</h2><div class=wide>{_part_table(story)}</div>"
        f"<h2>Servers in order of cost</h2><div class=wide>{_order_table(story)}</div>"
        f"<h2>What was run</h2><table class=facts>{told}</table></html>\n"
    )


def charts(story: Story) -> list[Chart]:
    """Lines over time, and distributions."""
    chapters, hours = story.chapters, story.hours
    power = [Series(each.label, hours, each.watts / 1e3) for each in chapters]
    power += [Series(name, story.bound_hours, watts / 1e3) for name, watts in story.bounds]
    awake = [Series(each.label, hours, each.awake.astype(np.float64)) for each in chapters]
    waits = [Series(each.label, PERCENTILES, each.wait_seconds) for each in chapters]
    racks = np.arange(len(story.racks), dtype=np.float64)
    placed = [Series(each.label, racks + 1.0, each.rack_core_hours, dots=True) for each in chapters]
    found = [
        Chart("Power of the fleet", "hours", "kW", power),
        Chart("Servers awake", "hours", "servers", awake),
        Chart("Time until a pod has its node", "per cent of pods", "seconds", waits, least_top=1.0),
    ]
    if len(racks) > 1:
        found.append(Chart("Work by rack", "rack", "core hours", placed))
    if len(story.order) > 1:
        found.append(_order_chart(story))
    return found


def maps(story: Story) -> dict[str, bytes]:
    """Heat maps of the first run and of ours, as PNG by name."""
    return {name: png(colours(chapter.load)) for name, chapter in _mapped(story).items()}


def _mapped(story: Story) -> dict[str, Chapter]:
    """The default beside ours, the last of these; where that did not run, the last of all."""
    ours = [each for each in story.chapters if each.run.policy == SparsamPolicy.name]
    return {"utilization-first": story.chapters[0], "utilization-last": (ours or story.chapters)[-1]}


def colours(load: Shades) -> Pixels:
    """A heat map's colours, shape (nodes, samples, 3)."""
    share = np.clip(load, 0, 100)[..., None] / 100.0
    pixels: Pixels = np.round(LOW + (HIGH - LOW) * share).astype(np.uint8)
    for shade, colour in SHADES.items():
        pixels[load == shade] = colour
    return pixels


def png(pixels: Pixels) -> bytes:
    """A picture of shape (height, width, 3) as PNG (W3C Portable Network Graphics, 2003)."""
    height, width, _ = pixels.shape
    lines = np.concatenate((np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)), axis=1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def pictures(story: Story) -> bytes | None:
    """The charts as one picture; None without matplotlib."""
    return draw(charts(story), "What the scheduler saves")


def numbers(story: Story) -> dict[str, Any]:
    """What the pictures show."""
    return {
        "hours": story.hours.round(4).tolist(),
        "bound_hours": story.bound_hours.round(4).tolist(),
        "bound_watts": {name: watts.round(1).tolist() for name, watts in story.bounds},
        "racks": list(story.racks),
        "order": [{"kind": kind, "cores": cores, "watts_per_core": watts} for kind, cores, watts in story.order],
        "runs": [
            {
                "label": each.label,
                "watts": each.watts.round(1).tolist(),
                "awake": each.awake.tolist(),
                "asleep": each.asleep.tolist(),
                "rack_core_hours": each.rack_core_hours.round(2).tolist(),
                "wait_seconds_percentiles": each.wait_seconds.round(2).tolist(),
                "kwh": {name: joules_to_kwh(joules) for name, joules in each.joules},
            }
            for each in story.chapters
        ],
    }


def _energy_table(story: Story, rows: Sequence[Row]) -> str:
    runs = {(each.run.policy, each.run.sleep): each.run for each in story.chapters}
    heads = ("", "kWh", "saved", "bound", "late", "dropped", "pending p99", "decision p99", "moved", "sleeps")
    lines = []
    for row in rows:
        run = runs[row.policy, row.sleep]
        saved = "unequal work" if row.saved_ratio is None else f"{row.saved_ratio:.1%}"
        decision = "-" if run.decision_p99_ms is None else f"{run.decision_p99_ms:.2f} ms"
        cells = (
            *(label(row), f"{row.energy_kwh:.1f}", saved, f"{row.bound_ratio:.1%}", str(run.late), str(run.dropped)),
            *(f"{run.pending_p99_s:.0f} s", decision, str(run.moves + run.evictions), str(run.transitions)),
        )
        lines.append(cells)
    return _table(heads, lines)


def _part_table(story: Story) -> str:
    heads = ("", *(name for name, _ in story.chapters[0].joules))
    return _table(
        heads, [(each.label, *(f"{joules_to_kwh(j):.1f}" for _, j in each.joules)) for each in story.chapters]
    )


def _order_table(story: Story) -> str:
    lines = [(kind, f"{cores:.0f}", f"{watts:.2f}") for kind, cores, watts in story.order]
    return _table(("server", "cores", "W per core at best"), lines)


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in line)}</tr>" for line in lines)
    return f"<table><tr>{head}</tr>{body}</table>"


def _order_chart(story: Story) -> Chart:
    """Watts per core as stairs over the cores that are to be had for at most so many."""
    ends = np.cumsum([cores for _, cores, _ in story.order])
    edges = np.repeat(np.concatenate(([0.0], ends)), 2)[1:-1]
    watts = np.repeat([each for *_, each in story.order], 2)
    return Chart(
        "Cost of a core at each server's best load", "cores, the cheapest first", "W", [Series("W", edges, watts)]
    )


def _map_figures(story: Story) -> str:
    figures = "".join(_map_figure(name, chapter) for name, chapter in _mapped(story).items())
    keys = (
        ("#E8F0F8", "idle"),
        ("#08306B", "full"),
        ("#BEBEBE", "asleep"),
        ("#F0E442", "on its way"),
        ("#D55E00", "failed"),
    )
    key = "".join(f"<span style='background:{colour}'></span>{text}" for colour, text in keys)
    return (
        f"<div class=maps>{figures}</div><p class='small key'>Each line a server, the cheapest per core at the top; "
        f"time from left to right, {story.hours[-1]:.1f} hours.{key}</p>"
    )


def _map_figure(name: str, chapter: Chapter) -> str:
    data = base64.b64encode(png(colours(chapter.load))).decode()
    image = f"<img alt='{name}' src='data:image/png;base64,{data}'>"
    return f"<figure><figcaption>{escape(chapter.label)}</figcaption>{image}</figure>"
