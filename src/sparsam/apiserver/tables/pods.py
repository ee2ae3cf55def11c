"""The rows of pods and of what holds pod templates."""

from __future__ import annotations

from datetime import datetime

from sparsam.apiserver.tables.columns import (
    AGE,
    NONE,
    Cells,
    Column,
    Obj,
    Printer,
    age,
    columns,
    containers_and_images,
    human_duration,
    integer,
    labels_text,
    name_of,
    selector_text,
    since,
    wide,
)
from sparsam.clock import parse_time

NODE_LOST = "NodeLost"
WORKLOAD_TAIL = (wide("Containers"), wide("Images"), wide("Selector"))


def _pod(pod: Obj, now: datetime) -> Cells:
    spec, status = pod["spec"], pod.get("status", {})
    restarts, last_restart, ready, total = _count(spec, status)
    restart_text = str(restarts)
    if restarts and last_restart:
        restart_text += f" ({since(last_restart, now)} ago)"
    gates = spec.get("readinessGates") or ()
    met = {c["type"] for c in status.get("conditions") or () if c["status"] == "True"}
    gate_text = f"{sum(gate['conditionType'] in met for gate in gates)}/{len(gates)}" if gates else NONE
    ips = status.get("podIPs") or [{"ip": status.get("podIP", "")}]
    return [
        name_of(pod),
        f"{ready}/{total}",
        pod_reason(pod),
        restart_text,
        age(pod, now),
        ips[0].get("ip") or NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        gate_text,
    ]


def _count(spec: Obj, status: Obj) -> tuple[int, str, int, int]:
    """(restarts, time of the last, ready containers, containers); sidecars count as containers."""
    sidecars = {c["name"] for c in spec.get("initContainers") or () if c.get("restartPolicy") == "Always"}
    counted = [c for c in status.get("initContainerStatuses") or () if c["name"] in sidecars]
    counted += status.get("containerStatuses") or ()
    restarts = sum(each.get("restartCount", 0) for each in counted)
    ends = [
        end
        for each in counted
        if (end := (each.get("lastState") or {}).get("terminated", {}).get("finishedAt")) is not None
    ]
    ready = sum(bool(each.get("ready")) and "running" in (each.get("state") or {}) for each in counted)
    return restarts, max(ends, default=""), ready, len(spec.get("containers") or ()) + len(sidecars)


def pod_reason(pod: Obj) -> str:
    """The STATUS column: the most telling of phase, reasons of conditions, init containers and containers."""
    spec, status = pod["spec"], pod.get("status", {})
    reason = status.get("reason") or status.get("phase", "Unknown")
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            reason = "SchedulingGated"
    reason = _init_reason(spec, status) or _containers_reason(status, reason)
    if pod["metadata"].get("deletionTimestamp"):
        if status.get("reason") == NODE_LOST:
            return "Unknown"
        if status.get("phase") not in ("Succeeded", "Failed"):
            return "Terminating"
    return str(reason)


def _init_reason(spec: Obj, status: Obj) -> str:
    """`Init:...` while init containers hold the pod up, else nothing."""
    declared = spec.get("initContainers") or ()
    sidecars = {c["name"] for c in declared if c.get("restartPolicy") == "Always"}
    for number, each in enumerate(status.get("initContainerStatuses") or ()):
        state = each.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting")
        if ended is not None and ended.get("exitCode") == 0:
            continue
        if each["name"] in sidecars and each.get("started"):
            continue
        if ended is not None:
            return f"Init:{_end_reason(ended)}"
        if waiting is not None and waiting.get("reason") not in (None, "", "PodInitializing"):
            return f"Init:{waiting['reason']}"
        return f"Init:{number}/{len(declared)}"
    return ""


def _containers_reason(status: Obj, reason: str) -> str:
    running = False
    for each in reversed(status.get("containerStatuses") or ()):
        state = each.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated")
        if waiting.get("reason"):
            reason = waiting["reason"]
        elif ended is not None:
            reason = _end_reason(ended)
        elif each.get("ready") and "running" in state:
            running = True
    if reason == "Completed" and running:
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ())
        return "Running" if ready else "NotReady"
    return reason


def _end_reason(ended: Obj) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"


def _deployment(obj: Obj, now: datetime) -> Cells:
    spec, status = obj["spec"], obj.get("status", {})
    ready = f"{status.get('readyReplicas', 0)}/{spec.get('replicas', 0)}"
    numbers = [status.get("updatedReplicas", 0), status.get("availableReplicas", 0)]
    return [name_of(obj), ready, *numbers, age(obj, now), *_template_cells(obj), selector_text(spec.get("selector"))]


def _replica_set(obj: Obj, now: datetime) -> Cells:
    spec, status = obj["spec"], obj.get("status", {})
    numbers = [spec.get("replicas", 0), status.get("replicas", 0), status.get("readyReplicas", 0)]
    return [name_of(obj), *numbers, age(obj, now), *_template_cells(obj), selector_text(spec.get("selector"))]


def _replication_controller(obj: Obj, now: datetime) -> Cells:
    row = _replica_set({**obj, "spec": {**obj["spec"], "selector": None}}, now)
    row[-1] = labels_text(obj["spec"].get("selector"))
    return row


def _stateful_set(obj: Obj, now: datetime) -> Cells:
    ready = f"{obj.get('status', {}).get('readyReplicas', 0)}/{obj['spec'].get('replicas', 0)}"
    return [name_of(obj), ready, age(obj, now), *_template_cells(obj)]


