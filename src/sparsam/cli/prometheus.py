"""Utilization and watts of nodes over hours, from a Prometheus server's range queries."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import numpy as np
import yarl

from sparsam.errors import SparsamError
from sparsam.hardware.web import decode_json
from sparsam.power.curves import Floats
from sparsam.power.streaming import STRETCHES, LoadStatistics

MOST_POINTS = 10_000
"""Prometheus answers at most 11,000 points for each series."""
TIMEOUT_SECONDS = 60.0


class BadAnswer(SparsamError):
    """Prometheus did not answer with samples."""


@dataclass(frozen=True, slots=True)
class NodeSamples:
    """One node's telemetry."""

    statistics: LoadStatistics


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time, since 1970."""

    start: float
    end: float
    step_seconds: int


async def read_range(
    url: str,
    utilization: str,
    watts: str,
    *,
    label: str,
    hours: float,
    step_seconds: int,
    progress: Callable[[int], None] = lambda _rows: None,
    now: float | None = None,
) -> dict[str, NodeSamples]:
    """The nodes that have both series, by the value of `label`; raises BadAnswer."""
    end = time.time() if now is None else now
    start = end - hours * 3600.0
    span = step_seconds * MOST_POINTS
    totals: dict[str, LoadStatistics] = {}
    rows = 0
    async with aiohttp.ClientSession() as session:
        for first in np.arange(start, end, span):
            last = min(float(first) + span - step_seconds, end)
            window = Window(float(first), last, step_seconds)
            loads = await _series(session, url, utilization, label, window)
            powers = await _series(session, url, watts, label, window)
            for node in loads.keys() & powers.keys():
                moments, load, power = _joined(loads[node], powers[node])
                if load.max(initial=0.0) > 1.1:
                    raise BadAnswer(
                        f"utilization of {node} reaches {load.max():g}; the query must give a ratio in 0..1"
                    )
                stretch = np.floor((moments - start) / (end - start) * STRETCHES)
                piece = LoadStatistics.of(stretch, np.clip(load, 0.0, 1.0), power)
                totals[node] = totals.get(node, LoadStatistics.empty()).merged(piece)
                rows += len(moments)
            progress(rows)
    return {node: NodeSamples(statistics) for node, statistics in sorted(totals.items())}


async def read_matrix(
    session: aiohttp.ClientSession, url: str, query: str, window: Window, *, method: str = "GET"
) -> list[tuple[dict[str, str], Floats, Floats]]:
    """(labels, moments, values) of each series in a window; raises BadAnswer."""
    address = yarl.URL(url.rstrip("/") + "/api/v1/query_range")
    form = {
        "query": query,
        "start": f"{window.start:.3f}",
        "end": f"{window.end:.3f}",
        "step": str(window.step_seconds),
    }
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    sent: dict[str, Any] = {"params": form} if method == "GET" else {"data": form}
    try:
        async with session.request(method, address, **sent, timeout=timeout) as response:
            body: Any = decode_json(await response.read())
    except TimeoutError:
        raise BadAnswer(f"no answer within {TIMEOUT_SECONDS:g} s") from None
    except aiohttp.ClientError as error:
        raise BadAnswer(f"unreachable: {error}") from error
    except ValueError:
        raise BadAnswer(f"{query}: HTTP {response.status}, and no JSON") from None
    if not isinstance(body, dict) or body.get("status") != "success":
        reason = body.get("error") if isinstance(body, dict) else "no result"
        raise BadAnswer(f"{query}: {reason}")
    found = []
    for each in body["data"]["result"]:
        values = np.array([[float(moment), float(value)] for moment, value in each["values"]]).reshape(-1, 2)
        values = values[np.isfinite(values).all(axis=1) & (values[:, 1] >= 0.0)]
        found.append((each["metric"], values[:, 0], values[:, 1]))
    return found


async def _series(
    session: aiohttp.ClientSession, url: str, query: str, label: str, window: Window
) -> dict[str, tuple[Floats, Floats]]:
    found: dict[str, tuple[Floats, Floats]] = {}
    for metric, moments, values in await read_matrix(session, url, query, window, method="POST"):
        name = metric.get(label)
        if name is None:
            raise BadAnswer(f"{query}: a series has no label {label!r}; it has {', '.join(metric) or 'none'}")
        if name in found:
            raise BadAnswer(f"{query}: several series for {label}={name!r}; aggregate by that label")
        found[name] = (moments, values)
    return found


def _joined(one: tuple[Floats, Floats], other: tuple[Floats, Floats]) -> tuple[Floats, Floats, Floats]:
    """Moments that both series have, with the values of both."""
    moments, mine, theirs = np.intersect1d(one[0], other[0], return_indices=True)
    return moments, one[1][mine], other[1][theirs]
