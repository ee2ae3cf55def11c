"""The models of many nodes as columns: watts, marginal watts and error bars of all of them in one call.

Nodes of one form are computed together, whatever their order in the fleet. A node without a model answers NaN: the
caller must treat it as unknown, since a number would make it look cheap or dear without cause.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from sparsam.power.curves import Curves, Floats, Rows, Segments
from sparsam.power.model import INTERPOLATED, ServerModel, curves_of, names
from sparsam.power.priors import LEVELS


class Fleet:
    """Power curves of nodes, in the order given; loads and results have shape (nodes,)."""

    def __init__(self, models: Sequence[ServerModel | None]) -> None:
        self._groups: list[tuple[Rows | slice, Curves]] = []
        self._nodes = len(models)
        self._errors = np.full((self._nodes, len(LEVELS)), np.nan)
        self.known: npt.NDArray[np.bool_] = np.array([model is not None for model in models], dtype=bool)
        forms: dict[tuple[str, int], tuple[list[int], list[ServerModel]]] = {}
        for node, model in enumerate(models):
            if model is None:
                continue
            rows, members = forms.setdefault(_form(model), ([], []))
            rows.append(node)
            members.append(model)
            self._errors[node] = np.interp(LEVELS, *model.error_table())
        segments: list[tuple[list[int], Segments]] = []
        for rows, members in forms.values():
            curves = curves_of(members)
            if isinstance(curves, Segments):
                segments.append((rows, curves))
            else:
                self._add(rows, curves)
        if segments:
            self._add([node for rows, _ in segments for node in rows], _merged([curves for _, curves in segments]))

    def watts(self, load: Floats) -> Floats:
        """Predicted watts of each node at its load."""
        return self._evaluate(lambda curves, at: curves.watts(at), load)

    def slope(self, load: Floats) -> Floats:
        """Watts per unit of load of each node at its load."""
        return self._evaluate(lambda curves, at: curves.slope(at), load)

    def marginal_watts(self, load: Floats, added: Floats) -> Floats:
        """Extra watts of each node when its load rises by `added`.

        Load beyond a full node draws nothing more: it waits instead, which other scores must punish.
        """
        return self.watts(load + added) - self.watts(load)

    def interval(self, load: Floats) -> tuple[Floats, Floats]:
        """Watts that nine of ten readings lie between; NaN where no error is known."""
        watts = self.watts(load)
        level = np.rint(np.clip(load, 0.0, 1.0) * (len(LEVELS) - 1)).astype(np.intp)
        ratio = self._errors[np.arange(self._nodes), level]
        return watts * (1.0 - ratio), watts * (1.0 + ratio)

    def _add(self, rows: list[int], curves: Curves) -> None:
        everyone = rows == list(range(self._nodes))
        self._groups.append((slice(None) if everyone else np.array(rows, dtype=np.intp), curves))

    def _evaluate(self, of: Callable[[Curves, Floats], Floats], load: Floats) -> Floats:
        result = np.full(self._nodes, np.nan)
        for rows, curves in self._groups:
            result[rows] = of(curves, load[rows])
        return result


def _form(model: ServerModel) -> tuple[str, int]:
    """What models must share to be built together: the family and, when interpolated, the number of points."""
    if model.family not in INTERPOLATED:
        return model.family, 0
    points = model.coefficients[names(model.family)[0]]
    assert isinstance(points, tuple)
    return model.family, len(points)


def _merged(parts: Sequence[Segments]) -> Segments:
    """Segments of several servers as one; short rows repeat their last knot, beyond which no load is."""
    points = max(part.knots.shape[1] for part in parts)
    knots, cubics = [], []
    for part in parts:
        lacking = points - part.knots.shape[1]
        knots.append(np.pad(part.knots, ((0, 0), (0, lacking)), mode="edge"))
        cubics.append(np.pad(part.cubics, ((0, 0), (0, lacking), (0, 0))))
    return Segments(np.concatenate(knots), np.concatenate(cubics))
