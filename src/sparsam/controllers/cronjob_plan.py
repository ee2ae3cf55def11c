"""When a CronJob is due, and what to do then. Pure.

Wall-clock times are those of a zone: an hour that the clock skips has none of them, one that it repeats has them twice.
Source: upstream's CronJob controller and the cron library that it uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo

from sparsam.clock import parse_time
from sparsam.controllers.job_plan import is_finished
from sparsam.controllers.runtime import Obj
from sparsam.objects.strategies.cron_schedule import Schedule

TOO_MANY_MISSED = 100
_LONGEST_SEARCH_DAYS = 5 * 366
_DAY = timedelta(days=1)

Words = tuple[str, str, str]
"""Type, reason and message of an event."""


@dataclass(slots=True)
class CronPlan:
    """Jobs to delete, the time to start one for (if that is not done yet), and when to look again."""

    start: datetime | None = None
    replaced: list[Obj] = field(default_factory=list)
    events: list[Words] = field(default_factory=list)
    wake_at: datetime | None = None


def plan(cron: Obj, schedule: Schedule, zone: tzinfo, jobs: Sequence[Obj], now: datetime) -> CronPlan:
    """What is due of a CronJob with these jobs of its own."""
    made = CronPlan()
    if cron["spec"].get("suspend"):
        return made
    made.wake_at = next_time(schedule, zone, now)
    since, deadline = _since(cron, now), cron["spec"].get("startingDeadlineSeconds")
    due = last_time(schedule, zone, since, now)
    if due is None:
        return made
    if _more_than(schedule, zone, since, now, TOO_MANY_MISSED):
        message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew"
        made.events.append(("Warning", "TooManyMissedTimes", message))
    if deadline is not None and due + timedelta(seconds=deadline) < now:
        message = f"Missed scheduled time to start a job: {due.astimezone(UTC):%a, %d %b %Y %H:%M:%S +0000}"
        made.events.append(("Warning", "MissSchedule", message))
        return made
    running = [job for job in jobs if not is_finished(job)]
    name = job_name(cron, due)
    if any(job["metadata"]["name"] == name for job in jobs):
        made.start = due
        return made
    policy = cron["spec"].get("concurrencyPolicy")
    if running and policy == "Forbid":
        message = "Not starting job because prior execution is running and concurrency policy is Forbid"
        made.events.append(("Normal", "JobAlreadyActive", message))
        return made
    made.replaced = running if policy == "Replace" else []
    made.start = due
    return made


def job_name(cron: Obj, due: datetime) -> str:
    """The same for the same time, so that nothing is started twice."""
    return f"{cron['metadata']['name']}-{int(due.timestamp()) // 60}"


def superfluous(cron: Obj, jobs: Sequence[Obj]) -> list[Obj]:
    """Finished jobs beyond the limits of the history, the oldest first."""
    found: list[Obj] = []
    for kind, limit in (("Complete", "successfulJobsHistoryLimit"), ("Failed", "failedJobsHistoryLimit")):
        if cron["spec"].get(limit) is None:
            continue
        ended = [job for job in jobs if finished_as(job) == kind]
        ended.sort(key=lambda job: (job["status"].get("startTime") or "", job["metadata"]["name"]))
        found += ended[: max(len(ended) - cron["spec"][limit], 0)]
    return found


def finished_as(job: Obj) -> str:
    """Complete or Failed; empty while it runs."""
    conditions = (job.get("status") or {}).get("conditions") or ()
    return next(
        (str(c["type"]) for c in conditions if c["type"] in ("Complete", "Failed") and c["status"] == "True"), ""
    )


def next_time(schedule: Schedule, zone: tzinfo, after: datetime) -> datetime | None:
    """The first time after a moment; None when there is none within five years."""
    if schedule.every_seconds:
        return after.replace(microsecond=0) + timedelta(seconds=schedule.every_seconds)
    day = after.astimezone(zone).date()
    for _ in range(_LONGEST_SEARCH_DAYS):
        for moment in _times_of(schedule, zone, datetime(day.year, day.month, day.day)):
            if moment > after:
                return moment
        day += _DAY
    return None


def last_time(schedule: Schedule, zone: tzinfo, after: datetime, until: datetime) -> datetime | None:
    """The latest time after one moment and not after another."""
    if schedule.every_seconds:
        steps = int((until - after).total_seconds() // schedule.every_seconds)
        return after + timedelta(seconds=steps * schedule.every_seconds) if steps > 0 else None
    day, first = until.astimezone(zone).date(), after.astimezone(zone).date()
    while day >= first:
        times = [t for t in _times_of(schedule, zone, datetime(day.year, day.month, day.day)) if after < t <= until]
        if times:
            return times[-1]
        day -= _DAY
    return None


def _since(cron: Obj, now: datetime) -> datetime:
    """From when on times count: the last start, else the creation; not before the starting deadline."""
    last = (cron.get("status") or {}).get("lastScheduleTime") or cron["metadata"]["creationTimestamp"]
    since, deadline = parse_time(last), cron["spec"].get("startingDeadlineSeconds")
    return since if deadline is None else max(since, now - timedelta(seconds=deadline))


def _more_than(schedule: Schedule, zone: tzinfo, since: datetime, until: datetime, count: int) -> bool:
    moment: datetime | None = since
    for _ in range(count + 1):
        moment = next_time(schedule, zone, moment) if moment is not None else None
        if moment is None or moment > until:
            return False
    return True


def _times_of(schedule: Schedule, zone: tzinfo, day: datetime) -> Iterator[datetime]:
    """All times of one day of the zone, in order."""
    if not _matches_day(schedule, day):
        return
    found = []
    for hour in schedule.hours:
        for minute in schedule.minutes:
            for fold in (0, 1):
                local = day.replace(hour=hour, minute=minute, fold=fold, tzinfo=zone)
                moment = local.astimezone(UTC)
                if moment.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
                    found.append(moment)
    yield from sorted(set(found))


def _matches_day(schedule: Schedule, day: datetime) -> bool:
    if day.month not in schedule.months:
        return False
    in_month, in_week = day.day in schedule.days, day.isoweekday() % 7 in schedule.weekdays
    return (in_month or in_week) if schedule.either_day else (in_month and in_week)
