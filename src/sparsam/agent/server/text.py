"""Prometheus' text format, version 0.0.4. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Sample:
    """One value; the time, in milliseconds since the epoch, where it is not that of the scrape."""

    labels: Mapping[str, str]
    value: float
    time_milliseconds: int | None = None


def family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> str:
    """A metric's head and samples; nothing without samples."""
    lines = [f"{name}{labels_text(each.labels)} {_number(each.value)}{_time(each)}\n" for each in samples]
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n{''.join(lines)}" if lines else ""


def labels_text(labels: Mapping[str, str]) -> str:
    """Labels in braces, escaped; nothing without labels."""
    inner = ",".join(f'{key}="{_escaped(value)}"' for key, value in labels.items())
    return f"{{{inner}}}" if inner else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    return repr(value)


def _time(sample: Sample) -> str:
    return "" if sample.time_milliseconds is None else f" {sample.time_milliseconds}"
