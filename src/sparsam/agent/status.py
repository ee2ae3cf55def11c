"""A pod's status as upstream reports it: pure, from the same view that decisions are made from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sparsam.agent.eviction import EVICTED, TERMINATED
from sparsam.agent.lifecycle import finished, initialized, is_ready, is_started, restart_cause, should_restart
from sparsam.agent.podspec import (
    Obj,
    all_containers,
    ephemeral_containers,
    init_containers,
    is_sidecar,
    is_terminal,
    main_containers,
    reported_status,
    restart_policy,
)
from sparsam.agent.podstate import TEARDOWN, Decision, PodView, Waiting
from sparsam.agent.resizing import NO_RESIZE, RESIZE_CONDITIONS, ResizeState, reported_resources, resize_conditions
from sparsam.agent.resources import qos_class
from sparsam.agent.runtime import Container, ContainerState
from sparsam.clock import format_time

_UNKNOWN = "ContainerStatusUnknown"
_NEVER_FOUND = {
    "exitCode": 137,
    "reason": _UNKNOWN,
    "message": "The container could not be located when the pod was terminated",
}
"""What upstream says of a container that has not run when its pod is gone."""


def pod_status(
    view: PodView, decision: Decision, node_ips: tuple[str, ...], now: float, resize: ResizeState = NO_RESIZE
) -> Obj:
    """The whole status; what others wrote (conditions, nominatedNodeName) is kept."""
    old: Obj = view.pod.get("status") or {}
    moment = stamp(now)
    generation = view.pod["metadata"].get("generation")
    status: Obj = {
        name: value for name, value in old.items() if name not in ("message", "reason", "phase", "containerStatuses")
    }
    if generation:
        status["observedGeneration"] = generation
    inits = [_container_status(view, decision, spec, True) for spec in init_containers(view.pod)]
    mains = [_container_status(view, decision, spec, False) for spec in main_containers(view.pod)]
    failure = decision.failure or view.failure
    # As upstream: a pod has not failed before the last of its containers has ended.
    told = failure if not any(run.running for run in view.containers) else None
    phase = _phase(view, told, mains)
    status["phase"] = phase
    if told is not None:
        status["reason"], status["message"] = told.reason, told.message
    elif view.refused:
        status["reason"], status["message"] = "Unsupported", view.refused
    kept = [
        each for each in _conditions(view, phase, mains, moment, generation) if each["type"] not in RESIZE_CONDITIONS
    ]
    status["conditions"] = kept + resize_conditions(view.pod, resize, moment) + _disruption(kept, failure, moment)
    for entry in (*inits, *mains):
        entry.update(reported_resources(view, entry, resize))
    status["hostIP"] = node_ips[0]
    status["hostIPs"] = [{"ip": ip} for ip in node_ips]
    ips = _pod_ips(view, node_ips)
    if ips:
        status["podIP"], status["podIPs"] = ips[0], [{"ip": ip} for ip in ips]
    status.setdefault("startTime", moment)
    if inits:
        status["initContainerStatuses"] = inits
    status["containerStatuses"] = mains
    if ephemeral_containers(view.pod):
        status["ephemeralContainerStatuses"] = [
            _container_status(view, decision, spec, False) for spec in ephemeral_containers(view.pod)
        ]
    status["qosClass"] = old.get("qosClass") or qos_class(view.pod)
    return status


def _disruption(conditions: list[Obj], failure: Waiting | None, moment: str) -> list[Obj]:
    """The condition of a pod that the node itself ends for others' sake (KEP-3329)."""
    if (
        failure is None
        or failure.reason not in (EVICTED, TERMINATED)
        or any(c["type"] == "DisruptionTarget" for c in conditions)
    ):
        return []
    words = {"reason": "TerminationByKubelet", "message": failure.message}
    return [
        {"type": "DisruptionTarget", "status": "True", "lastProbeTime": None, "lastTransitionTime": moment, **words}
    ]


def stamp(seconds: float) -> str:
    """Unix seconds as Kubernetes writes a time."""
    return format_time(datetime.fromtimestamp(seconds, UTC))


def status_patch(old: Obj, new: Obj) -> Obj:
    """A strategic merge patch from one status to the other; empty when they are equal."""
    patch: Obj = {name: value for name, value in new.items() if old.get(name) != value and name != "conditions"}
    patch.update({name: None for name in old if name not in new})
    for name in ("podIPs", "hostIPs"):
        if patch.get(name):
            # These lists merge by address: without a word the old addresses would stay beside the new ones.
            patch[name] = [*patch[name], {"$patch": "replace"}]
    before = {condition["type"]: condition for condition in old.get("conditions") or ()}
    changed = []
    for condition in new.get("conditions") or ():
        previous = before.get(condition["type"], {})
        if previous != condition:
            changed.append({**{name: None for name in previous if name not in condition}, **condition})
    kept = {condition["type"] for condition in new.get("conditions") or ()}
    changed += [{"type": kind, "$patch": "delete"} for kind in before if kind not in kept]
    if changed:
        patch["conditions"] = changed
    return patch


