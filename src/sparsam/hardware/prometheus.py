"""Power of many nodes from any Prometheus: one query in each interval, whoever asks.

An instant query answers with the time of the query, not of the sample, and looks back five minutes: a meter that fell
silent four minutes ago would still show watts. So the raw series behind an expression is named, from which
`timestamp()` tells each sample's true age, by the server's own clock. (`lookback_delta` is sent as well; servers
older than it ignore it.)
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import yarl

from sparsam.clock import Clock
from sparsam.hardware.guards import WHOLE_NODE, Limits, Verdict, judge_watts
from sparsam.hardware.meter import Domain, Fault, Gap, Provenance, Reading
from sparsam.hardware.web import fetch_json, items, mapping, number, tls_context

ADDRESS = re.compile(r"(?P<host>\[.*\]|[^:]*):\d+")
SELECTOR = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*\s*(\{[^{}]*\})?")
"""One metric, perhaps with matchers, and nothing done to it."""


@dataclass(frozen=True, slots=True)
class PowerQuery:
    """An expression that yields watts, one series for each node or outlet."""

    name: str
    expression: str
    labels: tuple[str, ...]
    """What tells one series from another; several are joined by a slash (`pdu-a/7`)."""
    domain: Domain
    provenance: Provenance = Provenance.MEASURED
    uncertainty_ratio: float = 0.05
    watts_per_unit: float = 1.0
    freshness: str = ""
    """Raw series behind the expression, whose oldest sample for a node is that node's age."""
    outlets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Outlets by node, for meters that know nothing of nodes; a server on two feeds has two. Empty: series are named
    after nodes."""


def _preset(
    name: str,
    expression: str,
    labels: str,
    domain: Domain,
    raw: str,
    *,
    uncertainty_ratio: float = 0.05,
    watts_per_unit: float = 1.0,
) -> PowerQuery:
    return PowerQuery(
        name,
        expression,
        tuple(labels.split()),
        domain,
        uncertainty_ratio=uncertainty_ratio,
        watts_per_unit=watts_per_unit,
        freshness=raw,
    )


PRESETS = {
    query.name: query
    for query in (
        _preset(
            "kepler",
            'sum by (node_name) (kepler_node_cpu_watts{zone=~"package.*|dram.*"})',
            "node_name",
            Domain.PACKAGE_DRAM,
            'kepler_node_cpu_watts{zone=~"package.*|dram.*"}',
        ),
        _preset(
            "kepler-psys",
            'sum by (node_name) (kepler_node_cpu_watts{zone="psys"})',
            "node_name",
            Domain.PLATFORM,
            'kepler_node_cpu_watts{zone="psys"}',
            uncertainty_ratio=0.1,
        ),
        _preset(
            "kepler-platform",
            'max by (node_name) (kepler_platform_watts{power_control_name!~".*Sub-system.*"})',
            "node_name",
            Domain.WALL,
            "kepler_platform_watts",
        ),
        _preset(
            "scaphandre",
            "sum by (instance) (scaph_host_power_microwatts)",
            "instance",
            Domain.PACKAGE_DRAM,
            "scaph_host_power_microwatts",
            watts_per_unit=1e-6,
        ),
        _preset(
            "node-exporter-rapl",
            "sum by (instance) (rate(node_rapl_package_joules_total[2m]))",
            "instance",
            Domain.PACKAGE,
            "node_rapl_package_joules_total",
        ),
        _preset(
            "node-exporter-hwmon",
            "sum by (instance) (node_hwmon_power_average_watt)",
            "instance",
            Domain.WALL,
            "node_hwmon_power_average_watt",
        ),
        _preset(
            "ipmi-exporter",
            "max by (instance) (ipmi_dcmi_power_consumption_watts)",
            "instance",
            Domain.WALL,
            "ipmi_dcmi_power_consumption_watts",
        ),
        _preset(
            "idrac-exporter",
            'max by (instance) (idrac_power_control_consumed_watts{name!~".*Sub-system.*"})',
            "instance",
            Domain.WALL,
            "idrac_power_control_consumed_watts",
        ),
        _preset(
            "pdu-apc",
            "rPDU2OutletMeteredStatusPower",
            "instance rPDU2OutletMeteredStatusIndex",
            Domain.WALL,
            "rPDU2OutletMeteredStatusPower",
            uncertainty_ratio=0.02,
        ),
        _preset(
            "pdu-raritan",
            'measurementsOutletSensorValue{sensorType="5"}',
            "instance outletId",
            Domain.WALL,
            'measurementsOutletSensorValue{sensorType="5"}',
            uncertainty_ratio=0.02,
        ),
    )
}
"""Starting points: an operator's own expression is worth more than any of these. A PDU's outlets are given to nodes by
`outlets`. The exporters' names and labels are from their own documents (docs/metering.md)."""


