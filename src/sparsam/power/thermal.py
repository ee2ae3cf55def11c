"""Heat: the watts that fans and leakage add when the air at the inlet is not that of the calibration.

A power curve holds for the inlet temperature at which it was measured, its fans and leakage included. What another
temperature adds is the difference of

    full_fan_watts * speed(inlet, load)**3 + leakage_watts_per_kelvin * inlet

between the two temperatures, so that it is zero at the reference and below zero in colder air.

- Fan power grows with the cube of speed: the fan affinity laws (ASHRAE Handbook, HVAC Systems and Equipment, "Fans").
- Speed is a controller's doing: a floor up to a set point, then a straight line to full speed. Load counts as degrees
  that are added to the inlet's.
- Leakage grows with the temperature of the silicon, over a server's range nearly in a straight line (Liu, Dick, Shang,
  Yang, "Accurate temperature-dependent integrated circuit leakage power estimation is easy", DATE 2007). The silicon is
  taken to warm as the inlet does; how load warms it is in the power curve already.

Columns and results have shape (nodes,). An inlet temperature that is missing or impossible answers NaN: unknown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sparsam.power.counters import robust_fit
from sparsam.power.nonnegative import Floats, solve

Bools = npt.NDArray[np.bool_]

POSSIBLE_CELSIUS = (-20.0, 70.0)
"""An inlet outside of this is a broken sensor; no server is built to run there."""

BLOCKS = 5
MINIMUM_SAMPLES = 50
MINIMUM_REACTING = 10
MINIMUM_KELVIN = 2.0
LAW_PASSES = 8


@dataclass(frozen=True, slots=True)
class Thermal:
    """Fans and leakage of each node, as columns."""

    full_fan_watts: Floats
    """All fans together at full speed."""
    floor_speed: Floats
    """Least speed, as a share of full speed."""
    set_point_celsius: Floats
    """Inlet temperature without load from which the fans turn faster."""
    full_speed_celsius: Floats
    """Inlet temperature without load from which they turn at full speed."""
    load_kelvin: Floats
    """What full load counts for, in degrees at the inlet."""
    leakage_watts_per_kelvin: Floats
    reference_celsius: Floats
    """Inlet temperature at which the power curve was measured."""
    error_watts: Floats
    """Error that does not depend on the temperature; NaN where it is not known."""
    error_ratio: Floats
    """Error as a share of what the temperature adds."""

    def fan_speed(self, inlet_celsius: Floats, load: Floats) -> Floats:
        """Speed of the fans as a share of full speed."""
        raised = self.floor_speed + self._speed_per_kelvin() * (
            self._felt(inlet_celsius, load) - self.set_point_celsius
        )
        return np.asarray(np.clip(raised, self.floor_speed, 1.0))

    def fan_watts(self, inlet_celsius: Floats, load: Floats) -> Floats:
        """Watts of the fans: the cube of their speed."""
        return np.asarray(self.full_fan_watts * self.fan_speed(inlet_celsius, load) ** 3)

    def extra_watts(self, inlet_celsius: Floats, load: Floats) -> Floats:
        """What this inlet temperature adds to the power curve at this load."""
        fans = self.fan_watts(inlet_celsius, load) - self.fan_watts(self.reference_celsius, load)
        leakage = self.leakage_watts_per_kelvin * (_possible(inlet_celsius) - self.reference_celsius)
        return np.asarray(fans + leakage)

    def slope(self, inlet_celsius: Floats, load: Floats) -> Floats:
        """Extra watts per unit of load, to be added to the slope of the power curve.

        Below zero where fans already turn at full speed that would still have risen at the reference temperature.
        """
        return self._fan_slope(inlet_celsius, load) - self._fan_slope(self.reference_celsius, load)

    def marginal_watts(self, inlet_celsius: Floats, load: Floats, added: Floats) -> Floats:
        """What this inlet temperature adds to the watts of more load."""
        return self.extra_watts(inlet_celsius, load + added) - self.extra_watts(inlet_celsius, load)

    def interval(self, inlet_celsius: Floats, load: Floats) -> tuple[Floats, Floats]:
        """Extra watts less and plus the error: nine of ten readings where it was held out, a guess where assumed."""
        extra = self.extra_watts(inlet_celsius, load)
        error = self.error_watts + self.error_ratio * np.abs(extra)
        return extra - error, extra + error

    def _felt(self, inlet_celsius: Floats, load: Floats) -> Floats:
        return np.asarray(_possible(inlet_celsius) + self.load_kelvin * np.clip(load, 0.0, 1.0))

    def _speed_per_kelvin(self) -> Floats:
        return np.asarray((1.0 - self.floor_speed) / (self.full_speed_celsius - self.set_point_celsius))

    def _fan_slope(self, inlet_celsius: Floats, load: Floats) -> Floats:
        speed = self.fan_speed(inlet_celsius, load)
        felt = self._felt(inlet_celsius, load)
        reacting = (felt >= self.set_point_celsius) & (felt < self.full_speed_celsius) & (load >= 0.0) & (load < 1.0)
        per_load = self._speed_per_kelvin() * self.load_kelvin * reacting
        return np.asarray(3.0 * self.full_fan_watts * speed**2 * per_load)


def assumed(max_watts: Floats, *, reference_celsius: Floats | float = 23.0) -> Thermal:
    """Fans and leakage of air-cooled servers that nobody measured, by their watts at full load: assumptions.

    Chosen so that at middling load they stay near what was published: 0.35 to 0.5 % of a server's watts per degree
    between 23 and 30 degrees in two data centres (Coroama, "Temperature optimisation in data centres",
    arXiv:2509.26163, 2025), and 8 % from 27 to 35 degrees on one lightly filled 2009 server (Green Revolution Cooling,
    "Temperature set point vs server fan power", 2016). The error of one half is a guess as well.
    """
    every = np.ones_like(max_watts)
    return Thermal(
        full_fan_watts=0.10 * max_watts,
        floor_speed=0.3 * every,
        set_point_celsius=25.0 * every,
        full_speed_celsius=45.0 * every,
        load_kelvin=8.0 * every,
        leakage_watts_per_kelvin=0.0005 * max_watts,
        reference_celsius=reference_celsius * every,
        error_watts=0.0 * every,
        error_ratio=0.5 * every,
    )


@dataclass(frozen=True, slots=True)
class ThermalFit:
    """What was fitted to one server, with its errors on stretches of time held out."""

    thermal: Thermal
    """Columns of one node; its reference is the mean inlet temperature of the samples unless one was given."""
    mape_pct: float
    """From inlet temperature and load alone: fan speed is predicted too."""
    load_only_mape_pct: float
    """Without any thermal term; where this is not larger, heat explains nothing that was held out."""
    speed_error: float
    """Mean error of the predicted fan speed, as a share of full speed."""
    samples: int


def fit(
    inlet_celsius: Floats,
    load: Floats,
    fan_rpm: Floats,
    watts: Floats,
    *,
    full_rpm: float,
    reference_celsius: float | None = None,
) -> ThermalFit:
    """Fit consecutive samples of one server, arrays of shape (samples,); raises ValueError.

    Fans and leakage cannot fall below zero watts: non-negative least squares of relative errors under Huber's weights,
    beside a curve over load that rises in any shape. Errors are held out in blocks of time, so a fit that hangs on one
    hot afternoon is refused rather than believed.
    """
    _check(inlet_celsius, load, fan_rpm, watts, full_rpm)
    speed = fan_rpm / full_rpm
    errors, without, speed_errors = [], [], []
    for block in np.array_split(np.arange(len(watts)), BLOCKS):
        known = np.ones(len(watts), dtype=bool)
        known[block] = False
        law = _law(inlet_celsius[known], load[known], speed[known])
        guessed = law.speed(inlet_celsius[block], load[block])
        basis = _basis(inlet_celsius[known], load[known], speed[known])
        predicted = _basis(inlet_celsius[block], load[block], guessed) @ robust_fit(basis, watts[known])
        plain = _load_basis(load[block]) @ robust_fit(_load_basis(load[known]), watts[known])
        errors.append(np.abs(predicted - watts[block]))
        without.append(np.abs(plain - watts[block]))
        speed_errors.append(np.abs(guessed - speed[block]))
    law = _law(inlet_celsius, load, speed)
    fan_watts, leakage = robust_fit(_basis(inlet_celsius, load, speed), watts)[-2:]
    reference = float(inlet_celsius.mean()) if reference_celsius is None else reference_celsius
    held_out = np.concatenate(errors)
    columns = (
        float(fan_watts),
        law.floor,
        law.set_point_celsius,
        law.full_speed_celsius,
        law.load_kelvin,
        float(leakage),
        reference,
        float(np.percentile(held_out, 90)),
        0.0,
    )
    return ThermalFit(
        Thermal(*(np.array([column]) for column in columns)),
        float(100.0 * (held_out / watts).mean()),
        float(100.0 * (np.concatenate(without) / watts).mean()),
        float(np.concatenate(speed_errors).mean()),
        len(watts),
    )


@dataclass(frozen=True, slots=True)
class _Law:
    """A controller's law between its floor and full speed: `constant + per_kelvin * inlet + per_load * load`."""

    floor: float
    constant: float
    per_kelvin: float
    per_load: float

    @property
    def set_point_celsius(self) -> float:
        return (self.floor - self.constant) / self.per_kelvin

    @property
    def full_speed_celsius(self) -> float:
        return (1.0 - self.constant) / self.per_kelvin

    @property
    def load_kelvin(self) -> float:
        return self.per_load / self.per_kelvin

    def line(self, inlet_celsius: Floats, load: Floats) -> Floats:
        return self.constant + self.per_kelvin * inlet_celsius + self.per_load * load

    def speed(self, inlet_celsius: Floats, load: Floats) -> Floats:
        return np.asarray(np.clip(self.line(inlet_celsius, load), self.floor, 1.0))


