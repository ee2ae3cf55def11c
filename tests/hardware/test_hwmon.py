import threading

import pytest

from sparsam.hardware import hwmon
from sparsam.hardware.hwmon import HwmonMeter, Sensor, hottest_celsius, hwmon_meters, read_environment
from sparsam.hardware.meter import Domain, Fault, Gap, Reading
from tests.support.sysfs import FakeSysfs, SteppedClock


@pytest.fixture
def sysfs(tmp_path) -> FakeSysfs:
    return FakeSysfs(tmp_path)


def meters(sysfs: FakeSysfs) -> list[HwmonMeter]:
    return hwmon_meters(sysfs.root, SteppedClock())


async def test_an_acpi_power_meter_shows_the_node_with_its_own_accuracy(sysfs):
    sysfs.chip(0, "power_meter", power1_average=212_000_000, power1_input=1, power1_accuracy="90.0%")
    (meter,) = meters(sysfs)
    reading = await meter.read()
    assert isinstance(reading, Reading)
    assert (reading.watts, reading.domain, reading.uncertainty_ratio) == (212.0, Domain.WALL, pytest.approx(0.1))


async def test_old_drivers_keep_their_attributes_one_folder_down(sysfs):
    sysfs.write("class/hwmon/hwmon0/device/name", "power_meter")
    sysfs.write("class/hwmon/hwmon0/device/power1_average", 99_000_000)
    (meter,) = meters(sysfs)
    reading = await meter.read()
    assert isinstance(reading, Reading) and reading.watts == 99.0


async def test_inputs_of_power_supplies_are_added_and_outputs_are_not(sysfs):
    for index in (1, 2):
        sysfs.chip(
            index,
            "pmbus",
            power1_label="pin",
            power1_input=110_000_000 * (index - 1),
            power2_label="pout1",
            power2_input=100_000_000,
        )
    (meter,) = meters(sysfs)
    reading = await meter.read()
    assert isinstance(reading, Reading)
    # The first supply is in stand-by.
    assert (reading.watts, len(reading.parts)) == (110.0, 2)


async def test_a_card_is_a_card_and_a_rail_is_nothing(sysfs):
    sysfs.chip(0, "amdgpu", power1_average=75_000_000, power1_label="PPT")
    sysfs.chip(1, "ina230", power1_input=3_000_000)
    (meter,) = meters(sysfs)
    assert (meter.source, meter.domain) == ("hwmon:amdgpu", Domain.GPU)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("0", Fault.IMPLAUSIBLE),
        ("-5000000", Fault.NEGATIVE),
        ("9" * 20, Fault.IMPLAUSIBLE),
        ("nan", Fault.MALFORMED),
        ("", Fault.MALFORMED),
    ],
)
async def test_nonsense_is_a_gap(sysfs, text, fault):
    sysfs.chip(0, "power_meter", power1_average=text)
    (meter,) = meters(sysfs)
    gap = await meter.read()
    assert isinstance(gap, Gap) and gap.fault is fault


async def test_a_sensor_that_vanishes_is_a_gap_rather_than_a_smaller_sum(sysfs):
    for index in (1, 2):
        sysfs.chip(index, "pmbus", power1_label="pin", power1_input=100_000_000)
    (meter,) = meters(sysfs)
    (sysfs.root / "class/hwmon/hwmon2/power1_input").unlink()
    gap = await meter.read()
    assert isinstance(gap, Gap) and gap.fault is Fault.ABSENT


async def test_a_driver_that_hangs_is_a_timeout_and_is_not_asked_twice(sysfs, monkeypatch):
    monkeypatch.setattr(hwmon, "READ_SECONDS", 0.01)
    answer, asked = threading.Event(), []

    class HangingSensor(Sensor):
        def read(self) -> float:
            asked.append(1)
            answer.wait(10.0)
            return 50.0

    sensor = HangingSensor("x", sysfs.root, 0.05)
    meter = HwmonMeter("hwmon:x", Domain.WALL, [sensor], hwmon.WHOLE_NODE, SteppedClock())
    for _ in range(3):
        gap = await meter.read()
        assert isinstance(gap, Gap) and gap.fault is Fault.TIMEOUT
    assert len(asked) == 1
    answer.set()
    found: Reading | Gap = gap
    while isinstance(found, Gap):
        found = await meter.read()
    assert len(asked) <= 2
    await meter.close()


def test_inlet_and_fans_are_read_where_they_are_labelled(sysfs):
    sysfs.chip(0, "coretemp", temp1_input=55_000, temp1_label="Package id 0")
    sysfs.chip(
        1,
        "board",
        temp1_input=-273_000,
        temp1_label="Inlet A",
        temp2_input=23_500,
        temp2_label="Front Panel Ambient",
        fan1_input=7_200,
        fan1_label="FAN1",
        fan2_input=0,
        fan3_input=9_999_999,
    )
    environment = read_environment(sysfs.root)
    assert (environment.inlet_celsius, environment.inlet_sensor) == (23.5, "board Front Panel Ambient")
    assert [(fan.name, fan.rpm) for fan in environment.fans] == [("board FAN1", 7200.0), ("board fan2", 0.0)]


def test_a_machine_without_sensors_shows_nothing(sysfs):
    assert meters(sysfs) == []
    environment = read_environment(sysfs.root)
    assert (environment.inlet_celsius, environment.fans) == (None, ())


def test_the_hottest_sensor_of_all_counts_and_broken_ones_do_not(tmp_path):
    sysfs = FakeSysfs(tmp_path)
    assert hottest_celsius(tmp_path) is None
    sysfs.write("class/hwmon/hwmon0/temp1_input", 61_000)
    sysfs.write("class/hwmon/hwmon0/temp2_input", 255_000)
    sysfs.write("class/hwmon/hwmon1/temp1_input", "n/a")
    sysfs.write("class/thermal/thermal_zone0/temp", 72_500)
    assert hottest_celsius(tmp_path) == 72.5
