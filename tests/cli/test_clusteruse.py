import asyncio
import time

import numpy as np
import pytest

from sparsam.cli.clusters import Objects
from sparsam.cli.clusteruse import merged_use, use_from_prometheus, use_of_now
from sparsam.cli.tables import BadInput
from tests.support.prometheus import prometheus
from tests.support.scheduling import node

NOW = 1_700_000_000.0
PAGE = """# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{{namespace="a",pod="p",container="c",id="/x",node="n1"}} {p}
container_cpu_usage_seconds_total{{namespace="a",pod="p",container="d",id="/y",node="n1"}} {p}
container_cpu_usage_seconds_total{{namespace="a",pod="p",container="",id="/z",node="n1"}} {total}
container_cpu_usage_seconds_total{{namespace="a",pod="p",container="POD",id="/w",node="n1"}} {p}
container_cpu_usage_seconds_total{{namespace="b",pod="q",container="c",id="/v",node="n1"}} {p}
container_cpu_usage_seconds_total{{id="/",node="n1"}} {total}
"""


def objects(**extra):
    known = {"pod_metrics": None, "node_metrics": None, **extra}
    return Objects("https://test", [node("n1")], [], None, None, None, **known)


def test_present_use_is_what_the_metrics_api_shows():
    usages = [{"usage": {"cpu": "250m", "memory": "10Mi"}}, {"usage": {"cpu": "1500000n", "memory": "1Mi"}}]
    pods = [{"metadata": {"namespace": "a", "name": "p"}, "containers": usages}]
    nodes = [{"metadata": {"name": "n1"}, "usage": {"cpu": "1", "memory": "1Gi"}}]
    use = use_of_now(objects(pod_metrics=pods, node_metrics=nodes), 7.0, NOW)
    assert use.pods["a", "p"].tolist() == pytest.approx([0.2515])
    assert use.memory_bytes["a", "p"] == 11 << 20
    assert use.nodes == {"n1": 1.0}
    assert use.seconds == 7 * 86400.0


def test_without_the_metrics_api_nothing_is_seen():
    use = use_of_now(objects(), 1.0, NOW)
    assert (use.pods, use.nodes) == ({}, {})


@pytest.mark.needs_prometheus
async def test_use_of_days_comes_from_prometheus(tmp_path):
    with prometheus(tmp_path, 1) as (url, (exporter,)):
        await exporter.shows(PAGE.format(p=0, total=0))
        await exporter.shows(PAGE.format(p=300, total=1200))
        told = []
        use = await in_thread(use_from_prometheus, url, objects(), 1.5, time.time(), told.append)
        one, other = use.pods["a", "p"], use.pods["b", "q"]
        assert set(use.pods) == {("a", "p"), ("b", "q")}
        assert one.shape == (432,)
        assert np.isfinite(one).sum() == 1
        assert one[-1] == pytest.approx(2 * other[-1])
        assert use.nodes["n1"] == pytest.approx(4 * other[-1])
        # 300 seconds of CPU in the ten minutes that the rate looks at, a little more by extrapolation.
        assert 0.5 <= other[-1] < 1.0
        assert told[-1] == 1.0
        moment = use_of_now(objects(pod_metrics=[]), 1.5, time.time())
        assert merged_use(use, moment).pods.keys() == use.pods.keys()


@pytest.mark.needs_prometheus
async def test_prometheus_without_pods_is_said(tmp_path):
    with prometheus(tmp_path, 1) as (url, _), pytest.raises(BadInput, match="no container_cpu_usage_seconds_total"):
        await in_thread(use_from_prometheus, url, objects(), 1.0, time.time(), lambda _: None)


async def in_thread(function, *arguments):
    """As the command calls it, which has no event loop yet."""
    return await asyncio.to_thread(function, *arguments)
