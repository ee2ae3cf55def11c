"""The node's part in the growth of volumes."""

from __future__ import annotations

from typing import Any

import pytest

from sparsam.agent.csi.driver import Ability, CsiFault
from sparsam.agent.csi.growth import Growth, is_nodes_turn
from sparsam.agent.csi.plan import persistent
from tests.agent.csi.test_volumes import FakeCsiApi, Obj, volume

POD: Obj = {"metadata": {"name": "p", "namespace": "n"}}
GI = 1 << 30


class FakeDriver:
    def __init__(self, *, code: str = "") -> None:
        self.abilities = frozenset({Ability.EXPAND})
        self.code, self.asked = code, list[int]()

    async def expand(self, **request: Any) -> None:
        self.asked.append(request["capacity_range"]["required_bytes"])
        assert request["secrets"] == {"word": "grow-me"}
        if self.code:
            raise CsiFault(f"rpc error: code = {self.code}", self.code)


def claim(size: str, step: str = "", *conditions: str) -> Obj:
    steps = {"allocatedResourceStatuses": {"storage": step}} if step else {}
    found = [{"type": each, "status": "True"} for each in conditions]
    return {"metadata": {"name": "c"}, "status": {"capacity": {"storage": size}, "conditions": found, **steps}}


def volume_of(size: str, *, read_only: bool = False, **spec: Any) -> Any:
    whole = volume(capacity={"storage": size}, claimRef={"namespace": "n", "name": "c"}, **spec)
    whole["spec"]["csi"]["nodeExpandSecretRef"] = {"namespace": "x", "name": "grow-me"}
    return persistent(whole, read_only=read_only)


async def turn(found: Obj, size: str, driver: FakeDriver) -> FakeCsiApi:
    api = FakeCsiApi(claims={("n", "c"): found})
    await again(Growth(api, "n1"), size, driver)
    return api


async def again(growth: Growth, size: str, driver: FakeDriver) -> None:
    if growth.is_due(volume_of(size), driver):
        await growth.grow(POD, volume_of(size), driver)


async def test_a_claim_learns_that_its_file_system_has_grown():
    driver, found = FakeDriver(), claim("1Gi", "NodeResizePending", "FileSystemResizePending", "Mine")
    api = await turn(found, "2Gi", driver)
    assert driver.asked == [2 * GI]
    status = found["status"]
    assert (status["capacity"], status["allocatedResourceStatuses"]) == ({"storage": "2Gi"}, {})
    assert [each["type"] for each in status["conditions"]] == ["Mine"]
    message = 'MountVolume.NodeExpandVolume succeeded for volume "pv-1" n1'
    assert api.events == [("FileSystemResizeSuccessful", message)] * 2


@pytest.mark.parametrize(
    ("found", "size"),
    [
        (claim("2Gi"), "2Gi"),
        (claim("1Gi", "ControllerResizeInProgress"), "2Gi"),
        (claim("1Gi", "NodeResizeInfeasible"), "2Gi"),
    ],
)
async def test_it_is_not_always_the_nodes_turn(found, size):
    driver = FakeDriver()
    await turn(found, size, driver)
    assert driver.asked == []
    assert is_nodes_turn(claim("1Gi"))


async def test_what_another_node_has_grown_grows_here_too():
    driver, api = FakeDriver(), FakeCsiApi(claims={("n", "c"): claim("1Gi")})
    growth = Growth(api, "n1")
    await again(growth, "1Gi", driver)
    api.claims["n", "c"] = claim("2Gi")
    await again(growth, "2Gi", driver)
    assert driver.asked == [2 * GI]
    assert api.claims["n", "c"]["status"]["capacity"] == {"storage": "2Gi"}
    assert not growth.is_due(volume_of("2Gi"), driver)
    growth.forget(volume_of("2Gi").key)
    assert growth.is_due(volume_of("2Gi"), driver)


@pytest.mark.parametrize(
    ("code", "step"), [("OutOfRange", "NodeResizeInfeasible"), ("Internal", "NodeResizeInProgress")]
)
async def test_what_fails_is_told_and_given_up_only_when_it_can_never_succeed(code, step):
    found = claim("1Gi", "NodeResizePending")
    api = await turn(found, "2Gi", FakeDriver(code=code))
    assert api.events[0][0] == "VolumeResizeFailed"
    assert found["status"]["allocatedResourceStatuses"] == {"storage": step}
    assert [each["type"] for each in found["status"]["conditions"]] == (["NodeResizeError"] if "Inf" in step else [])
    assert found["status"]["capacity"] == {"storage": "1Gi"}


def test_readers_and_drivers_that_cannot_grow_are_left_alone():
    growth, weak = Growth(FakeCsiApi(), "n1"), FakeDriver()
    weak.abilities = frozenset()
    assert growth.is_due(volume_of("2Gi"), FakeDriver())
    assert not growth.is_due(volume_of("2Gi", read_only=True), FakeDriver())
    assert not growth.is_due(volume_of("2Gi"), weak)
