import asyncio
import logging
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsam.hardware.meter import Domain, Fault, Gap, Provenance, Reading
from sparsam.hardware.rapl import rapl_meters
from sparsam.hardware.supervisor import NodePower, Supervisor, SupervisorConfig
from sparsam.hardware.warner import Warner
from tests.support.meters import ScriptedMeter
from tests.support.sysfs import FakeSysfs, SteppedClock


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


def supervisor(clock: SteppedClock, *meters: ScriptedMeter, **config: float) -> Supervisor:
    settings = SupervisorConfig(**{"cycle_seconds": 0.05, **config})
    return Supervisor(meters, clock, Warner(logging.getLogger("test")), settings)


async def cycles(node: Supervisor, clock: SteppedClock, count: int, seconds: float = 5.0) -> list[NodePower]:
    seen = []
    for _ in range(count):
        seen.append(await node.read())
        clock.seconds += seconds
    return seen


def sources(seen: list[NodePower]) -> list[str]:
    return [found.power.source for found in seen]


def warnings(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


async def test_the_widest_measured_source_wins_and_the_model_comes_last(clock):
    wall = ScriptedMeter(clock, 210.0, source="wall")
    psys = ScriptedMeter(clock, 180.0, source="psys", domain=Domain.PLATFORM)
    rapl = ScriptedMeter(clock, 90.0, source="rapl", domain=Domain.PACKAGE_DRAM)
    model = ScriptedMeter(clock, 205.0, source="model", provenance=Provenance.ESTIMATED, uncertainty_ratio=0.2)
    ranked = [wall, psys, rapl, model]
    for start in range(4):
        found = await supervisor(clock, *reversed(ranked[start:])).read()
        assert isinstance(found.power, Reading)
        assert found.power.source == ranked[start].source
        assert [check.other.source for check in found.checks] == [
            meter.source for meter in reversed(ranked[start + 1 :])
        ]


async def test_a_failing_source_is_left_at_once_and_taken_back_when_it_is_steady(clock, caplog):
    caplog.set_level(logging.INFO)
    fails = Fault.UNREACHABLE
    wall = ScriptedMeter(clock, 200.0, fails, fails, 200.0, fails, 200.0, 200.0, 200.0, source="wall")
    model = ScriptedMeter(clock, 190.0, source="model", provenance=Provenance.ESTIMATED, uncertainty_ratio=0.2)
    seen = await cycles(supervisor(clock, wall, model), clock, 8)
    assert sources(seen) == ["wall", "model", "model", "model", "model", "model", "wall", "wall"]
    assert len(warnings(caplog)) == 1


async def test_ordinary_pauses_of_a_counter_do_not_make_the_source_flap(clock):
    rapl = ScriptedMeter(clock, Fault.FIRST, 90.0, Fault.UNCHANGED, 91.0, source="rapl", domain=Domain.PACKAGE_DRAM)
    model = ScriptedMeter(clock, 150.0, source="model", provenance=Provenance.ESTIMATED, uncertainty_ratio=0.2)
    seen = await cycles(supervisor(clock, rapl, model), clock, 4)
    assert sources(seen) == ["model", "rapl", "rapl", "rapl"]


async def test_a_hanging_source_costs_one_cycle_its_time_and_is_used_again_later(clock, caplog):
    answer = asyncio.Event()
    wall = ScriptedMeter(clock, 200.0, answer, 201.0, source="wall")
    model = ScriptedMeter(clock, 190.0, source="model", provenance=Provenance.ESTIMATED, uncertainty_ratio=0.2)
    node = supervisor(clock, wall, model)
    seen = await cycles(node, clock, 10)
    # Its last reading serves for thirty seconds, then the hang is a gap.
    assert sources(seen) == ["wall"] * 7 + ["model"] * 3
    assert seen[-1].gaps[0].fault is Fault.TIMEOUT
    assert len(warnings(caplog)) == 1
    answer.set()
    assert sources(await cycles(node, clock, 1)) == ["wall"]
    await node.close()


async def test_closing_ends_what_hangs(clock):
    wall = ScriptedMeter(clock, asyncio.Event(), source="wall")
    node = supervisor(clock, wall)
    found = await node.read()
    assert isinstance(found.power, Gap)
    await node.close()
    assert wall.closed


async def test_a_meters_own_bug_is_a_gap_and_takes_nobody_along(clock, caplog):
    wall = ScriptedMeter(clock, ZeroDivisionError("oops"), source="wall")
    psys = ScriptedMeter(clock, 180.0, source="psys", domain=Domain.PLATFORM)
    seen = await cycles(supervisor(clock, wall, psys), clock, 3)
    assert sources(seen) == ["psys"] * 3
    assert seen[0].gaps[0].fault is Fault.INTERNAL
    assert len(warnings(caplog)) == 1


async def test_without_any_source_there_is_a_gap_that_lists_the_reasons(clock, caplog):
    wall = ScriptedMeter(clock, Fault.TLS, source="redfish")
    rapl = ScriptedMeter(clock, Fault.DENIED, source="rapl", domain=Domain.PACKAGE)
    found = (await cycles(supervisor(clock, wall, rapl), clock, 3))[-1]
    assert isinstance(found.power, Gap)
    assert "redfish: TLS failed; rapl: permission denied" in found.power.detail
    assert found.joules_total == 0.0
    assert len(warnings(caplog)) == 3


async def test_two_sources_that_disagree_for_a_while_are_reported_once(clock, caplog):
    wall = ScriptedMeter(clock, 200.0, source="bmc")
    pdu = ScriptedMeter(clock, 320.0, source="pdu", uncertainty_ratio=0.06)
    node = supervisor(clock, wall, pdu)
    seen = await cycles(node, clock, 36)
    assert [found.checks[0].residual_watts for found in seen] == [-120.0] * 36
    assert warnings(caplog) == []
    await cycles(node, clock, 36)
    assert len(warnings(caplog)) == 1
    assert "bmc against pdu" in warnings(caplog)[0]


async def test_a_frozen_sensor_is_found_out_by_the_processors(clock):
    wall = ScriptedMeter(clock, 150.0, source="bmc")
    rapl = ScriptedMeter(clock, *[40.0] * 20, *[120.0] * 30, source="rapl", domain=Domain.PACKAGE)
    seen = await cycles(supervisor(clock, wall, rapl), clock, 40)
    assert sources(seen)[0] == "bmc"
    assert sources(seen)[-1] == "rapl"
    assert seen[-1].gaps[0].fault is Fault.STUCK


async def test_cards_are_added_where_the_source_does_not_see_them(clock):
    rapl = ScriptedMeter(clock, 90.0, source="rapl", domain=Domain.PACKAGE, parts={"package-0": 90.0})
    cards = ScriptedMeter(clock, 250.0, source="gpu:nvml", domain=Domain.GPU, parts={"gpu-0": 250.0})
    found = await supervisor(clock, rapl, cards).read()
    assert isinstance(found.power, Reading)
    assert (found.power.watts, found.power.source) == (340.0, "rapl + gpu:nvml")
    wall = ScriptedMeter(clock, 500.0, source="wall")
    found = await supervisor(clock, wall, rapl, cards).read()
    assert isinstance(found.power, Reading)
    assert found.power.watts == 500.0
    assert found.parts == {"package-0": 90.0, "gpu-0": 250.0}


async def test_cards_that_cannot_be_read_are_named(clock):
    rapl = ScriptedMeter(clock, 90.0, source="rapl", domain=Domain.PACKAGE)
    cards = ScriptedMeter(clock, Fault.UNREACHABLE, source="gpu:nvml", domain=Domain.GPU)
    found = await supervisor(clock, rapl, cards).read()
    assert isinstance(found.power, Reading)
    assert found.power.note == "without cards: gpu:nvml: unreachable"


async def test_energy_goes_on_through_changes_of_source_and_from_before(clock):
    wall = ScriptedMeter(clock, 100.0, 100.0, Fault.UNREACHABLE, 100.0, source="wall")
    model = ScriptedMeter(clock, 80.0, source="model", provenance=Provenance.ESTIMATED, uncertainty_ratio=0.2)
    node = Supervisor([wall, model], clock, Warner(logging.getLogger("test")), joules_before=5000.0)
    seen = await cycles(node, clock, 6)
    totals = [found.joules_total for found in seen]
    assert totals == sorted(totals)
    assert totals[0] == 5000.0
    assert totals[-1] == pytest.approx(5000.0 + 5 * (100 + 80 + 80 + 100 + 100))


async def test_data_that_comes_a_minute_late_serves_as_well_and_its_energy_is_whole(clock):
    pdu = ScriptedMeter(clock, 200.0, source="pdu", age_seconds=60.0)
    seen = await cycles(supervisor(clock, pdu), clock, 11, 60.0)
    assert sources(seen) == ["pdu"] * 11
    assert seen[-1].joules_total == pytest.approx(200.0 * 600.0)


async def test_the_meters_own_draw_is_estimated_from_its_cpu_time(clock):
    spent = iter([1.0, 1.0, 1.5])
    wall = ScriptedMeter(clock, 100.0, source="wall")
    node = Supervisor([wall], clock, Warner(logging.getLogger("test")), cpu_seconds=lambda: next(spent))
    first, second = await cycles(node, clock, 2)
    assert (first.own.watts, second.own.watts) == (0.0, pytest.approx(0.1 * 5.0))
    assert second.own.provenance is Provenance.ESTIMATED


async def test_no_bad_reading_of_a_real_tree_reaches_the_sum(tmp_path, clock, caplog):
    sysfs = FakeSysfs(tmp_path)
    zone = sysfs.zone("intel-rapl:0", "package-0")
    warner = Warner(logging.getLogger("test"))
    model = ScriptedMeter(clock, 60.0, source="model", provenance=Provenance.ESTIMATED, uncertainty_ratio=0.2)
    node = Supervisor([*rapl_meters(sysfs.root, clock, warner), model], clock, warner)
    nonsense = ["nan", "-5", "9" * 30, "0", "", "262143328849999"]
    totals = []
    for step in range(120):
        if step % 4 == 3:
            zone.write(nonsense[step // 4 % len(nonsense)])
        else:
            zone.draw(50.0, 5.0)
        clock.seconds += 5.0
        found = await node.read()
        assert isinstance(found.power, Reading)
        assert 0.0 < found.power.watts <= 60.0
        totals.append(found.joules_total)
    assert totals == sorted(totals)
    assert all(math.isfinite(total) for total in totals)
    assert totals[-1] <= 60.0 * 600.0
    assert len(warnings(caplog)) <= len({"malformed", "negative", "implausible", "reset"})


STEPS = st.one_of(st.floats(), st.sampled_from(Fault), st.just(ZeroDivisionError("oops")))
DOMAINS = [Domain.WALL, Domain.PACKAGE, Domain.GPU, Domain.COMPONENT]


@settings(max_examples=60)
@given(st.lists(st.lists(STEPS, min_size=1, max_size=12), min_size=4, max_size=4), st.floats(0.0, 60.0))
def test_whatever_the_sources_do_energy_only_grows_and_nothing_crashes(scripts, seconds):
    clock = SteppedClock()
    meters = [
        ScriptedMeter(clock, *script, source=domain, domain=domain)
        for script, domain in zip(scripts, DOMAINS, strict=True)
    ]

    async def run() -> list[NodePower]:
        logger = logging.getLogger("quiet")
        logger.disabled = True
        return await cycles(Supervisor(meters, clock, Warner(logger)), clock, 14, seconds)

    seen = asyncio.run(run())
    totals = [found.joules_total for found in seen]
    assert totals == sorted(totals)
    assert all(math.isfinite(total) for total in totals)
    for found in seen:
        assert isinstance(found.power, Gap) or math.isfinite(found.power.watts)
