"""Pods of a cluster as `kubectl get pods -A -o json` exports them.

What decides a pod's placement is kept: requests, constraints, labels, priority, owner. Pods of DaemonSets and static
pods are left out, since they come with a node and not with work.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from sparsam.scheduling.demand import compile_pod
from sparsam.simulation.trace import BadTrace, Obj, Trace
from sparsam.simulation.traces.rows import Arrival, BadField, Columns, Reading, Source, Templates

MIRROR = "kubernetes.io/config.mirror"
ENDED = ("Succeeded", "Failed")
SPEC = (
    *("containers", "initContainers", "nodeSelector", "affinity", "tolerations", "topologySpreadConstraints"),
    *("priority", "priorityClassName", "preemptionPolicy", "overhead", "resources", "hostNetwork", "restartPolicy"),
)
CONTAINER = ("name", "image", "resources", "ports", "restartPolicy")
# Different for each pod of one owner, and nothing that selectors of users look at.
OWN_LABELS = (
    *("statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index", "batch.kubernetes.io/job-completion-index"),
)


def read_pods(pods: Iterable[Any], file: str, *, lenient: bool = False) -> Reading:
    """Pods from the `items` of an export, of which the first to be created arrives at 0.

    A pod that ran to its end, or is about to be deleted, stays for the time between its start and its end; the others
    until the end of the trace, which is the last time that the export tells of. Pods of Jobs and pods that are not
    always restarted are batch work.
    """
    source, templates, columns = Source(file, lenient), Templates(), Columns()
    last = -math.inf

    def parse(pod: Any) -> tuple[Arrival, float] | None:
        try:
            found = _arrival(pod, templates)
            name, namespace, created = (pod["metadata"].get(key) for key in ("name", "namespace", "creationTimestamp"))
        except (AttributeError, KeyError, TypeError) as error:
            raise BadField("the item", f"is no v1 Pod: {type(error).__name__}: {error}") from None
        # A pod of a StatefulSet has the name of the one before it.
        source.once("metadata.name", name, namespace, created)
        return found

    for arrival, seen in source.parsed(pods, parse):
        columns.add(arrival)
        last = max(last, seen)
    if not columns.template:
        raise BadTrace(file, None, "items", "not one pod that came with work")
    origin = min(columns.arrival_seconds)
    for place in range(len(columns.arrival_seconds)):
        columns.arrival_seconds[place] -= origin
    trace: Trace = columns.trace(file, templates, horizon_seconds=last - origin)
    return source.reading(trace)


def _arrival(pod: Any, templates: Templates) -> tuple[Arrival, float] | None:
    """A pod with times in seconds since 1970, and the latest of them."""
    metadata, spec, status = (_part(pod, name) for name in ("metadata", "spec", "status"))
    if comes_with_node(metadata):
        return None
    created = seconds_of(metadata, "metadata", "creationTimestamp")
    if created is None:
        raise BadField("metadata.creationTimestamp", "is empty")
    start = seconds_of(status, "status", "startTime")
    start = created if start is None else start
    end = end_of(metadata, status)
    if start < created:
        raise BadField("status.startTime", "is before the pod was created")
    if end is not None and end < start:
        raise BadField("status", "the pod ended before it started")
    template = template_of(metadata, spec, templates)
    stay = math.inf if end is None else end - start
    return Arrival(template, created, stay, is_batch(metadata, spec)), max(start, end or start)


def owner_of(metadata: Obj) -> Obj:
    """The controller that made the pod; empty for none."""
    return next((each for each in metadata.get("ownerReferences") or () if each.get("controller")), {})


def comes_with_node(metadata: Obj) -> bool:
    """Whether the pod is a node's own: of a DaemonSet, or static."""
    return owner_of(metadata).get("kind") in ("DaemonSet", "Node") or MIRROR in (metadata.get("annotations") or {})


def is_batch(metadata: Obj, spec: Obj) -> bool:
    """Whether the pod has work to get done, as those of Jobs and those that are not always restarted."""
    return bool(owner_of(metadata).get("kind") == "Job" or spec.get("restartPolicy", "Always") != "Always")


def end_of(metadata: Obj, status: Obj) -> float | None:
    """When the pod ended or will be gone, in seconds since 1970; None while it runs. Raises BadField."""
    if status.get("phase") not in ENDED:
        return seconds_of(metadata, "metadata", "deletionTimestamp")
    states = [(each.get("state") or {}).get("terminated") or {} for each in status.get("containerStatuses") or ()]
    ended = [seconds_of(each, "status.containerStatuses", "finishedAt") for each in states]
    # A pod that was evicted may have no containers left to ask, only conditions that changed when it went.
    changed = [seconds_of(each, "status.conditions", "lastTransitionTime") for each in status.get("conditions") or ()]
    known = [each for each in ended if each is not None] or [each for each in changed if each is not None]
    if not known:
        raise BadField("status.containerStatuses", f"{status['phase']}, but nothing tells when it ended")
    return max(known)


def template_of(metadata: Obj, spec: Obj, templates: Templates) -> int:
    """The number of the template that has all of the pod that decides on its placement; raises BadField."""
    owner = owner_of(metadata)
    kept: dict[str, Any] = {name: spec[name] for name in SPEC if spec.get(name)}
    for name in ("containers", "initContainers"):
        if name in kept:
            kept[name] = [{field: each[field] for field in CONTAINER if each.get(field)} for each in kept[name]]
    labels = {name: value for name, value in (metadata.get("labels") or {}).items() if name not in OWN_LABELS}
    about = {"namespace": metadata.get("namespace", "default"), "labels": labels}
    if owner:
        reference = {"apiVersion": owner.get("apiVersion", ""), "kind": owner["kind"], "name": owner["name"]}
        about["ownerReferences"] = [{**reference, "controller": True}]
    found = {"apiVersion": "v1", "kind": "Pod", "metadata": about, "spec": kept}

    def make() -> Obj:
        try:
            compile_pod(found)
        except ValueError as error:
            raise BadField("spec", str(error)) from None
        return found

    return templates.number(msgspec.json.encode(found, order="deterministic"), make)


def _part(pod: Any, name: str) -> Mapping[str, Any]:
    part = pod.get(name) if isinstance(pod, Mapping) else None
    if not isinstance(part, Mapping):
        raise BadField(name, "is missing: this is no Pod")
    return part


def seconds_of(part: Obj, path: str, name: str) -> float | None:
    """A time in seconds since 1970, None where there is none; `path` says where in a complaint. Raises BadField."""
    text = part.get(name)
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise BadField(f"{path}.{name}", f"{text!r} is no time") from None
    if moment.tzinfo is None:
        raise BadField(f"{path}.{name}", f"{text!r} has no time zone")
    return moment.timestamp()
