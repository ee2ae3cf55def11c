import math

import pytest

from sparsam.hardware.estimate import CpuUtilization, ModelMeter, why_estimated
from sparsam.hardware.meter import Domain, Fault, Gap, Provenance, Reading
from sparsam.hardware.profile import Profile
from tests.support.sysfs import FakeSysfs, SteppedClock


def meter(watts: float, utilization: float | None = 0.5, why: str = "because") -> ModelMeter:
    return ModelMeter(lambda _: (watts, 0.26), lambda: utilization, SteppedClock(), why=why)


async def test_an_estimate_says_that_it_is_one_and_why():
    reading = await meter(120.0).read()
    assert isinstance(reading, Reading)
    assert (reading.watts, reading.domain, reading.source) == (120.0, Domain.WALL, "model")
    assert (reading.provenance, reading.note, reading.uncertainty_ratio) == (Provenance.ESTIMATED, "because", 0.26)


async def test_the_model_is_asked_at_the_present_utilization():
    model = ModelMeter(lambda u: (50.0 + 100.0 * u, 0.1), lambda: 0.25, SteppedClock(), why="")
    reading = await model.read()
    assert isinstance(reading, Reading) and reading.watts == 75.0


@pytest.mark.parametrize("watts", [math.nan, math.inf, -3.0, 0.0, 1e9])
async def test_a_model_gone_wrong_is_a_gap(watts):
    assert isinstance(await meter(watts).read(), Gap)


async def test_before_utilization_is_known_there_is_no_estimate():
    gap = await meter(120.0, None).read()
    assert isinstance(gap, Gap) and gap.fault is Fault.FIRST


def test_the_reason_names_the_virtual_machine_or_the_failed_sources():
    assert why_estimated(Profile(hypervisor="QEMU Standard PC")) == "virtual machine without sensors (QEMU Standard PC)"
    gaps = [Gap(0.0, Fault.DENIED, "", "rapl:package"), Gap(0.0, Fault.ABSENT, "", "ipmi:dcmi")]
    assert (
        why_estimated(Profile(), gaps) == "no working power sensor (ipmi:dcmi absent, rapl:package permission denied)"
    )
    assert why_estimated(Profile()) == "no working power sensor"


def test_utilization_is_the_share_of_time_in_use_between_two_looks(tmp_path):
    proc = FakeSysfs(tmp_path)
    utilization = CpuUtilization(tmp_path)
    assert utilization() is None
    proc.write("stat", "cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 2 3")
    assert utilization() is None
    proc.write("stat", "cpu  150 10 120 900 10 5 5 500 0 0\ncpu0 1 2 3")
    assert utilization() == pytest.approx(90 / 200)
    assert utilization() == pytest.approx(90 / 200)
    proc.write("stat", "cpu nonsense")
    assert utilization() is None


def test_the_machine_at_hand_has_a_utilization():
    utilization = CpuUtilization()
    utilization()
    sum(range(3_000_000))
    latest = utilization()
    assert latest is None or 0.0 <= latest <= 1.0
