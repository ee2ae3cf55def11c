import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from sparsam.hardware.guards import Verdict
from sparsam.hardware.meter import Domain, Fault, Gap, Reading
from sparsam.hardware.prometheus import (
    PRESETS,
    PowerQuery,
    PrometheusConfig,
    PrometheusSource,
    Sample,
    by_node,
    node_of,
    parse_vector,
)
from tests.support.prometheus import Exporter, prometheus
from tests.support.sysfs import SteppedClock

PLAIN = PowerQuery("plain", "node_watts", ("node",), Domain.WALL, freshness="node_watts")


def vector(*series: tuple[dict[str, str], object]) -> dict[str, object]:
    result = [{"metric": metric, "value": [1000.0, value]} for metric, value in series]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


def test_series_are_named_by_their_labels_without_ports():
    body = vector(({"instance": "n1:9100"}, "12.5"), ({"instance": "n2"}, "NaN"))
    found = parse_vector(body, ["instance"])
    assert isinstance(found, dict)
    assert (found["n1"], str(found["n2"])) == (12.5, "nan")
    assert parse_vector(vector(({"a": "p", "b": "7"}, "1")), ["a", "b"]) == {"p/7": 1.0}
    assert [node_of(label) for label in ("[::1]:9100", "fe80::1", "n1", "n1:80")] == ["[::1]", "fe80::1", "n1", "n1"]


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {"status": "error", "error": "no"},
        {"status": "success", "data": {"resultType": "matrix", "result": []}},
        {"status": "success", "data": {"resultType": "scalar", "result": [1, "2"]}},
        vector(({"other": "n1"}, "1")),
        vector(({"node": "n1"}, "1"), ({"node": "n1"}, "2")),
        vector(({"node": "n1"}, "x")),
        vector(({"node": "n1"}, None)),
        {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {"node": "n1"}}]}},
    ],
)
def test_any_other_answer_is_malformed(body):
    found = parse_vector(body, ["node"])
    assert isinstance(found, Verdict) and found.fault is Fault.MALFORMED


def test_two_feeds_are_one_node_and_half_of_them_is_none():
    samples = {"a/1": Sample(100.0, 5.0), "b/1": Sample(90.0, 9.0), "a/2": Sample(50.0, None)}
    outlets = {"n1": ("a/1", "b/1"), "n2": ("a/2", "b/2"), "n3": ()}
    assert by_node(samples, outlets) == {"n1": Sample(190.0, 9.0)}
    assert by_node(samples, {}) == samples


def test_presets_are_complete():
    for name, preset in PRESETS.items():
        assert preset.name == name
        assert preset.labels
        assert preset.freshness


@pytest.mark.parametrize("url", ["", "localhost:9090", "ftp://x"])
def test_a_wrong_address_is_refused(url):
    with pytest.raises(ValueError, match="Prometheus address"):
        PrometheusConfig(url)


async def test_a_server_that_is_not_there_is_unreachable():
    source = PrometheusSource(PrometheusConfig("http://127.0.0.1:1"), PLAIN, SteppedClock())
    gap = await source.meter("n1").read()
    assert isinstance(gap, Gap) and gap.fault is Fault.UNREACHABLE
    await source.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[tuple[str, list[Exporter]]]:
    """A real server that scrapes two exporters; it takes five seconds to begin."""
    with prometheus(tmp_path_factory.mktemp("prometheus"), 2) as running:
        yield running


@pytest.fixture
async def served(server) -> tuple[str, list[Exporter]]:
    """The server with empty exporters."""
    await asyncio.gather(*(exporter.shows("") for exporter in server[1]))
    return server


def source_of(url: str, query: PowerQuery = PLAIN, **config: float) -> tuple[PrometheusSource, SteppedClock]:
    clock = SteppedClock()
    return PrometheusSource(PrometheusConfig(url, **config), query, clock), clock


@pytest.mark.needs_prometheus
async def test_one_query_serves_all_nodes_and_tells_good_from_bad(served):
    url, (first, second) = served
    second.page = 'node_watts{node="broken"} NaN\nnode_watts{node="mad"} 1e18\nnode_watts{node="off"} 0\n'
    await first.shows('node_watts{node="n1"} 120\nnode_watts{node="n2"} 240.5\n')
    await second.shows(second.page)
    source, clock = source_of(url)
    assert await source.nodes() == ["broken", "mad", "n1", "n2", "off"]
    found = {node: await source.meter(node).read() for node in [*await source.nodes(), "nobody"]}
    assert {node: result.watts for node, result in found.items() if isinstance(result, Reading)} == {
        "n1": 120.0,
        "n2": 240.5,
    }
    assert {node: result.fault for node, result in found.items() if isinstance(result, Gap)} == {
        "broken": Fault.NOT_A_NUMBER,
        "mad": Fault.IMPLAUSIBLE,
        "off": Fault.IMPLAUSIBLE,
        "nobody": Fault.ABSENT,
    }
    reading = found["n1"]
    assert isinstance(reading, Reading)
    assert clock.seconds - 60.0 < reading.at_seconds <= clock.seconds
    assert reading.source == "prometheus:plain"
    # Until the interval has passed, nobody asks again.
    await first.shows('node_watts{node="n1"} 130\n')
    assert (await source.meter("n1").read()) == reading
    clock.seconds += 10.0
    later = await source.meter("n1").read()
    assert isinstance(later, Reading) and later.watts == 130.0
    await source.close()


