import asyncio
import shutil
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest

from sparsam.hardware.meter import Domain, Fault, Gap, Reading
from sparsam.metering.node import UtilizationSource
from sparsam.metering.windtunnel import MIXES, Distress, Senses, Tunnel, TunnelPlan, stress_arguments, stress_ng
from sparsam.power.telemetry import fit_telemetry
from tests.support.sysfs import SteppedClock

CPUS = 8
PLAN = TunnelPlan(settle_seconds=2.0, measure_seconds=5.0, levels=(0.0, 0.25, 0.5, 0.75, 1.0))
FACTORS = {"integer": 1.0, "matrix": 1.2, "memory": 0.8}


class Rig:
    """A node whose power follows its load and kind of work; time passes when somebody sleeps."""

    def __init__(self, tmp_path, **troubles):
        self.clock = SteppedClock()
        self.clock.sleep = self._sleep
        self.stat, self.troubles = tmp_path / "stat", troubles
        self.mix, self.level, self.started = "integer", 0.0, []
        self._busy = self._total = 0.0
        self._write()
        self.senses = Senses(self, UtilizationSource(self.stat), self._hottest, lambda: 22.5, CPUS)

    source, domain = "rig", Domain.WALL

    async def read(self):
        if self.troubles.get("silent"):
            return Gap(self.clock.seconds, Fault.TIMEOUT, "no answer", "rig")
        watts = 100.0 + 150.0 * self.level * FACTORS[self.mix]
        return Reading(self.clock.seconds, watts, Domain.WALL, "rig", 0.01)

    async def close(self):
        pass

    @asynccontextmanager
    async def start(self, mix, level, seconds):
        self.mix, self.level = mix, level
        self.started.append((mix, level))
        try:
            yield self
        finally:
            self.level = 0.0

    def ended(self):
        return "killed" if self.troubles.get("dies") == self.level and self.level else ""

    def _hottest(self):
        return 60.0 + 40.0 * self.level if self.troubles.get("hot") else None

    async def _sleep(self, seconds):
        self.clock.seconds += seconds
        self._busy += (self.troubles.get("other", 0.0) + self.level) * seconds * CPUS
        self._total += seconds * CPUS
        self._write()

    def _write(self):
        self.stat.write_text(
            f"cpu {round(100 * self._busy)} 0 0 {round(100 * (self._total - self._busy))} 0 0 0 0 0 0\n"
        )


def tunnel(rig, plan=PLAN):
    steps = []
    return Tunnel(plan, rig.senses, rig.start, rig.clock, steps.append), steps


async def test_every_kind_of_work_goes_through_all_levels_and_repeats(tmp_path):
    rig = Rig(tmp_path)
    driver, told = tunnel(rig)
    measured = await driver.run()
    assert len(measured.steps) == len(told) == 3 * 2 * 5
    assert rig.started[:5] == [("integer", level) for level in PLAN.levels]
    full = {mix: watts[-1] for mix, (_, watts) in measured.by_mix().items()}
    assert full == pytest.approx({"integer": 250.0, "matrix": 280.0, "memory": 220.0})
    assert measured.steps[0].inlet_celsius == 22.5


async def test_what_was_measured_gives_a_model_judged_on_other_runs(tmp_path):
    measured = await tunnel(Rig(tmp_path))[0].run()
    found = fit_telemetry(measured.statistics, source="rig", date="2026-11-23")
    assert (found.model.idle_watts, found.model.max_watts) == pytest.approx((100.0, 250.0), rel=0.01)
    # Kinds of work differ by a fifth of the range at the same load, and the error says so.
    assert 2.0 < next(score.rms_pct for score in found.scores if score.chosen) < 12.0


@pytest.mark.parametrize(
    ("troubles", "words"),
    [
        ({"other": 0.3}, "busy with other work"),
        ({"hot": True}, "above the limit of 90"),
        ({"dies": 0.5}, "ended by itself: killed"),
        ({"silent": True}, "the power source fails"),
    ],
)
async def test_distress_takes_the_load_off_and_keeps_nothing(tmp_path, troubles, words):
    rig = Rig(tmp_path, **troubles)
    with pytest.raises(Distress, match=words):
        await tunnel(rig, TunnelPlan(settle_seconds=12.0, measure_seconds=12.0))[0].run()
    assert rig.level == 0.0


async def test_a_power_cap_is_kept(tmp_path):
    plan = TunnelPlan(settle_seconds=2.0, measure_seconds=2.0, max_watts=200.0)
    with pytest.raises(Distress, match="above the limit of 200 W"):
        await tunnel(Rig(tmp_path), plan)[0].run()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"mixes": ("poetry",)}, "kinds of work"),
        ({"mixes": ()}, "kinds of work"),
        ({"levels": (0.5, 0.2)}, "must rise"),
        ({"levels": (0.0, 100.0)}, "must rise"),
        ({"repeats": 9}, "at most 20 runs"),
    ],
)
def test_a_plan_that_cannot_be_driven_is_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        TunnelPlan(**fields)


def test_memory_work_is_throttled_by_workers_and_cpu_work_within_them():
    assert stress_arguments("memory", 0.5, 30, 8)[:2] == ("--stream", "4")
    assert stress_arguments("matrix", 0.5, 30, 8)[:6] == (
        "--cpu",
        "8",
        "--cpu-load",
        "50",
        "--cpu-method",
        "matrixprod",
    )


def test_a_machine_without_the_program_says_how_to_get_it():
    with pytest.raises(Distress, match="apt-get install stress-ng"):
        stress_ng(2, program="surely-not-installed")


async def test_the_load_is_a_process_that_goes_with_the_step(tmp_path):
    program = tmp_path / "stress"
    program.write_text("#!/bin/sh\nsleep 60\n")
    program.chmod(0o755)
    async with stress_ng(2, program=str(program))("integer", 0.5, 5.0) as load:
        assert load.ended() == ""
        process = load._process
    assert process.returncode is not None
    async with stress_ng(2, program="true")("integer", 0.5, 5.0) as load:
        await load._process.wait()
        assert "left with code 0" in load.ended()
    assert np.isfinite(PLAN.seconds)


@pytest.mark.skipif(shutil.which("stress-ng") is None, reason="stress-ng is not installed")
@pytest.mark.parametrize("mix", MIXES)
async def test_stress_ng_works_until_the_step_ends_and_leaves_nobody_behind(mix):
    async with stress_ng(2)(mix, 0.5, 30.0) as load:
        await asyncio.sleep(1.0)
        assert load.ended() == ""
        parent = load._process.pid
        workers = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
        assert workers
    assert not [pid for pid in (parent, *workers) if Path(f"/proc/{pid}").exists()]
