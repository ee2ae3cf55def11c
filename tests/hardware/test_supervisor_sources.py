"""The supervisor over real sources: a kernel tree, a BMC in another process, the model."""

import logging

from sparsam.hardware.estimate import ModelMeter
from sparsam.hardware.meter import Provenance, Reading
from sparsam.hardware.rapl import rapl_meters
from sparsam.hardware.redfish import RedfishMeter
from sparsam.hardware.redfish_session import RedfishConfig
from sparsam.hardware.supervisor import NodePower, Supervisor, SupervisorConfig
from sparsam.hardware.warner import Warner
from tests.support.redfish import PASSWORD, USER, bmc
from tests.support.sysfs import FakeSysfs, SteppedClock

LOGGER = logging.getLogger("test")


async def test_the_node_is_metered_through_failures_of_one_source_after_another(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    clock, sysfs = SteppedClock(), FakeSysfs(tmp_path / "sys")
    warner = Warner(LOGGER)
    zones = sysfs.two_sockets()
    async with bmc("dell", tmp_path) as service:
        redfish = RedfishMeter(RedfishConfig(service.url, USER, PASSWORD, service.ca_file, timeout_seconds=1.5), clock)
        model = ModelMeter(lambda u: (80.0 + 200.0 * u, 0.26), lambda: 0.5, clock, why="no sensors")
        meters = [redfish, *rapl_meters(sysfs.root, clock, warner), model]
        node = Supervisor(meters, clock, warner, SupervisorConfig(freshest_seconds=8.0))

        async def cycles(count: int) -> list[NodePower]:
            seen = []
            for _ in range(count):
                clock.seconds += 5.0
                for name, zone in zones.items():
                    zone.draw(60.0 if name.startswith("package") else 5.0, 5.0)
                seen.append(await node.read())
            return seen

        def source(found: NodePower) -> str:
            assert isinstance(found.power, Reading)
            return found.power.source

        good = await cycles(4)
        assert source(good[-1]) == "redfish:Power"
        assert {check.other.source: check.agrees for check in good[-1].checks} == {
            "rapl:package+dram": True,
            "model": True,
        }
        assert good[-1].parts["package-0"] > 0.0
        await service.steer(fault="hang")
        failed = await cycles(4)
        assert source(failed[-1]) == "rapl:package+dram"
        for name in ("package-0", "package-1"):
            (zones[name].path / "energy_uj").rename(tmp_path / name)
            zones.pop(name)
        blind = (await cycles(2))[-1]
        assert source(blind) == "model"
        assert isinstance(blind.power, Reading)
        assert (blind.power.provenance, blind.power.note) == (Provenance.ESTIMATED, "no sensors")
        await service.steer(fault="", watts=200)
        clock.seconds += 300.0
        back = await cycles(4)
        assert source(back[-1]) == "redfish:Power"
        await node.close()
    totals = [found.joules_total for found in (*good, *failed, blind, *back)]
    assert totals == sorted(totals)
    warned = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warned) == len(set(warned)) == 2
    assert "redfish fault=timeout" in warned[0]
    assert "rapl:package+dram fault=absent" in warned[1]
