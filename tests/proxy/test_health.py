import asyncio
import socket

import aiohttp
import pytest

from sparsam.proxy.health import HealthChecks, answer
from sparsam.proxy.services import EMPTY, Fragment, HealthCheck

KEY = ("default", "web")
BODY = """{
    "service": {
        "namespace": "default",
        "name": "web"
    },
    "localEndpoints": 2,
    "serviceProxyHealthy": true
}"""


@pytest.mark.parametrize(
    ("endpoints", "healthy", "status"), [(2, True, 200), (0, True, 503), (2, False, 503), (0, False, 503)]
)
def test_a_node_takes_traffic_while_it_has_endpoints_and_rules(endpoints, healthy, status):
    assert answer(KEY, HealthCheck(1, endpoints), healthy=healthy)[0] == status


def test_the_answer_is_upstreams():
    assert answer(KEY, HealthCheck(1, 2), healthy=True)[1] == BODY


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


async def test_each_service_is_answered_for_at_its_port_until_it_has_none():
    port, other = free_port(), free_port()
    checks = HealthChecks("127.0.0.1")
    checks.put(KEY, Fragment(health_check=HealthCheck(port, 2)))
    assert await checks.settle(healthy=True)
    async with aiohttp.ClientSession() as session:

        async def ask(where):
            async with session.get(f"http://127.0.0.1:{where}/any") as answered:
                return answered.status, answered.headers, await answered.text()

        status, headers, body = await ask(port)
        assert (status, body) == (200, BODY)
        assert headers["X-Load-Balancing-Endpoint-Weight"] == "2"
        assert headers["Content-Type"].startswith("application/json")
        checks.put(KEY, Fragment(health_check=HealthCheck(port, 0)))
        assert (await ask(port))[0] == 503
        checks.put(KEY, Fragment(health_check=HealthCheck(other, 1)))
        assert await checks.settle(healthy=True)
        assert (await ask(other))[0] == 200
        checks.put(KEY, EMPTY)
        assert await checks.settle(healthy=True)
    for gone in (port, other):
        with pytest.raises(OSError, match="Connect call failed"):
            await asyncio.open_connection("127.0.0.1", gone)


async def test_a_port_that_somebody_has_is_said_once_and_tried_again(caplog):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        checks = HealthChecks("127.0.0.1")
        checks.put(KEY, Fragment(health_check=HealthCheck(taken.getsockname()[1], 1)))
        assert not await checks.settle(healthy=True)
        assert not await checks.settle(healthy=True)
    assert caplog.text.count("no health check service=default/web") == 1
    assert await checks.settle(healthy=True)
    checks.put(KEY, EMPTY)
    assert await checks.settle(healthy=True)
