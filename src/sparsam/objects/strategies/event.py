"""Events: the lenient rules of the core group, and the strict ones of events.k8s.io."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import invalid, required
from sparsam.objects.names import qualified_name_errors
from sparsam.objects.strategy import Obj, Strategy

_MISMATCH = "does not match event.namespace"
_TYPES = ("Normal", "Warning")
_REASON_MAX = 128
_NOTE_MAX = 1024
_REFERENCE = {
    "Kind": "kind",
    "Namespace": "namespace",
    "Name": "name",
    "UID": "uid",
    "APIVersion": "apiVersion",
    "ResourceVersion": "resourceVersion",
    "FieldPath": "fieldPath",
}
# (field of the core group, of events.k8s.io): reason is compared twice, as upstream does.
_SETTLED = (
    ("involvedObject", "regarding"),
    ("reason", "reason"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reason", "reason"),
    ("type", "type"),
    ("eventTime", "eventTime"),
    ("action", "action"),
    ("related", "related"),
    ("reportingController", "reportingController"),
    ("reportingInstance", "reportingInstance"),
)


def _lenient(event: Obj, *, involved: str, note: str, controller: str) -> list[Cause]:
    namespace = event["metadata"].get("namespace", "")
    about = (event.get(involved) or {}).get("namespace") or ""
    path = "involvedObject.namespace"
    if not event.get("eventTime"):
        if (not about and namespace not in ("", "default")) or (about and about != namespace):
            return [invalid(path, about, _MISMATCH)]
        return []
    causes: list[Cause] = []
    if not about and namespace not in ("default", "kube-system"):
        causes.append(invalid(path, about, _MISMATCH))
    reporter = event.get(controller) or ""
    if not reporter:
        causes.append(required("reportingController"))
    causes += [invalid("reportingController", reporter, error) for error in qualified_name_errors(reporter)]
    for name in ("reportingInstance", "action", "reason"):
        value = event.get(name) or ""
        if not value:
            causes.append(required(name))
        causes += _at_most(value, name, _REASON_MAX)
    return causes + _at_most(event.get(note) or "", "message", _NOTE_MAX)


def _at_most(value: str, path: str, limit: int) -> list[Cause]:
    return [invalid(path, "", f"can have at most {limit} characters")] if len(value.encode()) > limit else []


def validate_core(event: Obj) -> list[Cause]:
    """Causes for an event of the core group."""
    return _lenient(event, involved="involvedObject", note="message", controller="reportingComponent")


def update_core(event: Obj, _old: Obj) -> list[Cause]:
    """Causes for a changed event of the core group: it may change at will."""
    return validate_core(event)


def _series(event: Obj) -> list[Cause]:
    series = event.get("series")
    if series is None:
        return []
    causes: list[Cause] = []
    if series.get("count", 0) < 2:
        causes.append(invalid("series.count", "", "should be at least 2"))
    if not series.get("lastObservedTime"):
        causes.append(required("series.lastObservedTime"))
    return causes


def validate_event(event: Obj) -> list[Cause]:
    """Causes for a new event of events.k8s.io."""
    causes = _lenient(event, involved="regarding", note="note", controller="reportingController")
    causes += _series(event)
    if not event.get("eventTime"):
        causes.append(required("eventTime"))
    if event.get("type", "") not in _TYPES:
        causes.append(invalid("type", "", f"has invalid value: {event.get('type', '')}"))
    for field, old_field in (("firstTimestamp", "deprecatedFirstTimestamp"),
                             ("lastTimestamp", "deprecatedLastTimestamp"), ("count", "deprecatedCount"),
                             ("source", "deprecatedSource")):  # fmt: skip
        if event.get(old_field):
            causes.append(invalid(field, "", "needs to be unset"))
    return causes


def update_event(event: Obj, old: Obj) -> list[Cause]:
    """Causes for a changed event of events.k8s.io: only its series may grow."""
    causes = _lenient(event, involved="regarding", note="note", controller="reportingController")
    if event.get("series") != old.get("series"):
        causes += _series(event)
    for shown, field in _SETTLED:
        if (event.get(field) or None) != (old.get(field) or None):
            causes.append(invalid(shown, _shown(event.get(field)), "field is immutable"))
    return causes


def _shown(value: Any) -> Any:
    """A reference as upstream prints its internal form."""
    if isinstance(value, Mapping) and "kind" in value:
        return {shown: value.get(field, "") for shown, field in _REFERENCE.items()}
    return value


STRATEGIES = {
    ("", "Event"): Strategy(
        validate=validate_core,
        validate_update=update_core,
        name_rule="path-segment",
        has_status=False,
        allow_create_on_update=True,
    ),
    ("events.k8s.io", "Event"): Strategy(
        validate=validate_event,
        validate_update=update_event,
        has_status=False,
        allow_create_on_update=True,
    ),
}
