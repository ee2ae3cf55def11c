"""When a CronJob is due: zones whose clocks change among them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsam.controllers.cronjob_plan import job_name, last_time, next_time, plan, superfluous
from sparsam.objects.strategies.cron_schedule import parse_schedule

BERLIN, NEW_YORK = ZoneInfo("Europe/Berlin"), ZoneInfo("America/New_York")
NOW = datetime(2026, 11, 24, 10, 30, 30, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "zone", "after", "expected"),
    [
        ("*/15 * * * *", UTC, "2026-11-24T10:30:30", "2026-11-24T10:45:00"),
        ("0 9 * * 1-5", UTC, "2026-11-27T09:00:00", "2026-11-30T09:00:00"),
        ("0 0 29 2 *", UTC, "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 13 * 5", UTC, "2026-11-24T00:00:00", "2026-11-27T00:00:00"),
        ("0 0 13 * *", UTC, "2026-11-24T00:00:00", "2026-12-13T00:00:00"),
        ("30 7 * * *", BERLIN, "2026-11-24T00:00:00", "2026-11-24T06:30:00"),
        ("30 7 * * *", BERLIN, "2026-07-01T00:00:00", "2026-07-01T05:30:00"),
        ("30 2 * * *", NEW_YORK, "2026-03-07T12:00:00", "2026-03-09T06:30:00"),
        ("@hourly", UTC, "2026-11-24T10:30:30", "2026-11-24T11:00:00"),
        ("@every 90s", UTC, "2026-11-24T10:30:30", "2026-11-24T10:32:00"),
        ("0 0 1 jan sun", UTC, "2026-11-24T00:00:00", "2027-01-01T00:00:00"),
    ],
)
def test_the_next_time(schedule: str, zone: Any, after: str, expected: str):
    assert next_time(parse_schedule(schedule), zone, at(after)) == at(expected)


def test_a_day_that_never_comes_has_no_next_time():
    assert next_time(parse_schedule("0 0 30 2 *"), UTC, NOW) is None


def test_an_hour_that_comes_twice_has_its_times_twice():
    first = next_time(parse_schedule("30 1 * * *"), NEW_YORK, at("2026-11-01T00:00:00"))
    assert first == at("2026-11-01T05:30:00")
    assert next_time(parse_schedule("30 1 * * *"), NEW_YORK, first) == at("2026-11-01T06:30:00")


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["*/7 * * * *", "5 3,15 * * *", "0 0 * * 0", "@every 45m", "30 2 1-15 * 3"]),
    st.sampled_from([UTC, BERLIN, NEW_YORK]),
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)),
    st.integers(1, 400_000),
)
def test_the_last_time_is_the_one_before_the_next(schedule: str, zone: Any, start: datetime, seconds: int):
    after = start.replace(tzinfo=UTC, microsecond=0)
    until, parsed = after + timedelta(seconds=seconds), parse_schedule(schedule)
    moment, latest = after, None
    for _ in range(10_000):
        coming = next_time(parsed, zone, moment)
        if coming is None or coming > until:
            break
        moment = latest = coming
        if parsed.every_seconds and (until - moment).total_seconds() > 100 * parsed.every_seconds:
            return
    assert last_time(parsed, zone, after, until) == latest


def cron(**spec: Any) -> dict[str, Any]:
    status = spec.pop("status", {})
    metadata = {"name": "c", "creationTimestamp": "2026-11-24T10:00:00Z"}
    return {"metadata": metadata, "spec": {"concurrencyPolicy": "Allow", **spec}, "status": status}


def job(name: str, kind: str = "", start: str = "") -> dict[str, Any]:
    conditions = [{"type": kind, "status": "True"}] if kind else []
    return {"metadata": {"name": name}, "status": {"conditions": conditions, "startTime": start}}


HOURLY = parse_schedule("15 * * * *")


def test_what_is_due_is_started_once():
    made = plan(cron(), HOURLY, UTC, [], NOW)
    assert made.start == at("2026-11-24T10:15:00")
    assert made.wake_at == at("2026-11-24T11:15:00")
    known = job(job_name(cron(), at("2026-11-24T10:15:00")))
    assert plan(cron(concurrencyPolicy="Replace"), HOURLY, UTC, [known], NOW).replaced == []
    started = cron(status={"lastScheduleTime": "2026-11-24T10:15:00Z"})
    assert plan(started, HOURLY, UTC, [], NOW).start is None
    assert plan(cron(suspend=True), HOURLY, UTC, [], NOW).wake_at is None


def test_concurrency_is_allowed_forbidden_or_replaces():
    running = [job("c-1")]
    assert plan(cron(), HOURLY, UTC, running, NOW).start is not None
    forbidden = plan(cron(concurrencyPolicy="Forbid"), HOURLY, UTC, running, NOW)
    assert forbidden.start is None
    assert forbidden.events[0][1] == "JobAlreadyActive"
    replacing = plan(cron(concurrencyPolicy="Replace"), HOURLY, UTC, [*running, job("c-0", "Complete")], NOW)
    assert replacing.replaced == running


def test_what_is_missed_for_too_long_is_let_go():
    old = "2026-11-20T00:00:00Z"
    late = plan(cron(startingDeadlineSeconds=60, status={"lastScheduleTime": old}), HOURLY, UTC, [], NOW)
    assert late.start is None
    many = plan(cron(status={"lastScheduleTime": old}), HOURLY, UTC, [], NOW)
    assert many.start == at("2026-11-24T10:15:00")
    assert many.events[0][1] == "TooManyMissedTimes"


def test_the_history_keeps_the_youngest():
    jobs = [job(f"ok-{n}", "Complete", f"2026-11-2{n}T00:00:00Z") for n in range(4)] + [
        job("bad", "Failed"),
        job("now"),
    ]
    found = superfluous(cron(successfulJobsHistoryLimit=3, failedJobsHistoryLimit=0), jobs)
    assert [each["metadata"]["name"] for each in found] == ["ok-0", "bad"]
