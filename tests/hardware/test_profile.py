from pathlib import Path

import pytest

from sparsam.hardware.profile import Profile, read_profile
from tests.support.sysfs import FakeSysfs

CPUINFO = """processor\t: {thread}
model name\t: Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz
physical id\t: {socket}
core id\t\t: {core}
flags\t\t: fpu {flags}
"""


def machine(
    root: Path, *, flags: str = "", driver: str = "intel_pstate", governor: str = "powersave", preference: str = ""
) -> Profile:
    sysfs = FakeSysfs(root / "sys")
    threads = [(socket, core) for socket in range(2) for core in range(4) for _ in range(2)]
    blocks = [
        CPUINFO.format(thread=index, socket=socket, core=core, flags=flags)
        for index, (socket, core) in enumerate(threads)
    ]
    proc = FakeSysfs(root / "proc")
    proc.write("cpuinfo", "\n".join(blocks))
    proc.write("meminfo", "MemTotal:       263856516 kB\nMemFree: 1 kB")
    for index in range(len(threads)):
        base = f"devices/system/cpu/cpu{index}/cpufreq"
        sysfs.write(f"{base}/scaling_driver", driver)
        sysfs.write(f"{base}/scaling_governor", governor)
        sysfs.write(f"{base}/cpuinfo_max_freq", 3_200_000)
        if preference:
            sysfs.write(f"{base}/energy_performance_preference", preference)
    sysfs.write("devices/system/cpu/intel_pstate/no_turbo", 0)
    sysfs.write("class/dmi/id/sys_vendor", "Dell Inc.")
    sysfs.write("class/dmi/id/product_name", "PowerEdge R750")
    sysfs.write("class/dmi/id/bios_version", "1.9.2")
    return read_profile(sysfs.root, proc.root)


def test_the_machine_is_described(tmp_path):
    profile = machine(tmp_path, preference="balance_performance")
    assert profile.cpu_name == "Intel(R) Xeon(R) Gold 6338 CPU @ 2.00GHz"
    assert (profile.sockets, profile.cores, profile.threads) == (2, 8, 16)
    assert (profile.vendor, profile.product, profile.bios_version) == ("Dell Inc.", "PowerEdge R750", "1.9.2")
    assert (profile.memory_bytes, profile.max_mhz, profile.turbo) == (263856516 * 1024, 3200.0, True)
    assert profile.hypervisor == ""


@pytest.mark.parametrize(
    ("driver", "governor", "preference", "bias"),
    [
        ("intel_pstate", "powersave", "balance_performance", "balanced"),
        ("intel_pstate", "powersave", "power", "efficiency"),
        ("intel_pstate", "powersave", "performance", "performance"),
        ("intel_pstate", "powersave", "128", "balanced"),
        ("intel_pstate", "performance", "", "performance"),
        ("acpi-cpufreq", "powersave", "", "efficiency"),
        ("acpi-cpufreq", "schedutil", "", "balanced"),
        ("acpi-cpufreq", "userspace", "", "unknown"),
    ],
)
def test_the_bias_follows_from_driver_governor_and_preference(tmp_path, driver, governor, preference, bias):
    assert machine(tmp_path, driver=driver, governor=governor, preference=preference).bias == bias


def test_a_virtual_machine_is_called_one(tmp_path):
    assert machine(tmp_path, flags="hypervisor").hypervisor == "Dell Inc. PowerEdge R750"


def test_processors_that_differ_are_mixed(tmp_path):
    machine(tmp_path)
    (tmp_path / "sys/devices/system/cpu/cpu3/cpufreq/scaling_governor").write_text("performance\n")
    assert read_profile(tmp_path / "sys", tmp_path / "proc").governor == "mixed"


def test_an_empty_machine_is_an_empty_profile(tmp_path):
    assert read_profile(tmp_path, tmp_path) == Profile()
    assert Profile().bias == "unknown"


def test_the_machine_at_hand_can_be_read():
    profile = read_profile()
    assert profile.threads >= 1
    assert profile.memory_bytes > 0
