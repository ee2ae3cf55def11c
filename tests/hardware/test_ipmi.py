import os
import shutil
import stat
import time
from pathlib import Path

import pytest

from sparsam.hardware.guards import Verdict
from sparsam.hardware.ipmi import IpmiConfig, IpmiMeter, parse_complaint, parse_power_reading
from sparsam.hardware.meter import Domain, Fault, Gap, Reading
from tests.support.ipmi import FakeBmc, bmc_socket
from tests.support.sysfs import SteppedClock

# As ipmitool 1.8.19 prints it (recorded), and 1.8.18, whose timestamp has a line and another form of its own.
NEWER = """
    Instantaneous power reading:                   {watts} Watts
    Minimum during sampling period:                 18 Watts
    Maximum during sampling period:                419 Watts
    Average power reading over sample period:      208 Watts
    IPMI timestamp:                           11/14/23 22:13:20 UTC    Sampling period:                          00000001 Seconds.
    Power reading state is:                   {state}


"""
OLDER = """
    Instantaneous power reading:                   {watts} Watts
    Minimum during sampling period:                 18 Watts
    Maximum during sampling period:                419 Watts
    Average power reading over sample period:      208 Watts
    IPMI timestamp:                           Thu Jan  1 00:00:00 1970
    Sampling period:                          00000001 Seconds.
    Power reading state is:                   {state}
"""


@pytest.mark.parametrize("form", [NEWER, OLDER])
@pytest.mark.parametrize(
    ("watts", "state", "expected"),
    [
        (212, "activated", 212.0),
        (212, "deactivated", Fault.INACTIVE),
        (212, "not active", Fault.INACTIVE),
        (0, "activated", Fault.IMPLAUSIBLE),
        (65535, "activated", Fault.IMPLAUSIBLE),
        (-3, "activated", Fault.NEGATIVE),
    ],
)
def test_both_forms_are_understood_in_every_state(form, watts, state, expected):
    found = parse_power_reading(form.format(watts=watts, state=state))
    assert (found.fault if isinstance(found, Verdict) else found) == expected


@pytest.mark.parametrize("text", ["", "\x00\xff", "Instantaneous power reading: nan Watts", "{}", "Watts" * 1000])
def test_garbage_is_malformed(text):
    found = parse_power_reading(text)
    assert isinstance(found, Verdict) and found.fault is Fault.MALFORMED
    assert len(found.detail) < 200


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (
            "Could not open device at /dev/ipmi0 or /dev/ipmi/0 or /dev/ipmidev/0: No such file or directory",
            Fault.ABSENT,
        ),
        ("Could not open device at /dev/ipmi0 or /dev/ipmi/0 or /dev/ipmidev/0: Permission denied", Fault.DENIED),
        ("\n    DCMI request failed because: Invalid command (c1)", Fault.ABSENT),
        ("\n    DCMI request failed because: Timeout (c3)", Fault.UNREACHABLE),
        ("\n    DCMI request failed because: Insufficient privilege level (d4)", Fault.UNAUTHORIZED),
        ("Error: Unable to establish IPMI v2 / RMCP+ session", Fault.UNREACHABLE),
        ("RAKP 2 HMAC is invalid", Fault.UNAUTHORIZED),
        ("Segmentation fault", Fault.MALFORMED),
        ("", Fault.MALFORMED),
    ],
)
def test_complaints_have_a_meaning(text, fault):
    assert parse_complaint(text).fault is fault


def program(folder: Path, body: str) -> str:
    """A stand-in for ipmitool."""
    path = folder / "ipmitool"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def meter(path: str, **config: float) -> IpmiMeter:
    return IpmiMeter(IpmiConfig(program=path, **config), SteppedClock())


