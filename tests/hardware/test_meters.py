"""What every meter keeps to, real or fake: one suite over all of them."""

import contextlib
import logging
import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from sparsam.hardware.battery import battery_meter
from sparsam.hardware.estimate import ModelMeter
from sparsam.hardware.hwmon import hwmon_meters
from sparsam.hardware.ipmi import IpmiConfig, IpmiMeter
from sparsam.hardware.meter import Domain, Gap, Meter, Provenance, Reading
from sparsam.hardware.prometheus import PRESETS, PrometheusConfig, PrometheusSource
from sparsam.hardware.rapl import rapl_meters
from sparsam.hardware.redfish import RedfishMeter
from sparsam.hardware.redfish_session import RedfishConfig
from sparsam.hardware.warner import Warner
from tests.support.meters import ScriptedMeter
from tests.support.redfish import PASSWORD, USER, bmc
from tests.support.sysfs import FakeSysfs, SteppedClock

Opened = contextlib.AbstractAsyncContextManager[Meter]
Opener = Callable[[Path, SteppedClock], Opened]


@contextlib.asynccontextmanager
async def rapl(folder: Path, clock: SteppedClock) -> AsyncIterator[Meter]:
    sysfs = FakeSysfs(folder)
    zones = sysfs.two_sockets()
    (meter,) = rapl_meters(folder, clock, Warner(logging.getLogger("test")))
    await meter.read()
    clock.seconds += 1.0
    for zone in zones.values():
        zone.draw(20.0, 1.0)
    yield meter


@contextlib.asynccontextmanager
async def hwmon(folder: Path, clock: SteppedClock) -> AsyncIterator[Meter]:
    FakeSysfs(folder).chip(0, "power_meter", power1_average=200_000_000)
    yield hwmon_meters(folder, clock)[0]


@contextlib.asynccontextmanager
async def battery(folder: Path, clock: SteppedClock) -> AsyncIterator[Meter]:
    for attribute, value in (("type", "Battery"), ("status", "Discharging"), ("power_now", 9_000_000)):
        FakeSysfs(folder).write(f"class/power_supply/BAT0/{attribute}", value)
    meter = battery_meter(folder, clock)
    assert meter is not None
    yield meter


@contextlib.asynccontextmanager
async def redfish(folder: Path, clock: SteppedClock) -> AsyncIterator[Meter]:
    async with bmc("dell", folder) as service:
        yield RedfishMeter(RedfishConfig(service.url, USER, PASSWORD, service.ca_file), clock)


@contextlib.asynccontextmanager
async def ipmi(folder: Path, clock: SteppedClock) -> AsyncIterator[Meter]:
    program = folder / "ipmitool"
    program.write_text("#!/bin/sh\necho ' Instantaneous power reading: 212 Watts'\n")
    program.chmod(0o755)
    yield IpmiMeter(IpmiConfig(program=str(program)), clock)


@contextlib.asynccontextmanager
async def model(_: Path, clock: SteppedClock) -> AsyncIterator[Meter]:
    yield ModelMeter(lambda u: (100.0 + u, 0.2), lambda: 0.5, clock, why="no sensors")


@contextlib.asynccontextmanager
async def absent_prometheus(_: Path, clock: SteppedClock) -> AsyncIterator[Meter]:
    source = PrometheusSource(PrometheusConfig("http://127.0.0.1:1"), PRESETS["kepler"], clock)
    yield source.meter("n1")
    await source.close()


@contextlib.asynccontextmanager
async def scripted(_: Path, clock: SteppedClock) -> AsyncIterator[Meter]:
    yield ScriptedMeter(clock, 100.0)


WORKING = [rapl, hwmon, battery, redfish, ipmi, model, scripted]


@pytest.mark.parametrize("opener", [*WORKING, absent_prometheus])
async def test_a_meter_says_what_it_is_and_keeps_to_it(tmp_path, opener: Opener):
    clock = SteppedClock()
    async with opener(tmp_path, clock) as meter:
        assert meter.domain in Domain
        assert meter.provenance in Provenance
        found = await meter.read()
        if opener is absent_prometheus:
            assert isinstance(found, Gap)
            assert found.source == meter.source
            assert found.detail
        else:
            assert isinstance(found, Reading), found
            assert found.source.startswith(meter.source)
            assert (found.domain, found.provenance) == (meter.domain, meter.provenance)
            assert math.isfinite(found.watts) and found.watts > 0.0
            assert 0.0 < found.uncertainty_ratio < 1.0
            assert found.parts == {} or sum(found.parts.values()) == pytest.approx(found.watts)
        assert found.at_seconds <= clock.seconds
        await meter.close()
        await meter.close()
