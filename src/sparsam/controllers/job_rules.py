"""podFailurePolicy and successPolicy of a Job: what a failed pod means, and when enough has succeeded. Pure.

Source: KEP-3329 (pod failure policy), KEP-3850 (back-off per index), KEP-3998 (success policy).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sparsam.controllers.job_indexes import parse_indexes
from sparsam.controllers.runtime import Obj

COUNT, IGNORE, FAIL_INDEX, FAIL_JOB = "Count", "Ignore", "FailIndex", "FailJob"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a failed pod means for its job."""

    action: str = COUNT
    message: str = ""


def failure_verdict(job: Obj, pod: Obj) -> Verdict:
    """By the first rule of podFailurePolicy that matches; a pod that no rule matches counts."""
    for number, rule in enumerate((job["spec"].get("podFailurePolicy") or {}).get("rules") or ()):
        matched = _matched_exit(rule.get("onExitCodes"), pod) or _matched_condition(rule.get("onPodConditions"), pod)
        if matched is None:
            continue
        if rule["action"] == FAIL_INDEX and job["spec"].get("backoffLimitPerIndex") is None:
            continue
        return Verdict(rule["action"], f"{matched} matching {rule['action']} rule at index {number}")
    return Verdict()


def _matched_exit(requirement: Obj | None, pod: Obj) -> str | None:
    if requirement is None:
        return None
    name, metadata = requirement.get("containerName"), pod["metadata"]
    for entry in _container_statuses(pod):
        ended = (entry.get("state") or {}).get("terminated")
        if ended is None or ended.get("exitCode", 0) == 0 or (name is not None and entry["name"] != name):
            continue
        listed = ended["exitCode"] in requirement["values"]
        if listed == (requirement["operator"] == "In"):
            where = f"{metadata['namespace']}/{metadata['name']}"
            return f"Container {entry['name']} for pod {where} failed with exit code {ended['exitCode']}"
    return None


def _container_statuses(pod: Obj) -> Iterator[Obj]:
    status = pod.get("status") or {}
    yield from status.get("containerStatuses") or ()
    yield from status.get("initContainerStatuses") or ()


def _matched_condition(patterns: list[Obj] | None, pod: Obj) -> str | None:
    present = {c["type"]: c["status"] for c in (pod.get("status") or {}).get("conditions") or ()}
    metadata = pod["metadata"]
    for pattern in patterns or ():
        if present.get(pattern["type"]) == pattern.get("status", "True"):
            return f"Pod {metadata['namespace']}/{metadata['name']} has condition {pattern['type']}"
    return None


def success_rule(job: Obj, succeeded: set[int]) -> int | None:
    """The number of the rule of successPolicy that the succeeded indexes satisfy; None for none."""
    completions = job["spec"].get("completions") or 0
    for number, rule in enumerate((job["spec"].get("successPolicy") or {}).get("rules") or ()):
        counted = succeeded
        if rule.get("succeededIndexes") is not None:
            listed = parse_indexes(rule["succeededIndexes"], completions)
            counted = succeeded & listed
            if rule.get("succeededCount") is None:
                if counted == listed:
                    return number
                continue
        if len(counted) >= (rule.get("succeededCount") or 0):
            return number
    return None
