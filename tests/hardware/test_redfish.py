import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sparsam.hardware.environment import Environment, Fan
from sparsam.hardware.meter import Domain, Fault, Gap, Reading
from sparsam.hardware.redfish import RedfishMeter
from sparsam.hardware.redfish_session import RedfishConfig
from tests.support.redfish import PASSWORD, USER, Bmc, bmc
from tests.support.sysfs import SteppedClock


@contextlib.asynccontextmanager
async def metering(
    vendor: str, folder: Path, **changes: object
) -> AsyncIterator[tuple[RedfishMeter, Bmc, SteppedClock]]:
    """A BMC of that vendor and a meter of it, on a clock that the test moves."""
    async with bmc(vendor, folder) as service:
        clock = SteppedClock()
        settings = {"username": USER, "password": PASSWORD, "ca_file": service.ca_file, **changes}
        meter = RedfishMeter(RedfishConfig(service.url, **settings), clock)
        try:
            yield meter, service, clock
        finally:
            await meter.close()


async def sample(meter: RedfishMeter, clock: SteppedClock, seconds: float = 10.0) -> Reading | Gap:
    clock.seconds += seconds
    return await meter.read()


@pytest.mark.parametrize(
    ("vendor", "source", "note", "inlet", "fan"),
    [
        ("dell", "redfish:Power", "Dell iDRAC, chassis System.Embedded.1", 22.0, Fan("System Board Fan1A", 7080.0)),
        (
            "dell_sensors",
            "redfish:Sensors",
            "Dell iDRAC, chassis System.Embedded.1",
            22.0,
            Fan("System Board Fan1A", 7080.0),
        ),
        ("hpe", "redfish:Power", "HPE iLO, chassis 1", 23.0, Fan("Fan 1", None, 0.14)),
        ("ilo4", "redfish:Power", "HPE iLO, chassis 1", 21.0, Fan("Fan 1", None, 0.06)),
        ("lenovo", "redfish:Power", "Lenovo XCC, chassis 1", 24.0, Fan("Fan 1 Tach", 5530.0)),
        ("supermicro", "redfish:Power/PowerSupplies", "Supermicro, chassis 1", 28.0, Fan("FAN1", 4200.0)),
        ("fujitsu", "redfish:Power/Oem", "Fujitsu iRMC, chassis 0", 25.0, None),
        ("openbmc", "redfish:EnvironmentMetrics", "OpenBMC, chassis chassis", 26.5, Fan("fanpwm_fan0", 9100.0, 0.45)),
        ("dmtf", "redfish:PowerSubsystem", "generic Redfish, chassis 1U", 24.8, None),
    ],
)
async def test_each_vendors_power_inlet_and_fans_are_found(tmp_path, vendor, source, note, inlet, fan):
    async with metering(vendor, tmp_path) as (meter, service, clock):
        reading = await meter.read()
        assert isinstance(reading, Reading), reading
        assert (reading.watts, reading.source, reading.note) == (212.0, source, note)
        assert reading.domain is (Domain.PLATFORM if vendor == "dell_sensors" else Domain.WALL)
        environment = await meter.environment()
        assert isinstance(environment, Environment)
        assert environment.inlet_celsius == inlet
        assert environment.fans == ((fan,) if fan else ())
        await service.steer(watts=300)
        reading = await sample(meter, clock)
        assert isinstance(reading, Reading) and reading.watts == 300.0


@pytest.mark.parametrize(
    ("vendor", "expected"),
    [
        ("dell", "PerfPerWattOptimizedDapc"),
        ("hpe", "Virtualization-MaxPerformance"),
        ("lenovo", "Efficiency_FavorPower"),
        ("openbmc", Fault.ABSENT),
        ("bare", Fault.ABSENT),
    ],
)
async def test_the_firmwares_profile_is_read_where_there_is_one(tmp_path, vendor, expected):
    async with metering(vendor, tmp_path) as (meter, _, _):
        found = await meter.firmware_profile()
        assert (found.fault if isinstance(found, Gap) else found) == expected


async def test_two_questions_at_once_share_one_session(tmp_path):
    async with metering("dell", tmp_path) as (meter, service, _):
        await asyncio.gather(meter.read(), meter.environment(), meter.firmware_profile())
        assert (await service.steer())["logins"] == 1