@dataclass(frozen=True, slots=True)
class PrometheusConfig:
    """Which server to ask, and how old a sample may be."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Authorization, tenant."""
    ca_file: str = ""
    insecure: bool = False
    timeout_seconds: float = 10.0
    min_interval_seconds: float = 5.0
    max_age_seconds: float = 120.0
    """Two scrapes of a minute each."""

    def __post_init__(self) -> None:
        url = yarl.URL(self.url)
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError(f"Prometheus address {self.url!r} is not an http:// or https:// address")


@dataclass(frozen=True, slots=True)
class Sample:
    """One node's watts and the age of the data behind it, where it is known."""

    watts: float
    age_seconds: float | None


def node_of(label: str) -> str:
    """The node that a label names: `instance` carries the port that was scraped."""
    address = ADDRESS.fullmatch(label)
    return address["host"] if address else label


def parse_vector(body: Any, labels: Sequence[str]) -> dict[str, float] | Verdict:
    """Values by node or outlet. Two series of one name are refused: either may be the wrong one."""
    data = mapping(mapping(body).get("data"))
    if mapping(body).get("status") != "success" or data.get("resultType") != "vector":
        kind = data.get("resultType") or mapping(body).get("error") or "nothing"
        return Verdict(Fault.MALFORMED, f"an instant vector was expected, not {str(kind)[:120]}")
    found: dict[str, float] = {}
    for series in items(data.get("result")):
        metric, pair = mapping(series.get("metric")), series.get("value")
        parts = [node_of(str(metric.get(label) or "")) for label in labels]
        value = number(pair[1]) if isinstance(pair, list) and len(pair) == 2 else None
        name = "/".join(parts)
        if not all(parts):
            return Verdict(Fault.MALFORMED, f"a series without label {' or '.join(labels)}")
        if value is None:
            return Verdict(Fault.MALFORMED, f"a series without a value for {name!r}")
        if name in found:
            return Verdict(Fault.MALFORMED, f"two series for {name!r}; aggregate by {', '.join(labels)}")
        found[name] = value
    return found


def by_node(samples: Mapping[str, Sample], outlets: Mapping[str, tuple[str, ...]]) -> dict[str, Sample]:
    """Outlets added up by node, as old as the oldest; a node with an outlet missing is left out, not halved."""
    if not outlets:
        return dict(samples)
    found = {}
    for node, names in outlets.items():
        if names and all(name in samples for name in names):
            ages = [samples[name].age_seconds for name in names]
            age = None if None in ages else max(age for age in ages if age is not None)
            found[node] = Sample(sum(samples[name].watts for name in names), age)
    return found