async def test_a_program_on_the_path_is_asked(tmp_path, monkeypatch):
    program(
        tmp_path, f"[ \"$*\" = 'dcmi power reading' ] && cat <<'EOF'\n{NEWER.format(watts=212, state='activated')}EOF"
    )
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    reading = await IpmiMeter(IpmiConfig(), SteppedClock()).read()
    assert isinstance(reading, Reading)
    assert (reading.watts, reading.domain, reading.source) == (212.0, Domain.WALL, "ipmi:dcmi")


async def test_a_missing_program_is_a_clear_reason(tmp_path):
    gap = await meter(str(tmp_path / "nothing")).read()
    assert isinstance(gap, Gap) and gap.fault is Fault.ABSENT
    assert "install ipmitool" in gap.detail


async def test_a_program_that_may_not_run_is_a_gap(tmp_path):
    path = tmp_path / "ipmitool"
    path.write_text("#!/bin/sh\n")
    gap = await meter(str(path)).read()
    assert isinstance(gap, Gap) and gap.fault is Fault.DENIED


async def test_a_hanging_program_is_ended(tmp_path):
    path = program(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 30")
    started = time.monotonic()
    gap = await meter(path, timeout_seconds=0.3).read()
    assert isinstance(gap, Gap) and gap.fault is Fault.TIMEOUT
    assert time.monotonic() - started < 20.0
    pid = tmp_path / "pid"
    assert not pid.exists() or not Path(f"/proc/{pid.read_text().strip()}").exists()


async def test_the_bmc_is_left_alone_between_samples(tmp_path):
    path = program(tmp_path, f"echo x >> {tmp_path}/asked; cat <<'EOF'\n{NEWER.format(watts=50, state='activated')}EOF")
    clock = SteppedClock()
    ipmi = IpmiMeter(IpmiConfig(program=path, min_interval_seconds=10.0), clock)
    for _ in range(21):
        assert isinstance(await ipmi.read(), Reading)
        clock.seconds += 1.0
    assert (tmp_path / "asked").read_text().count("x") == 3


def test_a_password_is_never_among_the_arguments():
    arguments = IpmiConfig(host="bmc1", user="me", password="secret").arguments()
    assert "secret" not in arguments
    assert arguments == ["-I", "lanplus", "-H", "bmc1", "-U", "me", "-E", "dcmi", "power", "reading"]


needs_ipmitool = pytest.mark.skipif(shutil.which("ipmitool") is None, reason="needs Debian's ipmitool")


@needs_ipmitool
@pytest.mark.parametrize(
    ("bmc", "expected"),
    [
        (FakeBmc(watts=333), 333.0),
        (FakeBmc(active=False), Fault.INACTIVE),
        (FakeBmc(watts=0), Fault.IMPLAUSIBLE),
        (FakeBmc(completion_code=0xC1), Fault.ABSENT),
        (FakeBmc(completion_code=0xC3), Fault.UNREACHABLE),
        (FakeBmc(completion_code=0xD4), Fault.UNAUTHORIZED),
        (FakeBmc(silent=True), Fault.TIMEOUT),
    ],
)
async def test_the_real_ipmitool_is_understood(tmp_path, monkeypatch, bmc, expected):
    monkeypatch.setenv("IPMI_DUMMY_SOCK", str(tmp_path / "bmc"))
    seconds = 0.5 if bmc.silent else 20.0
    async with bmc_socket(tmp_path / "bmc", bmc):
        found = await IpmiMeter(IpmiConfig(interface="dummy", timeout_seconds=seconds), SteppedClock()).read()
    assert (found.fault if isinstance(found, Gap) else found.watts) == expected


@needs_ipmitool
@pytest.mark.skipif(Path("/dev/ipmi0").exists(), reason="this machine has a BMC")
async def test_a_machine_without_a_bmc_says_so():
    gap = await IpmiMeter(IpmiConfig(), SteppedClock()).read()
    assert isinstance(gap, Gap) and gap.fault is Fault.ABSENT
    assert "/dev/ipmi0" in gap.detail
