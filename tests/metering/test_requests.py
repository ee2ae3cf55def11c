"""Joules per request, from counters as pods export them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from sparsam.metering.exposition import as_json, prometheus
from sparsam.metering.node import RequestRate
from sparsam.metering.requests import (
    COUNTER_ANNOTATION,
    PORT,
    SCRAPE,
    WINDOW_SECONDS,
    Look,
    RequestWatch,
    Window,
    counted,
    target_of,
)
from tests.support.metering import FakeMachine

Obj = dict[str, Any]


def pod(annotations: Obj, spec: Obj | None = None, uid: str = "u", address: str = "10.0.0.7") -> Obj:
    metadata = {
        "namespace": "d",
        "name": "web",
        "uid": uid,
        "annotations": {SCRAPE: "true", PORT: "8080", **annotations},
    }
    return {"metadata": metadata, "spec": spec or {}, "status": {"phase": "Running", "podIP": address}}


@pytest.mark.parametrize(
    ("one", "url", "counter"),
    [
        (pod({}), "http://10.0.0.7:8080/metrics", "http_requests_total"),
        (pod({"prometheus.io/path": "/a/b", COUNTER_ANNOTATION: "served"}), "http://10.0.0.7:8080/a/b", "served"),
        (pod({}, address="fd00::7"), "http://[fd00::7]:8080/metrics", "http_requests_total"),
    ],
)
def test_annotations_say_where_and_what(one: Obj, url: str, counter: str):
    target = target_of(one)
    assert target is not None
    assert (target.url, target.counter) == (url, counter)


@pytest.mark.parametrize(
    "one",
    [
        pod({SCRAPE: "false"}),
        pod({PORT: "http"}),
        pod({PORT: "0"}),
        pod({PORT: "65536"}),
        pod({"prometheus.io/scheme": "https"}),
        pod({}, {"hostNetwork": True}),
        pod({}, address=""),
    ],
    ids=["not wanted", "no number", "port 0", "port too large", "https", "node's network", "no address"],
)
def test_other_pods_are_left_alone(one: Obj):
    assert target_of(one) is None


def test_a_counters_series_are_summed_and_others_are_not():
    text = (
        "# HELP http_requests_total Requests.\n# TYPE http_requests_total counter\n"
        'http_requests_total{code="200",path="/{x}"} 7\n'
        'http_requests_total{code="500"} 2 1700000000000\n'
        "http_requests_total_created 1e9\nhttp_requests 99\nother 1\nhttp_requests_total{} NaN\n"
    )
    assert counted(text, "http_requests_total") == 9
    assert counted(text, "other") == 1
    assert counted(text, "missing") is None


@given(st.text(max_size=200))
def test_no_page_breaks_the_reader(text: str):
    counted(text, "a")
    counted(f"a{text}", "a")


def test_a_rate_compares_energy_and_requests_of_the_last_minute():
    window = Window()
    assert window.rate("c") is None
    window.add(Look(0, 100.0, 1000))
    assert window.rate("c") is None
    window.add(Look(10, 150.0, 1100))
    assert window.rate("c") == RequestRate("c", 1100, 10.0, 0.5, 10)
    for second in range(20, 300, 10):
        window.add(Look(second, 150.0, 1100))
    rate = window.rate("c")
    assert rate is not None
    assert (rate.per_second, rate.joules_each) == (0.0, None)
    assert WINDOW_SECONDS <= rate.window_seconds < WINDOW_SECONDS + 10


def test_a_counter_that_fell_begins_a_new_window():
    window = Window()
    window.add(Look(0, 100.0, 1000))
    window.add(Look(10, 150.0, 5))
    assert window.rate("c") is None
    window.add(Look(20, 160.0, 25))
    assert window.rate("c") == RequestRate("c", 25, 2.0, 0.5, 10)


async def test_a_served_counter_becomes_joules_per_request(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    machine, page = FakeMachine(tmp_path), {"text": "http_requests_total 100\n"}

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(text=page["text"])

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = str(runner.addresses[0][1])
    machine.pods = [pod({PORT: port}, uid=machine.uid("a"), address="127.0.0.1")]
    machine.run(1.0, a=0.0)
    meter = machine.meter()
    watch = RequestWatch(meter, lambda: machine.pods, machine.clock)
    try:
        async with aiohttp.ClientSession() as session:
            machine.run(10.0, a=10.0)
            await watch.look(session)
            page["text"] = 'http_requests_total{code="200"} 150\n'
            # One of four CPUs for ten seconds: 25 W above idle, 250 J, for 50 requests.
            machine.run(10.0, a=10.0)
            await watch.look(session)
            rate = meter.requests[machine.uid("a")]
            assert rate.joules_each == pytest.approx(5.0)
            assert rate.per_second == pytest.approx(5.0)
            machine.run(10.0, a=10.0)
            metered = await meter.meter()
            assert as_json(metered)["pods"][0]["requests"]["joulesPerRequest"] == pytest.approx(5.0)
            text = prometheus(metered)
            assert (
                'sparsam_pod_joules_per_request{node="n1",namespace="d",pod="web",counter="http_requests_total"}'
                in text
            )
            # What cannot be read is said once, and does not stop the rest.
            page["text"] = "other 1\n"
            for _ in range(2):
                await watch.look(session)
            assert caplog.text.count("no counter http_requests_total") == 1
            machine.pods = []
            await watch.look(session)
            assert meter.requests == {}
    finally:
        await runner.cleanup()
        await meter.close()