def _pod_ips(view: PodView, node_ips: tuple[str, ...]) -> tuple[str, ...]:
    if view.pod["spec"].get("hostNetwork"):
        return node_ips if view.sandboxes else ()
    return view.sandbox.ips if view.sandbox is not None else ()


def _container_status(view: PodView, decision: Decision, spec: Obj, init: bool) -> Obj:
    name = spec["name"]
    run = view.run(name)
    reported = reported_status(view.pod, name)
    if run is None and reported is not None and reported.get("containerID") and is_terminal(view.pod):
        return reported  # the engine forgot the run; how it ended stands
    status: Obj = {
        "name": name,
        "state": _state(view, decision, spec, run, init),
        "ready": _ready(view, spec, run, init),
        "restartCount": run.attempt if run is not None else (reported or {}).get("restartCount", 0),
        "image": run.image if run is not None and run.image else spec["image"],
        "imageID": run.image_id if run is not None else "",
        "started": is_started(view, spec),
    }
    signal = (spec.get("lifecycle") or {}).get("stopSignal")
    if signal:
        status["stopSignal"] = signal
    if spec.get("volumeMounts") and run is not None:
        status["volumeMounts"] = [_mount_status(mount) for mount in spec["volumeMounts"]]
    if run is None and reported is not None and reported.get("containerID"):
        status["containerID"] = reported["containerID"]  # restarts are counted on from there
    if run is not None:
        status["containerID"] = f"containerd://{run.id}"
    status["lastState"] = _last_state(view, name, run, status["state"], reported or {})
    return status


def _last_state(view: PodView, name: str, run: Container | None, state: Obj, reported: Obj) -> Obj:
    """How the run before the one in `state` ended, also when the engine forgot it meanwhile."""
    shown = run if run is not None and run.exited and "terminated" not in state else view.previous_run(name)
    if shown is not None and shown.exited:
        return {"terminated": terminated(shown)}
    if run is not None and run.attempt == 0:
        return {}
    ended: Obj = reported.get("state") or {}
    same = run is not None and str(reported.get("containerID", "")).endswith(run.id)
    return ended if "terminated" in ended and not same else reported.get("lastState") or {}


def _mount_status(mount: Obj) -> Obj:
    """A mount as it came to be: engines of today's interface version make no mount read-only recursively."""
    status: Obj = {"name": mount["name"], "mountPath": mount["mountPath"]}
    return {**status, "readOnly": True, "recursiveReadOnly": "Disabled"} if mount.get("readOnly") else status


def _ready(view: PodView, spec: Obj, run: Container | None, init: bool) -> bool:
    if init and not is_sidecar(spec):
        return run is not None and run.succeeded
    return is_ready(view, spec)


def _state(view: PodView, decision: Decision, spec: Obj, run: Container | None, init: bool) -> Obj:
    waiting = decision.waiting.get(spec["name"])
    if run is not None and run.running:
        return {"running": {"startedAt": stamp(run.started_seconds)}}
    if waiting is not None and not view.terminating:
        return {"waiting": _waiting(waiting)}
    if run is not None and run.exited:
        return {"terminated": terminated(run)}
    if not init and _torn_down(view) and initialized(view):
        return {"terminated": dict(_NEVER_FOUND)}
    has_inits = bool(init_containers(view.pod))
    return {"waiting": {"reason": "PodInitializing" if has_inits else "ContainerCreating"}}


def _torn_down(view: PodView) -> bool:
    """Whether what has not run will never run."""
    return view.terminating and TEARDOWN in view.busy


def _waiting(waiting: Waiting) -> Obj:
    return {"reason": waiting.reason, **({"message": waiting.message} if waiting.message else {})}


def terminated(run: Container) -> Obj:
    """The state of a run that ended."""
    lost = run.state is ContainerState.UNKNOWN
    state: Obj = {"exitCode": 137 if lost else run.exit_code}
    reason = _UNKNOWN if lost else run.reason or ("Error" if run.exit_code else "Completed")
    state["reason"] = reason
    if run.message:
        state["message"] = run.message
    if run.started_seconds:
        state["startedAt"] = stamp(run.started_seconds)
    if run.finished_seconds:
        state["finishedAt"] = stamp(run.finished_seconds)
    state["containerID"] = f"containerd://{run.id}"
    return state


def _phase(view: PodView, failure: Waiting | None, mains: list[Obj]) -> str:
    """Upstream's rules, in its order."""
    if is_terminal(view.pod):
        return str(view.pod["status"]["phase"])
    if failure is not None:
        return "Failed"
    specs = main_containers(view.pod)
    if finished(view):
        runs = [view.run(spec["name"]) for spec in specs]
        return "Succeeded" if all(run is not None and run.succeeded for run in runs) else "Failed"
    states = [status["state"] for status in mains]
    seen = [view.run(spec["name"]) for spec in specs]
    # What is torn down before it ran will not run: controllers that count wait for a pod's end, whatever it was.
    not_yet = "Failed" if _torn_down(view) else "Pending"
    if not initialized(view) and not any("running" in state for state in states):
        return not_yet
    if any("waiting" in state and (run is None or not run.exited) for state, run in zip(states, seen, strict=True)):
        return not_yet
    if any("running" in state for state in states):
        return "Running"
    return _phase_when_stopped(view, specs, seen)


