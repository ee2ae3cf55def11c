import pytest

from sparsam.hardware.battery import BatteryMeter, battery_meter
from sparsam.hardware.meter import Fault, Gap, Reading
from tests.support.sysfs import FakeSysfs, SteppedClock


@pytest.fixture
def sysfs(tmp_path) -> FakeSysfs:
    return FakeSysfs(tmp_path)


def battery(sysfs: FakeSysfs, name: str = "BAT0", **attributes: object) -> BatteryMeter:
    for attribute, value in {"type": "Battery", "status": "Discharging", **attributes}.items():
        sysfs.write(f"class/power_supply/{name}/{attribute}", value)
    meter = battery_meter(sysfs.root, SteppedClock())
    assert meter is not None
    return meter


async def test_a_discharging_battery_shows_the_laptop(sysfs):
    reading = await battery(sysfs, power_now=8_250_000).read()
    assert isinstance(reading, Reading) and reading.watts == pytest.approx(8.25)


async def test_current_and_voltage_do_where_power_is_missing(sysfs):
    reading = await battery(sysfs, current_now=-700_000, voltage_now=12_000_000).read()
    assert isinstance(reading, Reading) and reading.watts == pytest.approx(8.4)


async def test_two_batteries_are_added_and_one_that_rests_is_nothing(sysfs):
    battery(sysfs, "BAT0", power_now=5_000_000)
    battery(sysfs, "BAT1", power_now=4_000_000)
    reading = await battery(sysfs, "BAT2", status="Not charging", power_now=0).read()
    assert isinstance(reading, Reading) and reading.watts == pytest.approx(9.0)


@pytest.mark.parametrize(
    ("attributes", "fault"),
    [
        ({"status": "Charging", "power_now": 20_000_000}, Fault.ON_MAINS),
        ({"status": "Full", "power_now": 0}, Fault.ON_MAINS),
        ({"power_now": 0}, Fault.IMPLAUSIBLE),
        ({"power_now": 10**18}, Fault.IMPLAUSIBLE),
        ({"power_now": "x"}, Fault.ABSENT),
        ({"current_now": 1}, Fault.ABSENT),
    ],
)
async def test_on_mains_and_in_doubt_there_is_a_gap(sysfs, attributes, fault):
    gap = await battery(sysfs, **attributes).read()
    assert isinstance(gap, Gap) and gap.fault is fault


def test_a_mouse_is_no_laptop(sysfs):
    sysfs.write("class/power_supply/hidpp_battery_0/type", "Battery")
    sysfs.write("class/power_supply/hidpp_battery_0/scope", "Device")
    sysfs.write("class/power_supply/AC/type", "Mains")
    assert battery_meter(sysfs.root, SteppedClock()) is None
