import logging
import os
import tempfile
import threading
from pathlib import Path

import pytest

from sparsam.hardware.meter import Domain, Fault, Gap, Reading
from sparsam.hardware.rapl import RaplMeter, rapl_meters
from sparsam.hardware.warner import Warner
from tests.support.sysfs import FakeSysfs, FakeZone, SteppedClock, without_root


@pytest.fixture
def sysfs(tmp_path: Path) -> FakeSysfs:
    return FakeSysfs(tmp_path)


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


def meters(sysfs: FakeSysfs, clock: SteppedClock) -> list[RaplMeter]:
    return rapl_meters(sysfs.root, clock, Warner(logging.getLogger("test")))


async def step(
    meter: RaplMeter, clock: SteppedClock, watts: dict[FakeZone, float], seconds: float = 5.0
) -> Reading | Gap:
    for zone, zone_watts in watts.items():
        zone.draw(zone_watts, seconds)
    clock.seconds += seconds
    return await meter.read()


async def test_sockets_and_memory_are_added_once_although_the_kernel_shows_them_twice(sysfs, clock):
    zones = sysfs.two_sockets()
    (meter,) = meters(sysfs, clock)
    first = await meter.read()
    assert isinstance(first, Gap) and first.fault is Fault.FIRST
    watts = {"package-0": 90.0, "package-1": 60.0, "dram-0": 8.0, "dram-1": 7.0, "core-0": 70.0, "mmio-0": 90.0}
    reading = await step(meter, clock, {zones[name]: value for name, value in watts.items()})
    assert isinstance(reading, Reading)
    assert reading.watts == pytest.approx(165.0, abs=1e-3)
    assert reading.joules == pytest.approx(825.0, abs=1e-3)
    assert reading.domain is Domain.PACKAGE_DRAM
    assert {part: round(value) for part, value in reading.parts.items()} == {
        "package-0": 90,
        "package-1": 60,
        "dram-0": 8,
        "dram-1": 7,
    }


async def test_psys_is_a_meter_of_its_own_and_comes_first(sysfs, clock):
    sysfs.zone("intel-rapl:0", "package-0")
    psys = sysfs.zone("intel-rapl:1", "psys")
    platform, package = meters(sysfs, clock)
    assert (platform.domain, package.domain) == (Domain.PLATFORM, Domain.PACKAGE)
    await platform.read()
    reading = await step(platform, clock, {psys: 21.0})
    assert isinstance(reading, Reading) and reading.watts == pytest.approx(21.0)
    assert reading.source == "rapl:psys"


async def test_the_mmio_zones_serve_where_the_others_are_missing(sysfs, clock):
    zone = sysfs.zone("intel-rapl-mmio:0", "package-0")
    (meter,) = meters(sysfs, clock)
    await meter.read()
    reading = await step(meter, clock, {zone: 15.0})
    assert isinstance(reading, Reading) and reading.watts == pytest.approx(15.0)


async def test_many_wraps_lose_no_energy(sysfs, clock):
    zone = sysfs.zone("intel-rapl:0", "package-0", range_uj=10_000_000_000)
    (meter,) = meters(sysfs, clock)
    await meter.read()
    total = 0.0
    for _ in range(100):
        reading = await step(meter, clock, {zone: 300.0})
        assert isinstance(reading, Reading)
        total += reading.joules or 0.0
    assert total == pytest.approx(100 * 5 * 300.0)


async def test_a_reset_counter_is_a_gap_and_then_works(sysfs, clock):
    zone = sysfs.zone("intel-rapl:0", "package-0", raw_uj=5_000_000_000)
    (meter,) = meters(sysfs, clock)
    await meter.read()
    zone.set(0)
    gap = await step(meter, clock, {})
    assert isinstance(gap, Gap) and gap.fault is Fault.RESET
    reading = await step(meter, clock, {zone: 50.0})
    assert isinstance(reading, Reading) and reading.watts == pytest.approx(50.0)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("nan", Fault.MALFORMED),
        ("", Fault.MALFORMED),
        ("12 34", Fault.MALFORMED),
        ("-1", Fault.NEGATIVE),
        ("9" * 18, Fault.IMPLAUSIBLE),
        ("262143328850000", Fault.IMPLAUSIBLE),
    ],
)
async def test_nonsense_is_a_gap_and_costs_no_energy_count_beyond_itself(sysfs, clock, text, fault):
    zone = sysfs.zone("intel-rapl:0", "package-0")
    (meter,) = meters(sysfs, clock)
    await meter.read()
    zone.write(text)
    gap = await step(meter, clock, {})
    assert isinstance(gap, Gap) and gap.fault is fault
    zone.draw(40.0, 10.0)
    clock.seconds += 5
    reading = await meter.read()
    if isinstance(reading, Gap):
        assert reading.fault is Fault.FIRST
        reading = await step(meter, clock, {zone: 40.0})
    assert isinstance(reading, Reading) and reading.watts == pytest.approx(40.0)


