"""What metering costs: CPU time of a cycle and memory of a process that has every source loaded."""

import asyncio
import importlib
import json
import logging
import subprocess
import sys
import time
from pathlib import Path

from sparsam.clock import SystemClock
from sparsam.hardware.discover import Roots, find_local
from sparsam.hardware.estimate import CpuUtilization, ModelMeter
from sparsam.hardware.supervisor import Supervisor
from sparsam.hardware.warner import Warner
from tests.support.sysfs import FakeSysfs

MOST_CPU_SECONDS_A_CYCLE = 0.005
MOST_BYTES = 60_000_000


async def metered_cycles(root: Path, cycles: int) -> float:
    """CPU seconds of a cycle on a two-socket server with psys, an ACPI meter and the model."""
    sysfs = FakeSysfs(root)
    sysfs.two_sockets()
    sysfs.zone("intel-rapl:2", "psys")
    sysfs.chip(0, "power_meter", power1_average=200_000_000)
    clock, warner = SystemClock(), Warner(logging.getLogger("test"))
    local = find_local(clock, warner, roots=Roots(sys=root), ipmi=False)
    model = ModelMeter(lambda u: (80.0 + 200.0 * u, 0.26), CpuUtilization(), clock, why="")
    node = Supervisor([*local.meters, model], clock, warner)
    await node.read()
    before = time.process_time()
    for _ in range(cycles):
        await node.read()
    spent = (time.process_time() - before) / cycles
    await node.close()
    return spent


async def test_a_cycle_costs_less_than_five_milliseconds_of_cpu(tmp_path):
    assert await metered_cycles(tmp_path, 200) < MOST_CPU_SECONDS_A_CYCLE


def measure(root: str) -> None:
    """In a process of its own: load every source, run cycles, print what it took."""
    for source in ("prometheus", "redfish"):
        importlib.import_module(f"sparsam.hardware.{source}")
    spent = asyncio.run(metered_cycles(Path(root), 100))
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"cpu_seconds": spent, "peak_bytes": int(peak.split()[1]) * 1024}))


def test_the_process_stays_below_sixty_megabytes(tmp_path):
    code = f"from tests.hardware.test_cost import measure; measure({str(tmp_path)!r})"
    where = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=where, capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout)
    print(figures)
    assert figures["peak_bytes"] < MOST_BYTES