def _daemon_set(obj: Obj, now: datetime) -> Cells:
    spec, status = obj["spec"], obj.get("status", {})
    numbers = [
        status.get(name, 0)
        for name in (
            *("desiredNumberScheduled", "currentNumberScheduled", "numberReady"),
            *("updatedNumberScheduled", "numberAvailable"),
        )
    ]
    where = labels_text(spec["template"].get("spec", {}).get("nodeSelector"))
    selector = selector_text(spec.get("selector"))
    return [name_of(obj), *numbers, where, age(obj, now), *_template_cells(obj), selector]


def _job(obj: Obj, now: datetime) -> Cells:
    spec, status = obj["spec"], obj.get("status", {})
    wanted = spec.get("completions")
    if wanted is None:
        parallel = spec.get("parallelism", 0)
        wanted_text = f"1 of {parallel}" if parallel > 1 else "1"
    else:
        wanted_text = str(wanted)
    duration = ""
    if start := status.get("startTime"):
        end = parse_time(status["completionTime"]) if status.get("completionTime") else now
        duration = human_duration((end - parse_time(start)).total_seconds())
    done = f"{status.get('succeeded', 0)}/{wanted_text}"
    tail = [*_template_cells(obj), selector_text(spec.get("selector"))]
    return [name_of(obj), _job_status(obj), done, duration, age(obj, now), *tail]


def _job_status(obj: Obj) -> str:
    true = {c["type"] for c in obj.get("status", {}).get("conditions") or () if c["status"] == "True"}
    for condition, text in (("Complete", "Complete"), ("Failed", "Failed")):
        if condition in true:
            return text
    if obj["metadata"].get("deletionTimestamp"):
        return "Terminating"
    for condition in ("Suspended", "FailureTarget", "SuccessCriteriaMet"):
        if condition in true:
            return condition
    return "Running"


def _cron_job(obj: Obj, now: datetime) -> Cells:
    spec, status = obj["spec"], obj.get("status", {})
    last = status.get("lastScheduleTime")
    job = spec["jobTemplate"].get("spec", {})
    return [
        name_of(obj),
        spec.get("schedule", ""),
        spec.get("timeZone") or NONE,
        str(bool(spec.get("suspend"))),
        len(status.get("active") or ()),
        since(last, now) if last else NONE,
        age(obj, now),
        *containers_and_images(job.get("template", {})),
        selector_text(job.get("selector")),
    ]


def _pod_template(obj: Obj, _now: datetime) -> Cells:
    template = obj.get("template", {})
    return [
        name_of(obj),
        *containers_and_images(template),
        labels_text(template.get("metadata", {}).get("labels")),
    ]


def _controller_revision(obj: Obj, now: datetime) -> Cells:
    owners = obj["metadata"].get("ownerReferences") or ()
    owner = next((each for each in owners if each.get("controller")), None)
    text = NONE
    if owner is not None:
        group = owner["apiVersion"].partition("/")[0] if "/" in owner["apiVersion"] else ""
        kind = f"{owner['kind'].lower()}.{group}" if group else owner["kind"].lower()
        text = f"{kind}/{owner['name']}"
    return [name_of(obj), text, obj.get("revision", 0), age(obj, now)]


def _template_cells(obj: Obj) -> tuple[str, str]:
    return containers_and_images(obj["spec"].get("template", {}))


_REPLICAS = columns(integer("Desired"), integer("Current"), integer("Ready"), AGE, *WORKLOAD_TAIL)
_POD_TAIL = (wide("IP"), wide("Node"), wide("Nominated Node"), wide("Readiness Gates"))
_JOB_COLUMNS = columns("Status", "Completions", "Duration", AGE, *WORKLOAD_TAIL)
_CRON_COLUMNS = (Column("Suspend", "boolean"), integer("Active"), "Last Schedule", AGE, *WORKLOAD_TAIL)
_DAEMON_NUMBERS = tuple(integer(name) for name in ("Desired", "Current", "Ready", "Up-to-date", "Available"))

PRINTERS: dict[tuple[str, str], Printer] = {
    ("", "Pod"): Printer(columns("Ready", "Status", "Restarts", AGE, *_POD_TAIL), _pod),
    ("", "PodTemplate"): Printer(columns("Containers", "Images", "Pod Labels"), _pod_template),
    ("", "ReplicationController"): Printer(_REPLICAS, _replication_controller),
    ("apps", "ReplicaSet"): Printer(_REPLICAS, _replica_set),
    ("apps", "Deployment"): Printer(columns("Ready", "Up-to-date", "Available", AGE, *WORKLOAD_TAIL), _deployment),
    ("apps", "StatefulSet"): Printer(columns("Ready", AGE, wide("Containers"), wide("Images")), _stateful_set),
    ("apps", "DaemonSet"): Printer(columns(*_DAEMON_NUMBERS, "Node Selector", AGE, *WORKLOAD_TAIL), _daemon_set),
    ("apps", "ControllerRevision"): Printer(columns("Controller", "Revision", AGE), _controller_revision),
    ("batch", "Job"): Printer(_JOB_COLUMNS, _job),
    ("batch", "CronJob"): Printer(columns("Schedule", "Timezone", *_CRON_COLUMNS), _cron_job),
}
