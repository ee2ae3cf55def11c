import logging
from pathlib import Path

from sparsam.hardware.discover import Local, Roots, find_local
from sparsam.hardware.estimate import why_estimated
from sparsam.hardware.meter import Fault
from sparsam.hardware.warner import Warner
from tests.support.sysfs import FakeSysfs, SteppedClock

NO_DRIVER = "libnvidia-ml-that-is-not-there.so.1"


def find(root: Path) -> Local:
    roots = Roots(root / "sys", root / "proc", root / "dev")
    return find_local(SteppedClock(), Warner(logging.getLogger("test")), roots=roots, nvml_library=NO_DRIVER)


def test_an_empty_machine_has_a_reason_for_each_source_it_lacks(tmp_path):
    local = find(tmp_path)
    assert local.meters == ()
    assert {gap.source: gap.fault for gap in local.gaps} == dict.fromkeys(
        ("rapl", "hwmon", "ipmi:dcmi", "gpu:nvml"), Fault.ABSENT
    )
    assert why_estimated(local.profile, local.gaps).startswith("no working power sensor (gpu:nvml absent")


def test_a_full_machine_has_all_its_meters(tmp_path):
    sysfs = FakeSysfs(tmp_path / "sys")
    sysfs.two_sockets()
    sysfs.zone("intel-rapl:2", "psys")
    sysfs.chip(0, "power_meter", power1_average=200_000_000)
    sysfs.write("class/power_supply/BAT0/type", "Battery")
    FakeSysfs(tmp_path / "dev").write("ipmi0", "")
    local = find(tmp_path)
    names = [meter.source for meter in local.meters]
    assert names == ["hwmon:acpi power meter", "rapl:psys", "rapl:package+dram", "battery", "ipmi:dcmi"]
    assert [gap.source for gap in local.gaps] == ["gpu:nvml"]


def test_the_machine_at_hand_accounts_for_every_source():
    local = find_local(SteppedClock(), Warner(logging.getLogger("test")))
    kinds = {meter.source.partition(":")[0] for meter in local.meters}
    kinds |= {gap.source.partition(":")[0] for gap in local.gaps}
    assert kinds - {"battery"} == {"rapl", "hwmon", "ipmi", "gpu"}
