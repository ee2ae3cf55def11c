import pytest

from sparsam.hardware.meter import Provenance
from tests.support.metering import FakeMachine, pod


@pytest.fixture
def machine(tmp_path):
    machine = FakeMachine(tmp_path)
    machine.pods = [pod("web", machine.uid("a")), pod("db", machine.uid("b"))]
    machine.run(1.0, a=0.0, b=0.0)
    return machine


def whole(metered) -> float:
    return sum(metered.parts.values())


async def metered_after(machine, meter, **usage):
    await meter.meter()
    machine.run(10.0, **usage)
    return await meter.meter()


async def test_without_sensors_the_model_says_what_the_node_draws_and_why(machine):
    metered = await metered_after(machine, machine.meter(), a=15.0, b=5.0)
    assert metered.reading.provenance is Provenance.ESTIMATED
    assert metered.reading.watts == pytest.approx(150.0)
    assert metered.utilization == pytest.approx(0.5)
    assert {each.name: each.watts for each in metered.pods} == pytest.approx({"web": 37.5, "db": 12.5})
    assert whole(metered) == pytest.approx(metered.reading.watts)


async def test_processes_outside_of_pods_have_their_own_part(machine):
    metered = await metered_after(machine, machine.meter(), system=10.0, a=10.0)
    assert metered.parts == pytest.approx({"idle": 100.0, "pods": 25.0, "system": 25.0, "unattributed": 0.0})


async def test_a_wall_meter_is_believed_and_what_no_load_explains_is_nobodys(machine):
    machine.sys.write("class/hwmon/hwmon0/name", "power_meter")
    machine.sys.write("class/hwmon/hwmon0/power1_average", 190_000_000)
    metered = await metered_after(machine, machine.meter(), a=4.0)
    assert metered.reading.provenance is Provenance.MEASURED
    assert metered.reading.watts == pytest.approx(190.0)
    # The model explains 110 W at 10 % load, with its margin of a tenth 121 W.
    assert metered.parts["pods"] == pytest.approx(21.0)
    assert metered.parts["unattributed"] == pytest.approx(69.0)
    assert whole(metered) == pytest.approx(190.0)


async def test_of_a_source_that_sees_a_part_the_least_reading_stands_for_idle(machine):
    zone = machine.sys.zone("intel-rapl:0", "package-0")
    meter = machine.meter()
    await meter.meter()
    machine.run(10.0, zone=zone, watts=40.0)
    await meter.meter()
    machine.run(10.0, zone=zone, watts=90.0, a=20.0)
    metered = await meter.meter()
    assert metered.reading.source.startswith("rapl")
    assert metered.parts == pytest.approx({"idle": 40.0, "pods": 50.0, "system": 0.0, "unattributed": 0.0}, abs=0.1)


async def test_containers_share_what_their_pod_has(machine):
    machine.pods = [pod("web", machine.uid("a"), machine.container_id("a__x"), "nginx")]
    machine.run(1.0, a=0.0, a__x=0.0)
    meter = machine.meter()
    await meter.meter()
    machine.run(10.0, a=20.0, a__x=15.0)
    [web] = [each for each in (await meter.meter()).pods if each.name == "web"]
    assert web.containers["nginx"] == pytest.approx(web.watts * 0.75)


async def test_a_pod_that_comes_or_goes_changes_nobody_elses_watts(machine):
    meter = machine.meter()
    before = await metered_after(machine, meter, a=10.0)
    machine.run(10.0, a=10.0, c=0.0)
    after = await meter.meter()
    watts_before, watts_after = ({each.uid: each.watts for each in metered.pods} for metered in (before, after))
    assert watts_after == pytest.approx({**watts_before, machine.uid("c"): 0.0})


async def test_energy_goes_on_over_a_restart_and_never_falls(machine):
    before = await metered_after(machine, machine.meter(), a=10.0)
    machine.run(60.0)
    after = await metered_after(machine, machine.meter(), a=10.0)
    for part, joules in before.joules.items():
        assert after.joules[part] >= joules
    assert after.joules["pods"] == pytest.approx(2 * before.joules["pods"])


async def test_time_asleep_is_a_gap_and_not_energy(machine):
    meter = machine.meter()
    await meter.meter()
    machine.run(3600.0)
    metered = await meter.meter()
    assert sum(metered.joules.values()) == pytest.approx(100.0 * 120.0)
    assert metered.gap_seconds == pytest.approx(3480.0)


async def test_who_asks_again_at_once_gets_the_latest(machine):
    meter = machine.meter()
    first = await metered_after(machine, meter, a=10.0)
    assert await meter.meter(freshest_seconds=2.0) is first
    machine.run(3.0)
    assert await meter.meter(freshest_seconds=2.0) is not first


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("some avg10=1.00 avg60=12.50 avg300=1.00 total=1\nfull avg10=0 avg60=99.00 avg300=0 total=0\n", 0.125),
        ("", None),
    ],
)
async def test_the_kernel_says_how_long_tasks_wait_for_a_cpu(machine, text, expected):
    (machine.proc / "pressure").mkdir()
    (machine.proc / "pressure" / "cpu").write_text(text)
    metered = await metered_after(machine, machine.meter(), a=1.0)
    assert metered.cpu_pressure == expected


async def test_a_kernel_without_pressure_stall_information_is_no_error(machine):
    metered = await metered_after(machine, machine.meter(), a=1.0)
    assert metered.cpu_pressure is None
