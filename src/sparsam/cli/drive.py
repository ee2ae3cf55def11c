"""`sparsam calibrate --drive`: load steps on this machine, measured by its own sensors."""

from __future__ import annotations

import asyncio
import datetime
import logging
import os
import platform
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from sparsam.cli.report import Report
from sparsam.clock import SystemClock
from sparsam.errors import SparsamError
from sparsam.hardware.discover import Roots, find_local
from sparsam.hardware.estimate import why_estimated
from sparsam.hardware.hwmon import hottest_celsius, read_environment
from sparsam.hardware.meter import Gap, Reading
from sparsam.hardware.supervisor import Supervisor
from sparsam.hardware.warner import Warner
from sparsam.metering.node import UtilizationSource
from sparsam.metering.windtunnel import MIXES, Senses, Step, Tunnel, TunnelPlan, stress_ng
from sparsam.power.telemetry import fit_telemetry

log = logging.getLogger(__name__)


class NothingToMeasureWith(SparsamError):
    """The machine has no power sensor."""


def plan_of(options: dict[str, Any]) -> TunnelPlan:
    """The plan that the options ask for; raises click.UsageError."""
    try:
        return TunnelPlan(
            mixes=tuple(options["mixes"].split(",")) if options["mixes"] else MIXES,
            levels=tuple(float(level) / 100.0 for level in options["levels"].split(",")),
            repeats=options["repeats"],
            settle_seconds=options["settle"],
            measure_seconds=options["measure"],
            max_celsius=options["max_celsius"],
            max_watts=options["max_watts"],
        )
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def drive(options: dict[str, Any]) -> Report:
    """Drive the plan and fit what was measured; raises Distress and NothingToMeasureWith."""
    return asyncio.run(_drive(plan_of(options), options))


async def _drive(plan: TunnelPlan, options: dict[str, Any]) -> Report:
    clock, warner = SystemClock(), Warner(log)
    roots = Roots(options["sys_root"], options["proc_root"])
    local = find_local(clock, warner, roots=roots)
    if not local.meters:
        raise NothingToMeasureWith(
            f"nothing to measure with: {why_estimated(local.profile, local.gaps)}; "
            "use --from or --prometheus, or sparsam models estimate"
        )
    meter, cpus = BestSource(Supervisor(local.meters, clock, warner)), os.cpu_count() or 1
    senses = Senses(
        meter,
        UtilizationSource(roots.proc / "stat"),
        lambda: hottest_celsius(roots.sys),
        lambda: read_environment(roots.sys).inlet_celsius,
        cpus,
    )
    start = stress_ng(cpus, options["stress_program"])
    steps = len(plan.mixes) * plan.repeats * len(plan.levels)
    click.echo(f"{steps} steps, about {plan.seconds / 60:.0f} minutes; Ctrl-C takes the load off", err=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    try:
        with Progress(*columns, console=Console(stderr=True), disable=not Console(stderr=True).is_terminal) as bar:
            task = bar.add_task("start", total=steps)

            def tell(step: Step) -> None:
                bar.update(task, advance=1, description=f"{step.mix} {step.target:.0%}: {step.watts:.1f} W")

            measured = await Tunnel(plan, senses, start, clock, tell).run()
    finally:
        await meter.close()
    fit = fit_telemetry(
        measured.statistics,
        source=f"wind tunnel: {', '.join(plan.mixes)}; measured by {meter.source}",
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        server_id=platform.node(),
    )
    inlets = [step.inlet_celsius for step in measured.steps if step.inlet_celsius is not None]
    facts = (
        ("runs", f"{plan.repeats} x {', '.join(plan.mixes)}"),
        ("inlet temperature", f"{min(inlets):.1f} to {max(inlets):.1f} °C" if inlets else "no sensor"),
        ("firmware profile", local.profile.bias),
        ("processor", local.profile.cpu_name or "unknown"),
        ("covers", meter.covers),
    )
    node = options["node_name"] or platform.node()
    return Report(node, fit.model, fit.steps, fit.scores, fit.held_out, facts, None, measured.by_mix())


class BestSource:
    """A supervisor as one meter."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self.source = "unknown"
        self.covers = "unknown"

    async def read(self) -> Reading | Gap:
        """The best source's reading."""
        power = (await self._supervisor.read()).power
        if isinstance(power, Reading):
            self.source, self.covers = power.source, power.domain.value
        return power

    async def close(self) -> None:
        """Close all sources."""
        await self._supervisor.close()
