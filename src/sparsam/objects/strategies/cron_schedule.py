"""Cron schedules: their five fields, checked with the wording of the library that upstream parses them with."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_NUMBER = re.compile(r"[+-]?[0-9]+\Z", re.ASCII)
_DURATION = re.compile(r"[+-]?([0-9]*\.?[0-9]+(ns|us|µs|ms|s|m|h))+\Z", re.ASCII)
_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_PART = re.compile(r"([0-9]*\.?[0-9]+)(ns|us|µs|ms|s|m|h)")
_UNIT_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@dataclass(frozen=True, slots=True)
class _Bounds:
    low: int
    high: int
    names: dict[str, int] = field(default_factory=dict)


_FIELDS = (
    _Bounds(0, 59),
    _Bounds(0, 23),
    _Bounds(1, 31),
    _Bounds(1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    _Bounds(0, 6, {name: number for number, name in enumerate(_DAYS)}),
)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something is due, in wall-clock time; or every so many seconds."""

    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    """0 is Sunday."""
    either_day: bool = False
    """Days of the month and of the week are both restricted: then one of them is enough."""
    every_seconds: float = 0.0


def parse_schedule(text: str) -> Schedule:
    """Raises ValueError with what is wrong."""
    error = schedule_error(text)
    if error:
        raise ValueError(error)
    if text.startswith("@every "):
        parts = _PART.findall(text)
        return Schedule(every_seconds=max(round(sum(float(n) * _UNIT_SECONDS[unit] for n, unit in parts)), 1))
    fields = _DESCRIPTORS.get(text, text).split()
    sets = [_numbers(each, bounds) for each, bounds in zip(fields, _FIELDS, strict=True)]
    stars = [any(part[:1] in ("*", "?") for part in each.split(",")) for each in fields]
    return Schedule(sets[0], sets[1], sets[2], sets[3], sets[4], either_day=not (stars[2] or stars[4]))


def _numbers(text: str, bounds: _Bounds) -> frozenset[int]:
    return frozenset(number for each in filter(None, text.split(",")) for number in _check_range(each, bounds))


def schedule_error(schedule: str) -> str:
    """What is wrong with a schedule; empty when nothing is."""
    if schedule.startswith("@"):
        return _descriptor_error(schedule)
    fields = schedule.split()
    if len(fields) != len(_FIELDS):
        return f"expected exactly 5 fields, found {len(fields)}: [{' '.join(fields)}]"
    try:
        for text, bounds in zip(fields, _FIELDS, strict=True):
            for each in filter(None, text.split(",")):
                _check_range(each, bounds)
    except ValueError as error:
        return str(error)
    return ""


def _descriptor_error(text: str) -> str:
    if text in _DESCRIPTORS:
        return ""
    if text.startswith("@every "):
        duration = text.removeprefix("@every ")
        if _DURATION.match(duration) or duration == "0":
            return ""
        return f'failed to parse duration {text}: time: invalid duration "{duration}"'
    return f"unrecognized descriptor: {text}"


def _check_range(text: str, bounds: _Bounds) -> range:
    spread, *steps = text.split("/")
    low_text, *high_texts = spread.split("-")
    if low_text in ("*", "?"):
        low, high = bounds.low, bounds.high
    else:
        low = _number(low_text, bounds)
        if len(high_texts) > 1:
            raise ValueError(f"too many hyphens: {text}")
        high = _number(high_texts[0], bounds) if high_texts else low
    if len(steps) > 1:
        raise ValueError(f"too many slashes: {text}")
    step = 1
    if steps:
        step = _plain(steps[0])
        if not high_texts and low_text not in ("*", "?"):
            high = bounds.high
    _check_order(low, high, step, text, bounds)
    return range(low, high + 1, step)


def _check_order(low: int, high: int, step: int, text: str, bounds: _Bounds) -> None:
    if low < bounds.low:
        raise ValueError(f"beginning of range ({low}) below minimum ({bounds.low}): {text}")
    if high > bounds.high:
        raise ValueError(f"end of range ({high}) above maximum ({bounds.high}): {text}")
    if low > high:
        raise ValueError(f"beginning of range ({low}) beyond end of range ({high}): {text}")
    if step == 0:
        raise ValueError(f"step of range should be a positive number: {text}")


def _number(text: str, bounds: _Bounds) -> int:
    named = bounds.names.get(text.lower())
    return _plain(text) if named is None else named


def _plain(text: str) -> int:
    if not _NUMBER.match(text):
        raise ValueError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    if len(text) > 18:
        raise ValueError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": value out of range')
    if int(text) < 0:
        raise ValueError(f"negative number ({int(text)}) not allowed: {text}")
    return int(text)
