"""Who goes when the node runs short, and who used more disk than allowed."""

from __future__ import annotations

from typing import Any

import pytest

from sparsam.agent.eviction import (
    DISK,
    MEMORY,
    PIDS,
    DiskUse,
    Floors,
    PodUse,
    Pressure,
    eviction_message,
    is_limited,
    over_limit,
    pressures,
    victim,
)
from sparsam.agent.machine import Room
from tests.support.agent import container, pod

LOW = Pressure(MEMORY, "100Mi", "51200Ki")
MIB = 1 << 20


def use(name: str, memory: int = 0, request: str = "0", priority: int = 0, **more: Any) -> PodUse:
    made = pod(container(resources={"requests": {"memory": request}}), name=name, priority=priority)
    return PodUse(made, memory_bytes=memory * MIB, containers={"main": memory * MIB}, **more)


def first(condition: str, *uses: PodUse) -> str:
    chosen = victim(Pressure(condition, "x", "y"), uses)
    assert chosen is not None
    return str(chosen.pod["metadata"]["name"])


def test_pressure_is_what_falls_below_its_floor():
    assert pressures(Room(1 << 30, 0.5, 0.5), Floors()) == []
    found = pressures(Room(50 * MIB, 0.049, 0.01), Floors())
    assert [each.condition for each in found] == [MEMORY, DISK, PIDS]
    assert (found[0].threshold, found[0].available) == ("100Mi", "51200Ki")


def test_memory_is_taken_from_those_above_their_request_then_by_priority_then_by_excess():
    assert first(MEMORY, use("modest", 300, "400Mi"), use("over", 200, "100Mi")) == "over"
    assert first(MEMORY, use("low", 150, "100Mi", 1), use("high", 900, "100Mi", 2)) == "low"
    assert first(MEMORY, use("little", 150, "100Mi"), use("much", 900, "100Mi")) == "much"


def test_the_disk_and_processes_have_their_own_measures():
    assert first(DISK, use("a", disk_bytes=5), use("b", disk_bytes=9)) == "b"
    assert first(PIDS, use("a", processes=5), use("b", processes=9), use("c", processes=99, priority=1)) == "b"


def test_critical_ended_and_leaving_pods_stay():
    ended, leaving = use("ended", 900), use("leaving", 900)
    ended.pod["status"]["phase"] = "Failed"
    leaving.pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert victim(LOW, [ended, leaving, use("system", 900, priority=2_000_001_000)]) is None


def test_the_message_is_upstreams():
    assert eviction_message(LOW, use("a", 200, "50Mi")) == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 51200Ki. "
        "Container main was using 204800Ki, request is 50Mi, has larger consumption of memory. "
    )


@pytest.mark.parametrize(
    ("volumes", "containers", "message"),
    [
        ({"scratch": 5 * MIB}, {}, None),
        ({"scratch": 11 * MIB}, {}, 'Usage of EmptyDir volume "scratch" exceeds the limit "10Mi". '),
        ({"scratch": 9 * MIB}, {"main": 12 * MIB}, "Pod ephemeral local storage usage exceeds the total limit of containers 20Mi. "),
    ],
)  # fmt: skip
def test_limits_on_the_disk(volumes: Any, containers: Any, message: str | None):
    limited = pod(
        container(resources={"limits": {"ephemeral-storage": "20Mi"}}),
        volumes=[{"name": "scratch", "emptyDir": {"sizeLimit": "10Mi"}}],
    )
    assert is_limited(limited)
    assert over_limit(limited, DiskUse(volumes, containers)) == message


def test_a_container_may_exceed_its_own_limit_beside_one_without():
    mixed = pod(container(resources={"limits": {"ephemeral-storage": "1Mi"}}), container("free"))
    words = 'Container main exceeded its local ephemeral storage limit "1Mi". '
    assert over_limit(mixed, DiskUse({}, {"main": 2 * MIB, "free": 900 * MIB})) == words
    assert not is_limited(pod(volumes=[{"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}]))