class PrometheusSource:
    """One query on one server; hands out a meter for each node."""

    def __init__(self, config: PrometheusConfig, query: PowerQuery, clock: Clock) -> None:
        try:
            self._tls = tls_context(config.ca_file, insecure=config.insecure)
        except OSError as error:
            raise ValueError(f"CA file {config.ca_file!r}: {error}") from error
        self.query = query
        self.clock = clock
        self._config = config
        self._http: aiohttp.ClientSession | None = None
        self._lock = asyncio.Lock()
        self._latest: dict[str, Sample] | Verdict = {}
        self._asked_at: float | None = None

    def meter(self, node: str) -> PrometheusMeter:
        """A meter of one node, by the label's value without a port."""
        return PrometheusMeter(self, node)

    async def nodes(self) -> list[str]:
        """All nodes that the query knows now."""
        samples, _ = await self.samples()
        return [] if isinstance(samples, Verdict) else sorted(samples)

    async def samples(self) -> tuple[dict[str, Sample] | Verdict, float]:
        """All nodes' samples and when they were asked for; asked again only after the configured interval."""
        async with self._lock:
            now = self.clock.monotonic()
            if self._asked_at is None or now - self._asked_at >= self._config.min_interval_seconds:
                self._latest = await self._ask()
                self._asked_at = self.clock.monotonic()
            return self._latest, self._asked_at

    def judge(self, sample: Sample) -> Verdict | None:
        """Why a sample must not be believed."""
        oldest = self._config.max_age_seconds
        if sample.age_seconds is not None and sample.age_seconds > oldest:
            return Verdict(Fault.STALE, f"scraped {sample.age_seconds:.0f} s ago, {oldest:g} s are allowed")
        return judge_watts(sample.watts, WHOLE_NODE if self.query.domain.whole_node else Limits())

    async def close(self) -> None:
        """Let go of the connection."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def _ask(self) -> dict[str, Sample] | Verdict:
        values = await self._query(self.query.expression)
        if isinstance(values, Verdict):
            return values
        ages: dict[str, float] = {}
        raw = self.query.freshness
        if not raw and SELECTOR.fullmatch(self.query.expression.strip()):
            raw = self.query.expression
        if raw:
            answer = await self._query(f"time() - min by ({', '.join(self.query.labels)}) (timestamp({raw}))")
            if isinstance(answer, Verdict):
                return answer
            ages = answer
        unit = self.query.watts_per_unit
        samples = {name: Sample(value * unit, ages.get(name)) for name, value in values.items()}
        return by_node(samples, self.query.outlets)

    async def _query(self, expression: str) -> dict[str, float] | Verdict:
        if self._http is None:
            connector = aiohttp.TCPConnector(ssl=self._tls, limit=2)
            self._http = aiohttp.ClientSession(connector=connector, headers=dict(self._config.headers))
        seconds = self._config.timeout_seconds
        answer = await fetch_json(
            self._http,
            "POST",
            yarl.URL(self._config.url) / "api/v1/query",
            timeout_seconds=seconds,
            data={
                "query": expression,
                "timeout": f"{seconds:g}s",
                "lookback_delta": f"{self._config.max_age_seconds:g}s",
            },
        )
        if isinstance(answer, Verdict):
            return answer
        if answer.status in (400, 422):
            return Verdict(Fault.MALFORMED, f"Prometheus refuses the query {expression[:120]!r}")
        return answer.verdict or parse_vector(answer.body, self.query.labels)


class PrometheusMeter:
    """One node's share of a query's answer."""

    def __init__(self, source: PrometheusSource, node: str) -> None:
        self._source = source
        self._node = node
        self.source = f"prometheus:{source.query.name}"
        self.domain = source.query.domain
        self.provenance = source.query.provenance

    async def read(self) -> Reading | Gap:
        """The node's latest sample, dated back to when it was scraped."""
        samples, asked_at = await self._source.samples()
        if isinstance(samples, Verdict):
            return Gap(asked_at, samples.fault, samples.detail, self.source)
        sample = samples.get(self._node)
        if sample is None:
            return Gap(asked_at, Fault.ABSENT, f"no series for node {self._node!r}", self.source)
        if wrong := self._source.judge(sample):
            return Gap(asked_at, wrong.fault, wrong.detail, self.source)
        return Reading(
            at_seconds=asked_at - max(sample.age_seconds or 0.0, 0.0),
            watts=sample.watts,
            domain=self.domain,
            source=self.source,
            uncertainty_ratio=self._source.query.uncertainty_ratio,
            provenance=self.provenance,
        )

    async def close(self) -> None:
        """The source is shared; whoever made it closes it."""