def _phase_when_stopped(view: PodView, specs: list[Obj], runs: list[Container | None]) -> str:
    """No container runs, each ran at least once: deleted pods end here, others are between two runs."""
    if restart_policy(view.pod) == "Always" and not view.terminating:
        return "Running"
    if view.terminating:
        return "Succeeded" if all(run is not None and run.succeeded for run in runs) else "Failed"
    ended = [run for run in runs if run is not None]
    wanted = any(should_restart(view.pod, spec, run) for spec, run in zip(specs, ended, strict=False))
    return "Running" if wanted else "Failed"


def _conditions(view: PodView, phase: str, mains: list[Obj], moment: str, generation: int | None) -> list[Obj]:
    old = {condition["type"]: condition for condition in (view.pod.get("status") or {}).get("conditions") or ()}
    containers_ready = _containers_ready(view, phase, mains)
    wanted: dict[str, tuple[bool, str, str]] = {
        "PodReadyToStartContainers": (
            view.sandbox is not None and bool(view.sandbox.ips or view.sandbox.host_network),
            "",
            "",
        ),
        "Initialized": _initialized(view, phase),
        "Ready": _with_gates(view, containers_ready, old),
        "ContainersReady": containers_ready,
        "PodScheduled": (True, "", ""),
    }
    if _may_restart_all(view.pod):
        wanted["AllContainersRestarting"] = _restarting(view, phase)
    conditions = []
    for kind, what in wanted.items():
        condition = _condition(kind, what, old.get(kind), moment)
        if generation:
            condition["observedGeneration"] = generation
        conditions.append(condition)
    return conditions + [condition for kind, condition in old.items() if kind not in wanted]


def _condition(kind: str, wanted: tuple[bool, str, str], old: Obj | None, moment: str) -> Obj:
    """A condition; its transition time moves only with its status."""
    true, reason, message = wanted
    condition: dict[str, Any] = {"type": kind, "status": "True" if true else "False", "lastProbeTime": None}
    if reason:
        condition["reason"] = reason
    if message:
        condition["message"] = message
    since = old.get("lastTransitionTime") if old is not None and old.get("status") == condition["status"] else None
    condition["lastTransitionTime"] = since or moment
    return condition


def _initialized(view: PodView, phase: str) -> tuple[bool, str, str]:
    if phase == "Succeeded":
        return True, "PodCompleted", ""
    if initialized(view) or not init_containers(view.pod):
        return True, "", ""
    undone = [spec["name"] for spec in init_containers(view.pod) if not _init_complete(view, spec)]
    return False, "ContainersNotInitialized", f"containers with incomplete status: [{' '.join(undone)}]"


def _init_complete(view: PodView, spec: Obj) -> bool:
    run = view.run(spec["name"])
    if is_sidecar(spec):
        return is_started(view, spec)
    return run is not None and run.succeeded


def _containers_ready(view: PodView, phase: str, mains: list[Obj]) -> tuple[bool, str, str]:
    if phase == "Succeeded":
        return False, "PodCompleted", ""
    if phase == "Failed":
        return False, "PodFailed", ""
    unready = [status["name"] for status in mains if not status["ready"]]
    unready = [
        spec["name"] for spec in init_containers(view.pod) if is_sidecar(spec) and not is_ready(view, spec)
    ] + unready
    if not unready:
        return True, "", ""
    return False, "ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]"


def _may_restart_all(pod: Obj) -> bool:
    rules = (rule for spec in all_containers(pod) for rule in spec.get("restartPolicyRules") or ())
    return any(rule.get("action") == "RestartAllContainers" for rule in rules)


def _restarting(view: PodView, phase: str) -> tuple[bool, str, str]:
    if phase in ("Succeeded", "Failed"):
        return False, "PodCompleted" if phase == "Succeeded" else "PodFailed", ""
    return restart_cause(view) is not None, "", ""


def _with_gates(
    view: PodView, containers_ready: tuple[bool, str, str], conditions: dict[str, Obj]
) -> tuple[bool, str, str]:
    if not containers_ready[0]:
        return containers_ready
    for gate in view.pod["spec"].get("readinessGates") or ():
        kind = gate["conditionType"]
        condition = conditions.get(kind)
        if condition is None:
            return (
                False,
                "ReadinessGatesNotReady",
                f'corresponding condition of pod readiness gate "{kind}" does not exist.',
            )
        if condition["status"] != "True":
            message = f'the status of pod readiness gate "{kind}" is not "True", but {condition["status"]}'
            return False, "ReadinessGatesNotReady", message
    return True, "", ""
