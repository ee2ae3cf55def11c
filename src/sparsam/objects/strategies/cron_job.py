"""CronJobs."""

from __future__ import annotations

import re

from sparsam.errors import Cause
from sparsam.objects.fields import invalid, not_supported, required
from sparsam.objects.strategies import workloads
from sparsam.objects.strategies.common import non_negative, one_of, put_default
from sparsam.objects.strategies.cron_schedule import schedule_error
from sparsam.objects.strategies.job import default_failure_policy, validate_job_spec
from sparsam.objects.strategies.pod_spec import default_pod_template, template_warnings
from sparsam.objects.strategy import Obj, Strategy

_NAME_MAX = 52  # A job's name has eleven characters more.
_POLICIES = ("Allow", "Forbid", "Replace")
_JOB = "spec.jobTemplate.spec"
_ZONE = re.compile(r"[A-Za-z0-9+\-_]+(/[A-Za-z0-9+\-_]+){0,2}\Z", re.ASCII)


def default_cron_job(cron: Obj) -> None:
    """Runs may overlap; the last three that succeeded and the last that failed are kept."""
    spec = cron.setdefault("spec", {})
    put_default(spec, "concurrencyPolicy", "Allow")
    for name, value in (("suspend", False), ("successfulJobsHistoryLimit", 3), ("failedJobsHistoryLimit", 1)):
        if spec.get(name) is None:
            spec[name] = value
    job = spec.setdefault("jobTemplate", {}).setdefault("spec", {})
    default_pod_template(job.setdefault("template", {}))
    default_failure_policy(job)


def prepare_create(cron: Obj) -> None:
    """A new CronJob never ran."""
    cron["status"] = {}


def validate(cron: Obj) -> list[Cause]:
    """Causes for a new CronJob."""
    causes = _spec(cron["spec"])
    name = cron["metadata"].get("name", "")
    if len(name) > _NAME_MAX:
        causes.insert(0, invalid("metadata.name", name, f"must be no more than {_NAME_MAX} characters"))
    return causes


def _spec(spec: Obj) -> list[Cause]:
    schedule = spec.get("schedule", "")
    causes = _schedule(schedule, spec, "spec.schedule") if schedule else [required("spec.schedule")]
    causes += non_negative(spec.get("startingDeadlineSeconds"), "spec.startingDeadlineSeconds")
    if spec.get("timeZone") is not None:
        causes += _time_zone(spec["timeZone"], "spec.timeZone")
    causes += one_of(spec.get("concurrencyPolicy"), "spec.concurrencyPolicy", _POLICIES)
    job = (spec.get("jobTemplate") or {}).get("spec") or {}
    causes += validate_job_spec(job, _JOB)
    if job.get("selector") is not None:
        causes.append(invalid(f"{_JOB}.selector", job["selector"], "`selector` will be auto-generated"))
    if job.get("manualSelector"):
        causes.append(not_supported(f"{_JOB}.manualSelector", True, ("nil", "false")))
    causes += non_negative(spec.get("successfulJobsHistoryLimit"), "spec.successfulJobsHistoryLimit")
    return causes + non_negative(spec.get("failedJobsHistoryLimit"), "spec.failedJobsHistoryLimit")


def _schedule(schedule: str, spec: Obj, path: str) -> list[Cause]:
    if "TZ" in schedule:
        detail = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
        if spec.get("timeZone") is not None:
            detail = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
        return [invalid(path, schedule, detail)]
    error = schedule_error(schedule)
    return [invalid(path, schedule, error)] if error else []


def _time_zone(zone: str, path: str) -> list[Cause]:
    # Whether a zone exists is a question of the machine that runs the jobs; only its form is checked here.
    if not zone:
        return [invalid(path, zone, "timeZone must be nil or non-empty string")]
    if zone.lower() == "local":
        detail = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        return [invalid(path, zone, detail)]
    return [] if _ZONE.match(zone) else [invalid(path, zone, f"unknown time zone {zone}")]


def validate_update(cron: Obj, _old: Obj) -> list[Cause]:
    """Causes for a changed CronJob."""
    return _spec(cron["spec"])


def warnings(cron: Obj, old: Obj | None) -> list[str]:
    """Warnings of the name and of the template."""
    template = ((cron["spec"].get("jobTemplate") or {}).get("spec") or {}).get("template")
    if old is not None and cron["metadata"].get("generation") == old["metadata"].get("generation"):
        return []
    found = workloads.name_warnings(cron) if old is None else []
    return found + template_warnings(template, f"{_JOB}.template")


STRATEGIES = {
    ("batch", "CronJob"): Strategy(
        default=default_cron_job,
        prepare_create=prepare_create,
        validate=validate,
        validate_update=validate_update,
        warnings=warnings,
        has_generation=True,
    ),
}
