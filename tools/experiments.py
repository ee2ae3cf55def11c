"""Runs the experiments whose results are kept under docs/experiments, and writes the page that shows them.

    python tools/experiments.py --data ../shared/data [NAME ...]

Each is one `sparsam sim` command; results are its JSON with the command beside it. Names choose some of them; the page
is made of all results that are there.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HOME = Path(__file__).parent.parent / "docs" / "experiments"
OTHERS = "kube-default,most-allocated,peaks,least-increase,sparsam"
PAGE = """# Experiments

What `sparsam sim` says of made-up days, production traces and usage series; `make experiments DATA=DIRECTORY` repeats
all of it. Energies are those of the servers' models and so estimated. *Saved* is of the energy of the first line of a
table; *bound* is what no scheduler that starts work when it comes could save more than, by a linear program
(`src/sparsam/simulation/bound.py`). A saving is stated only at equal work. *Late*: pods that waited more than a minute.
Times of decisions are processor time, on one core of a small virtual machine.
The scheduler knows what the day before would have taught it: the mean use of each service and of the whole cluster.
"""


def experiments(data: Path) -> Iterator[tuple[str, str, list[str]]]:
    """(name, what it is, arguments of sparsam sim)."""
    for load in (0.15, 0.3, 0.5, 0.7, 0.9):
        title = f"A made-up day at {load:.0%} load: services with a day's rhythm and Poisson batch, 215 servers"
        yield f"day-{load:.2f}", title, ["--load", f"{load:g}"]
    every = ["--policies", OTHERS, "--sleep", "off"]
    yield "day-policies", "The same at 30 % under every policy", every
    yield "day-policies-0.70", "The same at 70 % under every policy", ["--load", "0.7", *every]
    yield (
        "sysbench",
        "Sysbench-like mixes for two hours and a half, 215 servers",
        ["--trace", "sysbench", "--days", "0.1"],
    )
    for name in ("planetlab", "bitbrains"):
        trace = str(data / f"vm_cpu_{name}.csv.gz")
        title = f"Virtual machines of {name.title()} with their use every five minutes, 215 servers at 30 %"
        yield name, title, ["--trace", trace, "--load", "0.3"]
    for path in sorted(data.glob("openb_pods_*.csv")):
        kind = path.stem.removeprefix("openb_pods_")
        order = ["--in-order", "10", "--load", "0.3"]
        if kind == "default":
            title = "openb's pods without their cards, in order, on 215 servers"
            yield "openb-on-rise", title, ["--trace", str(path), "--cpu-only", *order]
        fleet = ["--fleet", str(data / "openb_nodes.csv"), "--policies", OTHERS, "--sleep", "off"]
        yield (
            f"openb-{kind}",
            f"openb's pods ({kind}), in order, on openb's own 1,523 servers at 30 % of the scarcer of CPU and cards",
            ["--trace", str(path), *order, *fleet],
        )


def run(name: str, title: str, arguments: list[str], data: Path) -> None:
    """One experiment."""
    command = [sys.executable, "-m", "sparsam.cli", "sim", *arguments, "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name}: {done.stderr.strip()}")
    shown = " ".join(["sparsam", "sim", *arguments]).replace(str(data), "DATA")
    result = {"title": title, "command": shown, **json.loads(done.stdout)}
    (HOME / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")


def table(result: dict[str, Any]) -> str:
    """The comparison of one experiment."""
    lines = [
        "| policy | sleep | kWh | saved | bound | late | dropped | pending p99 | decision p99 | moves |",
        "|---" * 10 + "|",
    ]
    for row in result["comparison"]:
        runs = [each for each in result["runs"] if (each["policy"], each["sleep"]) == (row["policy"], row["sleep"])]
        saved = row["why_not"] or f"{row['saved_ratio']:.1%}"
        cells = (
            row["policy"],
            "on" if row["sleep"] else "off",
            f"{row['energy_kwh']:.1f}",
            saved,
            f"{row['bound_ratio']:.1%}",
            *(str(sum(each[field] for each in runs)) for field in ("late", "dropped")),
            f"{max(each['pending_p99_s'] for each in runs):.0f} s",
            f"{max(each['decision_p99_ms'] or 0.0 for each in runs):.2f} ms",
            str(sum(each["moves"] for each in runs)),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def write_page(order: list[str]) -> None:
    """All results that are there, in this order."""
    parts = [PAGE]
    for name in order:
        path = HOME / f"{name}.json"
        if path.exists():
            result = json.loads(path.read_text())
            parts.append(
                f"## {result['title']}\n\n`{result['command']}` ([{name}.json]({name}.json))\n\n{table(result)}\n"
            )
    (HOME / "README.md").write_text("\n".join(parts))


def main() -> None:
    """Run those that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="some of them [all]")
    parser.add_argument("--data", type=Path, required=True, help="a directory with the openb and VM traces")
    options = parser.parse_args()
    known = {name: (title, arguments) for name, title, arguments in experiments(options.data)}
    for name in options.names:
        if name not in known:
            sys.exit(f"{name}: no such experiment; there are {', '.join(known)}")
    HOME.mkdir(exist_ok=True)
    for number, name in enumerate(options.names or known, 1):
        sys.stderr.write(f"[{number}/{len(options.names or known)}] {name}\n")
        run(name, *known[name], options.data)
        write_page(list(known))


if __name__ == "__main__":
    main()