@pytest.mark.needs_prometheus
async def test_old_samples_are_refused_although_the_server_still_shows_them(served):
    url, (first, _) = served
    old = round((time.time() - 100.0) * 1000)
    await first.shows(f'old_watts{{node="dead"}} 120 {old}\nold_watts{{node="live"}} 120\n')
    # A plain selector is its own raw series; other expressions name theirs.
    for expression, freshness in (("old_watts", ""), ("avg_over_time(old_watts[5m])", "old_watts")):
        query = replace(PLAIN, expression=expression, freshness=freshness)
        source, _ = source_of(url, query, max_age_seconds=60.0)
        assert isinstance(await source.meter("live").read(), Reading)
        gap = await source.meter("dead").read()
        # Servers that know the look-back of a query no longer show it at all.
        assert isinstance(gap, Gap) and gap.fault in (Fault.STALE, Fault.ABSENT)
        await source.close()
        source, clock = source_of(url, query, max_age_seconds=600.0)
        reading = await source.meter("dead").read()
        assert isinstance(reading, Reading)
        assert reading.at_seconds < clock.seconds - 90.0
        await source.close()


@pytest.mark.needs_prometheus
async def test_an_exporter_that_dies_takes_its_nodes_away_and_brings_them_back(served):
    url, (first, _) = served
    page = 'node_watts{node="n1"} 120\n'
    await first.shows(page)
    source, clock = source_of(url)
    meter = source.meter("n1")
    assert isinstance(await meter.read(), Reading)
    for shown, expected in ((None, Gap), (page, Reading)):
        await first.shows(shown)
        clock.seconds += 10.0
        assert isinstance(await meter.read(), expected)
    await source.close()


@pytest.mark.needs_prometheus
@pytest.mark.parametrize("expression", ["node_watts[1m]", "1", "node_watts{", "count(node_watts)", "no_such_metric"])
async def test_expressions_that_cannot_serve_are_gaps(served, expression):
    url, (first, _) = served
    await first.shows('node_watts{node="n1"} 120\n')
    source, _ = source_of(url, replace(PLAIN, expression=expression, freshness=""))
    gap = await source.meter("n1").read()
    assert isinstance(gap, Gap)
    assert gap.fault is (Fault.ABSENT if expression == "no_such_metric" else Fault.MALFORMED)
    await source.close()


@pytest.mark.needs_prometheus
async def test_two_series_for_one_node_are_refused(served):
    url, (first, second) = served
    await first.shows('node_watts{node="n1"} 120\n')
    await second.shows('node_watts{node="n1"} 500\n')
    source, _ = source_of(url)
    gap = await source.meter("n1").read()
    assert isinstance(gap, Gap) and gap.fault is Fault.MALFORMED
    assert "aggregate by node" in gap.detail
    await source.close()


PAGES = {
    "kepler": (
        'kepler_node_cpu_watts{zone="package",path="a",node_name="n1"} 80\n'
        'kepler_node_cpu_watts{zone="dram",path="b",node_name="n1"} 12\n'
        'kepler_node_cpu_watts{zone="core",path="c",node_name="n1"} 60\n',
        92.0,
    ),
    "kepler-platform": (
        'kepler_platform_watts{node_name="n1",power_control_name="Server Power Control"} 263\n'
        'kepler_platform_watts{node_name="n1",power_control_name="CPU Sub-system Power"} 155\n',
        263.0,
    ),
    "scaphandre": ("scaph_host_power_microwatts 47000000\n", 47.0),
    "ipmi-exporter": ("ipmi_dcmi_power_consumption_watts 212\n", 212.0),
    "idrac-exporter": (
        'idrac_power_control_consumed_watts{id="0",name="Server Power Control"} 263\n'
        'idrac_power_control_consumed_watts{id="1",name="CPU Sub-system Power"} 300\n',
        263.0,
    ),
}


@pytest.mark.needs_prometheus
async def test_presets_read_what_the_exporters_show(served):
    url, (first, _) = served
    await first.shows("".join(page for page, _ in PAGES.values()))
    for name, (_, watts) in PAGES.items():
        query = PRESETS[name]
        source, _ = source_of(url, query)
        node = "n1" if query.labels == ("node_name",) else "127.0.0.1"
        reading = await source.meter(node).read()
        assert isinstance(reading, Reading), (name, reading)
        assert reading.watts == pytest.approx(watts), name
        await source.close()


@pytest.mark.needs_prometheus
async def test_outlets_of_a_pdu_are_given_to_nodes(served):
    url, (first, _) = served
    await first.shows(
        'rPDU2OutletMeteredStatusPower{rPDU2OutletMeteredStatusIndex="1"} 100\n'
        'rPDU2OutletMeteredStatusPower{rPDU2OutletMeteredStatusIndex="2"} 90\n'
    )
    query = replace(PRESETS["pdu-apc"], outlets={"n1": ("127.0.0.1/1", "127.0.0.1/2"), "n2": ("127.0.0.1/3",)})
    source, _ = source_of(url, query)
    reading = await source.meter("n1").read()
    assert isinstance(reading, Reading) and reading.watts == 190.0
    assert isinstance(await source.meter("n2").read(), Gap)
    await source.close()
