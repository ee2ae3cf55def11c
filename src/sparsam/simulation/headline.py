"""What comparing runs comes to, in a few sentences: ours beside the default, then the best of the others."""

from __future__ import annotations

from collections.abc import Sequence

from sparsam.scheduling.policy import KubeDefault
from sparsam.scheduling.watts import SparsamPolicy
from sparsam.simulation.experiment import Row


def headline(rows: Sequence[Row]) -> str:
    """What sparsam saves of the first row's energy at equal work, and beside it the best other policy.

    Where sparsam was not run, the best of those that were. Nothing is claimed where the work was not the same.
    """
    base, others = rows[0], rows[1:]
    if not others:
        return "No saving is stated: there was only one run."
    ours = [row for row in others if row.policy == SparsamPolicy.name]
    rivals = [row for row in others if row not in ours and row.policy not in (base.policy, KubeDefault.name)]
    said = [_claim(row, base) for row in ours]
    stated = [row for row in (rivals if ours else others) if row.saved_ratio is not None]
    if stated:
        best = max(stated, key=lambda row: row.saved_ratio or 0.0)
        said.append((f"The best other policy: {_claim(best, base)}") if ours else _claim(best, base))
    return " ".join(said) or "No saving is stated: the runs did unequal work."


def label(row: Row) -> str:
    """Policy, and whether nodes sleep."""
    return f"{row.policy}{' with sleep' if row.sleep else ''}"


def _claim(row: Row, base: Row) -> str:
    if row.saved_ratio is None:
        return f"No saving is stated of {label(row)}: {row.why_not}."
    error = "" if row.saved_error is None else f" ±{row.saved_error:.1%}"
    kind = "less" if row.saved_ratio >= 0.0 else "more"
    return (
        f"{label(row)} uses {abs(row.saved_ratio):.1%}{error} {kind} energy than {label(base)} for the same work; "
        f"no scheduler could save more than {row.bound_ratio:.1%}."
    )