def _law(inlet_celsius: Floats, load: Floats, speed: Floats) -> _Law:
    """The law of the fans, from samples between floor and full speed, told apart by the law found before."""
    floor = float(np.percentile(speed, 5))
    reacting: Bools = (speed > floor + 0.02) & (speed < 0.98)
    for _ in range(LAW_PASSES):
        if np.count_nonzero(reacting) < MINIMUM_REACTING:
            raise ValueError("fan speed hardly changes, or only in one stretch of time; its law cannot be told")
        if float(np.ptp(inlet_celsius[reacting])) < MINIMUM_KELVIN:
            raise ValueError("inlet temperature hardly changes while the fans react; their law cannot be told")
        law = _line(inlet_celsius[reacting], load[reacting], speed[reacting], floor)
        line = law.line(inlet_celsius, load)
        before, reacting = reacting, (line > floor) & (line < 1.0)
        if (before == reacting).all():
            break
    return law


def _line(inlet_celsius: Floats, load: Floats, speed: Floats, floor: float) -> _Law:
    one = np.ones_like(speed)
    # The constant may have either sign, rise with temperature and load may not.
    basis = np.stack([one, -one, inlet_celsius, load], axis=1)
    up, down, per_kelvin, per_load = (float(each) for each in solve(basis.T @ basis, basis.T @ speed))
    if per_kelvin <= 0.0:
        raise ValueError("fan speed does not rise with inlet temperature")
    return _Law(floor, up - down, per_kelvin, per_load)


