"""The model of one server: a family, its coefficients, how far to trust it and where it comes from; as small JSON.

The JSON is what calibration publishes and nodes carry, so it is versioned, checked when read and round-trips exactly:
`decode(encode(model)) == model`. A model that does not hold up (numbers that are not finite, watts that fall with load,
an unknown version or family) is refused with ValueError; nothing is guessed around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from sparsam.power.curves import Curves, Exponential, Floats, IdleExponential, PowerLaw
from sparsam.power.fitting import FAMILIES, fit_akima

SCHEMA = "power.sparsam.dev/server-model/v1"
LEARNED = "learned"
FORMULAS: dict[str, tuple[str, ...]] = {
    "linear": ("idle_watts", "range_watts"),
    "power_law": ("idle_watts", "range_watts", "exponent"),
    "exponential": ("k0_watts", "k1_watts", "k2"),
    "idle_exponential": ("idle_watts", "k0_watts", "k1_watts", "k2"),
}
POINTS = ("load", "watts")
INTERPOLATED = (*(name for name in FAMILIES if name not in FORMULAS), LEARNED)

# Above the calibrated maximum by more than this, a load is a percentage or a mistake rather than an overshoot.
MAXIMUM_LOAD = 1.1
# Repeated runs of a load step differ by this much; a deeper fall from one step to the next is not a power curve.
FALL_TOLERANCE = 0.02


class LevelError(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """Hold-out error at one load level, as a share of the watts there."""

    load: float
    mean_ratio: float
    p90_ratio: float


class Units(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The units of load and power; only these exist."""

    load: str = "ratio"
    power: str = "watt"