async def test_a_sample_is_one_request_and_the_bmc_is_left_alone_between(tmp_path):
    async with metering("lenovo", tmp_path, min_interval_seconds=5.0) as (meter, service, clock):
        await meter.read()
        before = (await service.steer())["requests"]
        for _ in range(50):
            assert isinstance(await sample(meter, clock, 0.5), Reading)
        after = await service.steer()
        assert after["requests"] - before == 5
        assert after["logins"] == 1


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("garbage", Fault.MALFORMED),
        ("cut", Fault.MALFORMED),
        ("deep", Fault.MALFORMED),
        ("list", Fault.MALFORMED),
        ("huge", Fault.MALFORMED),
        ("away", Fault.MALFORMED),
        ("drop", Fault.UNREACHABLE),
        ("throttle", Fault.THROTTLED),
        ("refuse", Fault.UNAUTHORIZED),
    ],
)
async def test_a_bmc_that_misbehaves_is_a_gap_and_serves_again_afterwards(tmp_path, fault, expected):
    async with metering("dell", tmp_path) as (meter, service, clock):
        assert isinstance(await meter.read(), Reading)
        await service.steer(fault=fault)
        gap = await sample(meter, clock)
        assert isinstance(gap, Gap) and gap.fault is expected
        await service.steer(fault="")
        reading = await sample(meter, clock, 400.0)
        assert isinstance(reading, Reading) and reading.watts == 212.0


IMPOSSIBLE = [
    ("nan", Fault.NOT_A_NUMBER),
    ("inf", Fault.IMPLAUSIBLE),
    (-1, Fault.NEGATIVE),
    (0, Fault.IMPLAUSIBLE),
    (1e15, Fault.IMPLAUSIBLE),
]


@pytest.mark.parametrize("vendor", ["dell", "supermicro", "fujitsu", "openbmc", "dmtf"])
async def test_a_number_that_cannot_be_is_a_gap(tmp_path, vendor):
    async with metering(vendor, tmp_path) as (meter, service, clock):
        for watts, fault in IMPOSSIBLE:
            await service.steer(watts=watts)
            gap = await sample(meter, clock)
            assert isinstance(gap, Gap), watts
            assert gap.fault is fault, watts
        await service.steer(watts=100)
        assert isinstance(await sample(meter, clock), Reading)


@pytest.mark.parametrize(("vendor", "fault"), [("dell", Fault.ABSENT), ("supermicro", Fault.IMPLAUSIBLE)])
async def test_a_number_that_is_missing_is_a_gap(tmp_path, vendor, fault):
    async with metering(vendor, tmp_path) as (meter, service, _):
        await service.steer(watts=None)
        gap = await meter.read()
        # Supermicro's own entry always says zero, so with its supplies silent that is the reason.
        assert isinstance(gap, Gap) and gap.fault is fault


async def test_a_bmc_that_hangs_costs_the_timeout_and_then_nothing(tmp_path):
    async with metering("dell", tmp_path, timeout_seconds=0.3) as (meter, service, clock):
        await service.steer(fault="hang")
        started = time.monotonic()
        for _ in range(5):
            gap = await sample(meter, clock, 1.0)
            assert isinstance(gap, Gap) and gap.fault is Fault.TIMEOUT
        assert time.monotonic() - started < 10.0
        assert (await service.steer(fault=""))["requests"] == 1
        assert isinstance(await sample(meter, clock, 300.0), Reading)


async def test_several_nodes_behind_one_service_need_a_name(tmp_path):
    async with metering("two_nodes", tmp_path) as (meter, _, _):
        gap = await meter.read()
        assert isinstance(gap, Gap)
        assert "name the chassis, one of A, B" in gap.detail


@pytest.mark.parametrize(("chassis", "watts"), [("A", 212.0), ("B", 77.0)])
async def test_a_named_chassis_is_the_node(tmp_path, chassis, watts):
    async with metering("two_nodes", tmp_path, chassis=chassis) as (meter, _, _):
        reading = await meter.read()
        assert isinstance(reading, Reading) and reading.watts == watts


async def test_a_chassis_that_does_not_exist_lists_those_that_do(tmp_path):
    async with metering("two_nodes", tmp_path, chassis="C") as (meter, _, _):
        gap = await meter.read()
        assert isinstance(gap, Gap)
        assert gap.detail == "no chassis 'C' among A, B, Shelf"


async def test_a_service_without_power_is_not_searched_in_every_cycle(tmp_path):
    async with metering("bare", tmp_path) as (meter, service, clock):
        for _ in range(12):
            gap = await sample(meter, clock, 5.0)
            assert isinstance(gap, Gap) and gap.fault is Fault.ABSENT
        assert (await service.steer())["requests"] <= 10
        environment = await meter.environment()
        assert isinstance(environment, Gap)
