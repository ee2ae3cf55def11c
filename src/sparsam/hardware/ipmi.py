"""A BMC's own power reading over IPMI, through `ipmitool dcmi power reading`.

In band it needs /dev/ipmi0 (modules ipmi_si and ipmi_devintf) and root; over the network a password, which goes into
ipmitool's environment and never into its arguments, where every process could see it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from dataclasses import dataclass, field

from sparsam.clock import Clock
from sparsam.hardware.guards import WHOLE_NODE, Verdict, judge_watts
from sparsam.hardware.meter import Domain, Fault, Gap, Provenance, Reading

FIELD = re.compile(r"^\s*(?P<name>[A-Za-z][A-Za-z ]+?)(?: is)?:\s+(?P<value>.+?)\s*$", re.MULTILINE)
WATTS = re.compile(r"(-?\d+(?:\.\d+)?) Watts")

UNCERTAINTY_RATIO = 0.05

COMPLAINTS = (
    (re.compile(r"permission denied", re.I), Fault.DENIED, "the BMC's device may be opened by root alone"),
    (
        re.compile(r"could not open device", re.I),
        Fault.ABSENT,
        "no /dev/ipmi0; is there a BMC, is ipmi_devintf loaded?",
    ),
    (re.compile(r"invalid command|not supported|\(c1\)", re.I), Fault.ABSENT, "the BMC does not speak DCMI"),
    (re.compile(r"RAKP 2|unauthorized|password|insufficient privilege", re.I), Fault.UNAUTHORIZED, ""),
    (re.compile(r"unable to establish|no response|timeout|node busy", re.I), Fault.UNREACHABLE, ""),
)
"""What ipmitool prints when it fails, and what that means."""


@dataclass(frozen=True, slots=True)
class IpmiConfig:
    """Which BMC to ask and how patiently."""

    program: str = "ipmitool"
    host: str = ""
    """Empty: this machine's own BMC."""
    interface: str = ""
    """As ipmitool names it (`-I`); empty: `lanplus` for a host, else what ipmitool takes by itself."""
    user: str = ""
    password: str = field(default="", repr=False)
    timeout_seconds: float = 10.0
    min_interval_seconds: float = 10.0
    """DCMI averages over a second or more and the bus is slow: asking more often only heats the BMC."""

    def arguments(self) -> list[str]:
        """The command line, without any secret."""
        interface = self.interface or ("lanplus" if self.host else "")
        chosen = ["-I", interface] if interface else []
        remote = ["-H", self.host, "-U", self.user, "-E"] if self.host else []
        return [*chosen, *remote, "dcmi", "power", "reading"]


def parse_power_reading(text: str) -> float | Verdict:
    """Watts from ipmitool's answer; only those of a reading that is switched on."""
    fields = {match["name"].strip().lower(): match["value"] for match in FIELD.finditer(text)}
    state = fields.get("power reading state", "")
    if state and state.lower() != "activated":
        return Verdict(Fault.INACTIVE, f"the BMC's power reading is {state}")
    watts = WATTS.search(fields.get("instantaneous power reading", ""))
    if watts is None:
        return Verdict(Fault.MALFORMED, f"no instantaneous power in {text.strip()[:80]!r}")
    value = float(watts[1])
    return judge_watts(value, WHOLE_NODE) or value


def parse_complaint(text: str) -> Verdict:
    """What ipmitool's error text means."""
    said = " ".join(text.split())[:160]
    for pattern, fault, hint in COMPLAINTS:
        if pattern.search(text):
            return Verdict(fault, hint or said)
    return Verdict(Fault.MALFORMED, said or "ipmitool failed and said nothing")


class IpmiMeter:
    """One BMC's total power."""

    source = "ipmi:dcmi"
    domain = Domain.WALL
    provenance = Provenance.MEASURED

    def __init__(self, config: IpmiConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._latest: Reading | Gap | None = None

    async def read(self) -> Reading | Gap:
        """A fresh sample, or the last one while it is younger than the configured interval."""
        now = self._clock.monotonic()
        latest = self._latest
        if latest is None or now - latest.at_seconds >= self._config.min_interval_seconds:
            result = await self._ask()
            self._latest = latest = self._judge(result, self._clock.monotonic())
        return latest

    async def close(self) -> None:
        """Nothing is held open."""

    def _judge(self, result: float | Verdict, now: float) -> Reading | Gap:
        if isinstance(result, Verdict):
            return Gap(now, result.fault, result.detail, self.source)
        return Reading(now, result, self.domain, self.source, UNCERTAINTY_RATIO)

    async def _ask(self) -> float | Verdict:
        try:
            process = await asyncio.create_subprocess_exec(
                self._config.program,
                *self._config.arguments(),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**os.environ, "LC_ALL": "C", "IPMI_PASSWORD": self._config.password},
            )
        except FileNotFoundError:
            return Verdict(Fault.ABSENT, f"no program {self._config.program}; install ipmitool")
        except OSError as error:
            return Verdict(Fault.DENIED, f"{self._config.program}: {error.strerror}")
        try:
            async with asyncio.timeout(self._config.timeout_seconds):
                output, complaint = await process.communicate()
        except TimeoutError:
            return Verdict(Fault.TIMEOUT, f"ipmitool took more than {self._config.timeout_seconds:g} s")
        finally:
            await _end(process)
        if process.returncode != 0:
            return parse_complaint((complaint or output).decode(errors="replace"))
        return parse_power_reading(output.decode(errors="replace"))


async def _end(process: asyncio.subprocess.Process) -> None:
    """Leave no ipmitool behind, whatever ended the wait."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