class ServerModel(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Watts of one server over its utilization."""

    schema: str = SCHEMA
    family: str
    coefficients: dict[str, float | tuple[float, ...]]
    """By name: one number each for a formula; the points (`load`, `watts`) of an interpolated family."""
    units: Units = Units()
    load_range: tuple[float, float]
    """Lowest and highest load that was measured; equal when nothing was."""
    error_by_level: tuple[LevelError, ...] = ()
    """By rising load; empty when no error could be held out, which is not the same as none."""
    source: str
    date: str
    server_id: str = ""
    estimated: bool = False
    """True when other servers had a say in the watts at measured or unmeasured levels."""

    def curves(self) -> Curves:
        """The curve, as arrays of one server."""
        return curves_of([self])

    def watts(self, load: float) -> float:
        """Predicted watts at a utilization in 0..1."""
        return float(self.curves().watts(np.array([load]))[0])

    @property
    def idle_watts(self) -> float:
        """Watts without load."""
        return self.watts(0.0)

    @property
    def max_watts(self) -> float:
        """Watts at full load."""
        return self.watts(1.0)

    def interval(self, load: float) -> tuple[float, float]:
        """Watts that nine of ten readings at this load lie between; (nan, nan) when no error was held out."""
        watts, ratio = self.watts(load), float(np.interp(load, *self.error_table()))
        return watts * (1.0 - ratio), watts * (1.0 + ratio)

    def error_table(self) -> tuple[Floats, Floats]:
        """Loads, and the relative error there that nine of ten readings stay below; NaN when none was held out."""
        if not self.error_by_level:
            return np.array([0.0, 1.0]), np.full(2, np.nan)
        return (
            np.array([one.load for one in self.error_by_level]),
            np.array([one.p90_ratio for one in self.error_by_level]),
        )


def curves_of(models: Sequence[ServerModel]) -> Curves:
    """The curves of models of one family and, when it is interpolated, with the same number of points."""
    family = models[0].family
    columns = {
        name: np.array([model.coefficients[name] for model in models], dtype=np.float64) for name in names(family)
    }
    if family in INTERPOLATED:
        fit = fit_akima if family == LEARNED else FAMILIES[family].fit
        return fit(columns["load"], columns["watts"])
    if family in ("linear", "power_law"):
        exponent = columns.get("exponent", np.ones(len(models)))
        return PowerLaw(columns["idle_watts"], columns["range_watts"], exponent)
    active = Exponential(columns["k0_watts"], columns["k1_watts"], columns["k2"])
    return active if family == "exponential" else IdleExponential(columns["idle_watts"], active)


def names(family: str) -> tuple[str, ...]:
    """What the coefficients of a family are called; raises ValueError for an unknown family."""
    if family in INTERPOLATED:
        return POINTS
    try:
        return FORMULAS[family]
    except KeyError:
        raise ValueError(f"unknown family {family!r}; known are {', '.join((*FORMULAS, *INTERPOLATED))}") from None


def fit_model(
    family: str,
    load: Floats,
    watts: Floats,
    *,
    source: str,
    date: str,
    errors: Sequence[LevelError] = (),
    server_id: str = "",
) -> ServerModel:
    """Fit one family to the points of one server: arrays of shape (points,), load rising from idle."""
    coefficients: dict[str, float | tuple[float, ...]]
    if family in INTERPOLATED:
        coefficients = {"load": tuple(load.tolist()), "watts": tuple(watts.tolist())}
    else:
        columns = _columns(FAMILIES[family].fit(load[None], watts[None]))
        coefficients = {name: float(columns[name][0]) for name in names(family)}
    return ServerModel(
        family=family,
        coefficients=coefficients,
        load_range=(float(load[0]), float(load[-1])),
        error_by_level=tuple(errors),
        source=source,
        date=date,
        server_id=server_id,
    )


def check_points(load: Floats, watts: Floats, *, minimum: int = 3) -> None:
    """Raises ValueError when points of one server, shape (points,), cannot carry a curve."""
    if load.shape != watts.shape or len(load) < minimum:
        raise ValueError(f"{len(load)} points; a power curve needs at least {minimum}")
    if not (np.isfinite(load).all() and np.isfinite(watts).all()):
        raise ValueError("loads and watts must be finite numbers")
    if load[0] != 0.0 or (np.diff(load) <= 0.0).any():
        raise ValueError("loads must start at 0 (idle) and rise without repeats")
    if load[-1] > MAXIMUM_LOAD:
        raise ValueError(f"the highest load is {load[-1]:g}; loads are ratios in 0..1, not per cent")
    if (watts <= 0.0).any():
        raise ValueError("watts must be above zero")
    falls = 1.0 - watts[1:] / watts[:-1]
    step = int(falls.argmax())
    if falls[step] > FALL_TOLERANCE:
        before, after = (f"{watts[one]:g} W at {load[one]:.0%} load" for one in (step, step + 1))
        raise ValueError(f"power falls with load: {before}, {after}")


def encode(model: ServerModel) -> bytes:
    """The model as JSON."""
    return msgspec.json.encode(model)


def decode(raw: bytes) -> ServerModel:
    """The model in JSON bytes; raises ValueError."""
    try:
        value = msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise ValueError(f"not JSON: {error}") from error
    return from_json(value)


def from_json(value: Any) -> ServerModel:
    """The model in a JSON object; raises ValueError for another version, an unknown family or impossible numbers."""
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema != SCHEMA:
        raise ValueError(f"unknown schema {schema!r}; this version reads {SCHEMA!r}")
    try:
        model = msgspec.convert(value, ServerModel)
    except msgspec.ValidationError as error:
        raise ValueError(f"not a server model: {error}") from error
    _check(model)
    return model


def _check(model: ServerModel) -> None:
    expected = names(model.family)
    if set(model.coefficients) != set(expected):
        given = ", ".join(model.coefficients)
        raise ValueError(f"coefficients of {model.family} are {', '.join(expected)}; got {given}")
    if model.units != Units():
        raise ValueError(f"units are {model.units.load} and {model.units.power}; expected ratio and watt")
    for one in model.error_by_level:
        if not (0.0 <= one.mean_ratio < np.inf and 0.0 <= one.p90_ratio < np.inf and np.isfinite(one.load)):
            raise ValueError(f"impossible error at load {one.load:g}")
    if model.family in INTERPOLATED:
        load, watts = (np.atleast_1d(np.array(model.coefficients[name], dtype=np.float64)) for name in POINTS)
        minimum = 2 if model.family == LEARNED else FAMILIES[model.family].minimum_points
        check_points(load, watts, minimum=minimum)
    elif not all(isinstance(value, float) for value in model.coefficients.values()):
        raise ValueError(f"coefficients of {model.family} are single numbers")
    curve = model.curves().take(np.zeros(101, dtype=np.intp)).watts(np.linspace(0.0, 1.0, 101))
    if not np.isfinite(curve).all() or curve[0] < 0.0 or (np.diff(curve) < -1e-6 * np.abs(curve[:-1])).any():
        raise ValueError(f"the coefficients of {model.family} give watts that are negative, infinite or fall with load")


def _columns(curves: Curves) -> dict[str, Floats]:
    """The coefficients of a formula by the names that they have in JSON."""
    if isinstance(curves, PowerLaw):
        return {
            "idle_watts": curves.idle_watts,
            "range_watts": curves.range_watts,
            "exponent": curves.exponent,
        }
    if isinstance(curves, IdleExponential):
        return {"idle_watts": curves.idle_watts, **_columns(curves.active)}
    assert isinstance(curves, Exponential)
    return {"k0_watts": curves.k0, "k1_watts": curves.k1, "k2": curves.k2}