async def test_a_counter_that_stands_still_is_called_stuck_only_after_a_while(sysfs, clock):
    zone = sysfs.zone("intel-rapl:0", "package-0")
    (meter,) = meters(sysfs, clock)
    await meter.read()
    faults = []
    for _ in range(4):
        gap = await step(meter, clock, {})
        assert isinstance(gap, Gap)
        faults.append(gap.fault)
    assert faults == [Fault.UNCHANGED, Fault.STUCK, Fault.STUCK, Fault.STUCK]
    gap = await step(meter, clock, {zone: 40.0})
    assert isinstance(gap, Gap) and gap.fault is Fault.FIRST
    reading = await step(meter, clock, {zone: 40.0})
    assert isinstance(reading, Reading) and reading.watts == pytest.approx(40.0)


async def test_a_late_update_is_counted_over_the_whole_time(sysfs, clock):
    zone = sysfs.zone("intel-rapl:0", "package-0")
    (meter,) = meters(sysfs, clock)
    await meter.read()
    assert isinstance(await step(meter, clock, {}), Gap)
    zone.draw(30.0, 5.0)
    reading = await step(meter, clock, {zone: 30.0})
    assert isinstance(reading, Reading)
    assert (reading.joules, reading.interval_seconds) == (pytest.approx(300.0), pytest.approx(10.0))


async def test_a_socket_that_vanishes_is_a_gap_never_half_a_sum(sysfs, clock):
    zones = sysfs.two_sockets()
    (meter,) = meters(sysfs, clock)
    await meter.read()
    (zones["package-1"].path / "energy_uj").rename(sysfs.root / "gone")
    rest = {zone: 50.0 for name, zone in zones.items() if name != "package-1"}
    gap = await step(meter, clock, rest)
    assert isinstance(gap, Gap) and gap.fault is Fault.ABSENT
    assert "package-1" in gap.detail


async def test_memory_that_fails_is_left_out_and_the_reading_says_so(sysfs, clock, caplog):
    zones = sysfs.two_sockets()
    (meter,) = meters(sysfs, clock)
    await meter.read()
    (zones["dram-1"].path / "energy_uj").unlink()
    live = {zones["package-0"]: 50.0, zones["package-1"]: 50.0, zones["dram-0"]: 5.0}
    for _ in range(3):
        reading = await step(meter, clock, live)
        assert isinstance(reading, Reading)
        assert reading.watts == pytest.approx(105.0)
        assert (reading.domain, reading.note) == (Domain.PACKAGE, "without dram-1: absent")
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1


async def test_without_rights_the_gap_says_so(clock):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        sysfs = FakeSysfs(Path(folder))
        zone = sysfs.zone("intel-rapl:0", "package-0")
        (zone.path / "energy_uj").chmod(0o400)
        (meter,) = meters(sysfs, clock)
        if os.geteuid() != 0:
            (zone.path / "energy_uj").chmod(0)
        with without_root():
            gap = await meter.read()
        assert isinstance(gap, Gap) and gap.fault is Fault.DENIED
        assert "root" in gap.detail


async def test_a_machine_without_rapl_has_no_such_meter(sysfs, clock):
    assert meters(sysfs, clock) == []
    sysfs.write("class/powercap/intel-rapl/enabled", 1)
    assert meters(sysfs, clock) == []


async def test_a_file_that_changes_under_the_reader_never_makes_a_wrong_reading(sysfs, clock):
    zone = sysfs.zone("intel-rapl:0", "package-0", raw_uj=1_000_000_000)
    (meter,) = meters(sysfs, clock)
    await meter.read()
    stop = threading.Event()

    def scribble() -> None:
        while not stop.is_set():
            zone.draw(100.0, 0.001)

    writer = threading.Thread(target=scribble)
    writer.start()
    try:
        seen = []
        for _ in range(500):
            clock.seconds += 5
            seen.append(await meter.read())
    finally:
        stop.set()
        writer.join()
    assert all(reading.watts <= 1000.0 for reading in seen if isinstance(reading, Reading))
    await step(meter, clock, {zone: 100.0})
    reading = await step(meter, clock, {zone: 100.0})
    assert isinstance(reading, Reading) and reading.watts == pytest.approx(100.0)