def _load_basis(load: Floats) -> Floats:
    """A constant and rising functions of load that bend both ways."""
    u = np.clip(load, 0.0, 1.0)
    return np.stack([np.ones_like(u), u, np.minimum(u, 0.2), np.minimum(u, 0.5), np.maximum(u - 0.7, 0.0)], axis=1)


def _basis(inlet_celsius: Floats, load: Floats, speed: Floats) -> Floats:
    """As `_load_basis`, then the cube of speed and the temperature above freezing."""
    heat = np.stack([speed**3, np.maximum(inlet_celsius, 0.0)], axis=1)
    return np.concatenate([_load_basis(load), heat], axis=1)


def _possible(inlet_celsius: Floats) -> Floats:
    low, high = POSSIBLE_CELSIUS
    return np.where((inlet_celsius >= low) & (inlet_celsius <= high), inlet_celsius, np.nan)


def _check(inlet_celsius: Floats, load: Floats, fan_rpm: Floats, watts: Floats, full_rpm: float) -> None:
    columns = (inlet_celsius, load, fan_rpm, watts)
    if len({column.shape for column in columns}) != 1 or watts.ndim != 1:
        raise ValueError("inlet temperature, load, fan speed and watts must be as many")
    if len(watts) < MINIMUM_SAMPLES:
        raise ValueError(f"{len(watts)} samples; at least {MINIMUM_SAMPLES} are needed")
    if not all(np.isfinite(column).all() for column in columns) or (watts <= 0.0).any():
        raise ValueError("samples must be finite numbers, watts above zero")
    if (load < 0.0).any() or (load > 1.0).any():
        raise ValueError("load must lie in 0..1")
    if np.isnan(_possible(inlet_celsius)).any():
        low, high = POSSIBLE_CELSIUS
        raise ValueError(f"inlet temperatures must lie in {low:g}..{high:g} degrees Celsius")
    if not 0.0 < full_rpm < np.inf or (fan_rpm < 0.0).any() or float(fan_rpm.max()) > 1.05 * full_rpm:
        raise ValueError("fan speeds must lie between standstill and full speed")
