import shutil

import pytest

from sparsam.hardware.gpu import NvmlMeter, nvml_meter
from sparsam.hardware.meter import Domain, Fault, Gap, Reading
from tests.support.nvml import FakeNvml
from tests.support.sysfs import SteppedClock

NOT_SUPPORTED, NO_PERMISSION, DRIVER_NOT_LOADED, LOST = 3, 4, 9, 15
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler for the stand-in library")


@pytest.fixture
def nvml(tmp_path) -> FakeNvml:
    return FakeNvml(tmp_path, shutil.which("cc") or "cc")


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


def opened(nvml: FakeNvml, clock: SteppedClock) -> NvmlMeter:
    meter = nvml_meter(clock, nvml.path)
    assert isinstance(meter, NvmlMeter)
    return meter


def test_a_machine_without_a_driver_says_so(clock):
    gap = nvml_meter(clock, "libnvidia-ml-that-is-not-there.so.1")
    assert isinstance(gap, Gap) and gap.fault is Fault.ABSENT
    assert "no NVIDIA driver" in gap.detail


def test_a_library_that_is_another_one_is_no_driver(clock):
    gap = nvml_meter(clock, "libc.so.6")
    assert isinstance(gap, Gap) and gap.fault is Fault.ABSENT


@needs_compiler
@pytest.mark.parametrize(
    ("code", "fault"), [(DRIVER_NOT_LOADED, Fault.ABSENT), (NO_PERMISSION, Fault.DENIED), (999, Fault.UNREACHABLE)]
)
def test_a_driver_that_cannot_be_opened_is_a_reason(nvml, clock, code, fault):
    nvml.init(code)
    gap = nvml_meter(clock, nvml.path)
    assert isinstance(gap, Gap) and gap.fault is fault


@needs_compiler
def test_a_driver_without_cards_is_a_reason(nvml, clock):
    gap = nvml_meter(clock, nvml.path)
    assert isinstance(gap, Gap) and gap.detail == "the driver sees no card"


@needs_compiler
async def test_momentary_power_of_all_cards_is_added(nvml, clock):
    nvml.count(2)
    nvml.card(0, watts=61.5, energy=NOT_SUPPORTED)
    nvml.card(1, watts=300.0, energy=NOT_SUPPORTED)
    meter = opened(nvml, clock)
    reading = await meter.read()
    assert isinstance(reading, Reading)
    assert (reading.watts, reading.domain, reading.source) == (361.5, Domain.GPU, "gpu:nvml")
    assert reading.parts == {"gpu-0": 61.5, "gpu-1": 300.0}
    await meter.close()


@needs_compiler
async def test_cards_that_count_their_energy_are_averaged(nvml, clock):
    nvml.count(1)
    nvml.card(0, watts=999.0, joules=1000.0)
    meter = opened(nvml, clock)
    gap = await meter.read()
    assert isinstance(gap, Gap) and gap.fault is Fault.FIRST
    clock.seconds += 10.0
    nvml.card(0, watts=999.0, joules=4000.0)
    reading = await meter.read()
    assert isinstance(reading, Reading) and reading.watts == pytest.approx(300.0)
    # A driver that was loaded anew starts from nothing.
    clock.seconds += 10.0
    nvml.card(0, joules=5.0)
    gap = await meter.read()
    assert isinstance(gap, Gap) and gap.fault is Fault.RESET
    await meter.close()


@needs_compiler
@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"watts": 4_000_000.0, "energy": NOT_SUPPORTED}, Fault.IMPLAUSIBLE),
        ({"energy": NOT_SUPPORTED, "power": NOT_SUPPORTED}, Fault.ABSENT),
        ({"energy": LOST}, Fault.UNREACHABLE),
        ({"energy": NOT_SUPPORTED, "power": NO_PERMISSION}, Fault.DENIED),
    ],
)
async def test_one_card_that_fails_makes_a_gap_rather_than_a_smaller_sum(nvml, clock, change, fault):
    nvml.count(2)
    nvml.card(0, watts=50.0, energy=NOT_SUPPORTED)
    nvml.card(1, watts=50.0, energy=NOT_SUPPORTED)
    meter = opened(nvml, clock)
    assert isinstance(await meter.read(), Reading)
    nvml.card(1, **change)
    gap = await meter.read()
    assert isinstance(gap, Gap) and gap.fault is fault
    await meter.close()
