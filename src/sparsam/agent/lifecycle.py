"""What to do next with a pod: a pure decision from what is wanted, what the engine shows, and what is remembered.

Everything that affects the order of a pod's life is in this file. `decide` is level-triggered: it does not matter
which event led to it or how many were missed, and deciding twice on one view gives the same answer. The worker
carries the actions out and calls again.

    set up volumes -> sandbox -> init containers in order -> containers, restarted as the policy says
    deletion: kill containers, then sidecars -> tear down sandbox, volumes, group -> delete from the API
"""

from __future__ import annotations

import math
from dataclasses import replace

from sparsam.agent.eviction import EVICTED
from sparsam.agent.podspec import (
    Obj,
    all_containers,
    container_spec,
    ephemeral_containers,
    init_containers,
    is_sidecar,
    is_terminal,
    key_of,
    main_containers,
    reported_status,
    restart_policy,
    spec_hash,
)
from sparsam.agent.podstate import (
    FINISH,
    RESET,
    SANDBOX,
    SETUP,
    Action,
    ClearVolumes,
    Decision,
    Finish,
    KillContainer,
    PodView,
    Progress,
    RemoveContainer,
    RemoveSandbox,
    ResetContainers,
    RunPreStop,
    RunSandbox,
    SetUp,
    StartContainer,
    StopSandboxes,
    TearDown,
    Waiting,
    container_key,
    hook_key,
)
from sparsam.agent.probing import PROBE_FIELDS
from sparsam.agent.runtime import CONTAINER_HASH, Container, ContainerState
from sparsam.clock import go_duration, parse_time

FIRST_BACKOFF_SECONDS = 10.0
LAST_BACKOFF_SECONDS = 300.0
BACKOFF_RESET_SECONDS = 2 * LAST_BACKOFF_SECONDS
KEPT_RUNS = 2
"""The newest run of a container and the one before it, whose log `kubectl logs --previous` shows."""

FAULT_SHOWN_SECONDS = 2.0
"""How long a failed pull shows as such before it shows as waiting for the next try."""

LEAST_GRACE_SECONDS = 2
"""What a container gets to end in, however late its turn comes; upstream's figure."""


_DEADLINE_EXCEEDED = Waiting("DeadlineExceeded", "Pod was active on the node longer than the specified deadline")


def decide(view: PodView, now: float) -> Decision:
    """The next actions for a pod at `now` (Unix seconds)."""
    if view.terminating:
        return _terminate(view)
    if view.refused:
        return Decision(
            waiting={spec["name"]: Waiting("Unsupported", view.refused) for spec in all_containers(view.pod)}
        )
    deadline = _deadline(view)
    failure = view.failure or (_DEADLINE_EXCEEDED if deadline is not None and now >= deadline else None)
    if failure is not None:
        return replace(_wind_up(view), failure=failure)
    if not is_terminal(view.pod) and (cause := restart_cause(view)) is not None and view.sandbox is not None:
        return _restart_all(view, cause, now)
    if is_terminal(view.pod) or finished(view):
        return _wind_up(view)
    decision = _advance(view, now)
    times = [at for at in (deadline, decision.wake_at) if at is not None]
    return replace(decision, wake_at=min(times, default=None))


def should_restart(pod: Obj, spec: Obj, run: Container) -> bool:
    """Whether the restart policy wants an ended container back; an ephemeral one runs once."""
    if any(spec is ephemeral for ephemeral in ephemeral_containers(pod)):
        return False
    if matching_rule(spec, run) is not None:
        return True
    policy = spec.get("restartPolicy") or restart_policy(pod)
    if is_sidecar(spec):
        return True
    failed = not run.succeeded
    if any(spec is init for init in init_containers(pod)):
        return policy != "Never" and failed
    return policy == "Always" or (policy == "OnFailure" and failed)


def matching_rule(spec: Obj, run: Container) -> Obj | None:
    """The first restart rule of a container that is about how this run ended."""
    return next((rule for rule in spec.get("restartPolicyRules") or () if _rule_matches(rule, run)), None)


def restart_cause(view: PodView) -> Container | None:
    """The run whose end wants all containers of the pod started anew (KEP-5532); None when there is none."""
    for spec in all_containers(view.pod):
        run = view.run(spec["name"])
        if run is not None and run.exited:
            rule = matching_rule(spec, run)
            if rule is not None and rule.get("action") == "RestartAllContainers":
                return run
    return None


def _rule_matches(rule: Obj, run: Container) -> bool:
    """Whether a restart rule of a container (KEP-5307) is about how this run ended."""
    codes = rule.get("exitCodes") or {}
    listed = run.exit_code in (codes.get("values") or ())
    return run.state is ContainerState.EXITED and listed == (codes.get("operator") == "In")


def initialized(view: PodView) -> bool:
    """Whether all init containers did their part: ended well, or, as sidecars, came up."""
    runs = [view.run(spec["name"]) for spec in main_containers(view.pod)]
    if any(run is not None and _in_use(view, run) for run in runs):
        return True
    return all(_init_done(view, spec) for spec in init_containers(view.pod))


def finished(view: PodView) -> bool:
    """Whether every container ended for good (or an init container failed for good)."""
    for spec in init_containers(view.pod):
        run = view.run(spec["name"])
        if not is_sidecar(spec) and run is not None and run.exited and not run.succeeded:
            return not should_restart(view.pod, spec, run)
    runs = [(spec, view.run(spec["name"])) for spec in main_containers(view.pod)]
    return bool(runs) and all(
        run is not None and run.exited and not should_restart(view.pod, spec, run) for spec, run in runs
    )


def is_changing(view: PodView, spec: Obj) -> bool:
    """Whether an operation keeps a container from being looked at: it is being made, and its hook may still run.

    One that had started serves on while it is being stopped, for its pod's sake or its own.
    """
    if container_key(spec["name"]) not in view.busy:
        return False
    reported = reported_status(view.pod, spec["name"]) or {}
    run = view.run(spec["name"])
    same = run is not None and (reported.get("containerID") or "").endswith(run.id)
    return not (same and reported.get("started"))


def is_started(view: PodView, spec: Obj) -> bool:
    """Whether a container runs and its startup probe and postStart hook are through."""
    run = view.run(spec["name"])
    if run is None or not run.running or is_changing(view, spec):
        return False
    health = view.health(spec["name"])
    return health.started if health.started is not None else "startupProbe" not in spec


def is_ready(view: PodView, spec: Obj) -> bool:
    """Whether a started container may get traffic."""
    if not is_started(view, spec):
        return False
    health = view.health(spec["name"])
    return health.ready if health.ready is not None else "readinessProbe" not in spec


def next_backoff(progress: Progress, now: float) -> Progress:
    """Progress after one more restart at `now`: 10 s, doubling up to 300 s, forgotten after ten quiet minutes."""
    seconds = _live_backoff(progress, now)
    seconds = min(2 * seconds, LAST_BACKOFF_SECONDS) if seconds else FIRST_BACKOFF_SECONDS
    return replace(progress, backoff_seconds=seconds, backoff_at=now)


def _advance(view: PodView, now: float) -> Decision:
    if not view.volumes_ready:
        return _once(view, SETUP, SetUp(), now)
    if view.sandbox is None:
        attempt = max((sandbox.attempt + 1 for sandbox in view.sandboxes), default=0)
        return _once(view, SANDBOX, RunSandbox(attempt), now)
    steps = [_step(view, spec, now) for spec in ephemeral_containers(view.pod)]
    complete = initialized(view)
    for spec in init_containers(view.pod):
        if complete and not is_sidecar(spec):
            continue
        steps.append(_step(view, spec, now))
        if not complete and not _init_done(view, spec):
            break
    if complete:
        steps += [_step(view, spec, now) for spec in main_containers(view.pod)]
    return _merge(view, steps)


def _restart_all(view: PodView, cause: Container, now: float) -> Decision:
    """End every container without hooks, wait as after a crash, and forget all runs once they were reported."""
    running = [run for run in view.containers if run.running]
    starting = any(key.startswith(container_key("")) for key in view.busy)
    if running or starting or RESET in view.busy:
        message = f"Container {cause.name} exited, all containers of the pod will be restarted"
        kills = [run for run in running if container_key(run.name) not in view.busy]
        return Decision(tuple(KillContainer(run, 0, message, hook=False) for run in kills))
    progress = view.health(cause.name)
    until = cause.finished_seconds + _live_backoff(progress, now)
    if now < until:
        return Decision(wake_at=until, waiting={cause.name: _crash_loop(view, cause.name, progress)})
    names = {run.name for run in view.containers}
    if not all(_was_reported(view, view.run(name)) for name in names):
        return Decision()  # restarts are counted on from what the API was told
    others = [run.id for run in view.containers if run.id != cause.id]
    return Decision((ResetContainers(cause.name, (*others, cause.id)),))


def _was_reported(view: PodView, run: Container | None) -> bool:
    entry = reported_status(view.pod, run.name) if run is not None else None
    known = container_spec(view.pod, run.name) if run is not None else None
    return known is None or (entry is not None and run is not None and entry.get("containerID", "").endswith(run.id))


def _merge(view: PodView, steps: list[Decision]) -> Decision:
    """One decision of the containers' own: containers start one after the other, in the spec's order."""
    waiting: dict[str, Waiting] = {}
    actions: list[Action] = _leftovers(view)
    starting = any(key.startswith(container_key("")) for key in view.busy)
    for step in steps:
        waiting.update(step.waiting)
        for action in step.actions:
            if isinstance(action, StartContainer):
                if starting:
                    continue
                starting = True
            actions.append(action)
    return Decision(tuple(actions), min((s.wake_at for s in steps if s.wake_at is not None), default=None), waiting)


def _step(view: PodView, spec: Obj, now: float) -> Decision:
    """The next action for one container whose turn it is."""
    name = spec["name"]
    progress = view.health(name)
    run = view.run(name)
    if run is not None and run.running:
        return Decision() if container_key(name) in view.busy else _step_running(view, spec, run, progress)
    waiting = {name: _fault_shown(spec, progress, now)} if progress.fault is not None else {}
    if container_key(name) in view.busy:
        return Decision(waiting=waiting)
    doubtful = _settle(view, run) if run is not None else None
    if doubtful is not None:
        return Decision((doubtful,), waiting=waiting)
    ended = run is not None and run.exited
    if run is not None and ended:
        if not _wanted_again(view, spec, run):
            return Decision()
        until = run.finished_seconds + _live_backoff(progress, now)
        if now < until:
            return Decision(wake_at=until, waiting={name: _crash_loop(view, name, progress)})
    if now < progress.retry_at:
        turn = progress.fault_at + FAULT_SHOWN_SECONDS
        return Decision(wake_at=turn if now < turn < progress.retry_at else progress.retry_at, waiting=waiting)
    attempt = _first_attempt(view.pod, name) if run is None else run.attempt + 1
    return Decision((StartContainer(name, attempt, ended),), waiting=waiting)


def _settle(view: PodView, run: Container) -> Action | None:
    """Keeps a run of unclear state from living beside the next: a killed agent may just have asked for its start."""
    if run.state is ContainerState.UNKNOWN:
        return KillContainer(run, view.grace_seconds, f"Container {run.name} is in unknown state, try killing it")
    if run.state is ContainerState.CREATED:
        return RemoveContainer(run.id)
    return None


def _first_attempt(pod: Obj, name: str) -> int:
    """Zero, or one more than was reported before the engine lost all runs of the container."""
    reported = reported_status(pod, name)
    return int(reported["restartCount"]) + 1 if reported is not None and reported.get("containerID") else 0


def _fault_shown(spec: Obj, progress: Progress, now: float) -> Waiting:
    """The fault as it is, and after a while, for a failed pull, that there is a pause before the next try."""
    fault = progress.fault or Waiting("ContainerCreating")
    if fault.reason == "ErrImagePull" and now >= progress.fault_at + FAULT_SHOWN_SECONDS:
        return Waiting("ImagePullBackOff", f'Back-off pulling image "{spec["image"]}": ErrImagePull: {fault.message}')
    return fault


def _step_running(view: PodView, spec: Obj, run: Container, progress: Progress) -> Decision:
    message, grace_seconds = "", view.grace_seconds
    if progress.failed_probe:
        message = f"Container {run.name} failed {progress.failed_probe} probe, will be restarted"
        own = (spec.get(PROBE_FIELDS[progress.failed_probe]) or {}).get("terminationGracePeriodSeconds")
        grace_seconds = grace_seconds if own is None else int(own)
    known = run.annotations.get(CONTAINER_HASH)
    if not message and known is not None and known != spec_hash(spec):
        message = f"Container {run.name} definition changed, will be restarted"
    return Decision((KillContainer(run, grace_seconds, message),)) if message else Decision()


def _wanted_again(view: PodView, spec: Obj, run: Container) -> bool:
    """Whether an ended container runs once more; in a new sandbox the init containers do so too."""
    is_init = any(spec is init for init in init_containers(view.pod))
    return (is_init and not _in_use(view, run)) or should_restart(view.pod, spec, run)


def _crash_loop(view: PodView, name: str, progress: Progress) -> Waiting:
    seconds = go_duration(progress.backoff_seconds)
    return Waiting("CrashLoopBackOff", f"back-off {seconds} restarting failed container={name} pod={key_of(view.pod)}")


def _live_backoff(progress: Progress, now: float) -> float:
    return progress.backoff_seconds if now - progress.backoff_at <= BACKOFF_RESET_SECONDS else 0.0


def _init_done(view: PodView, spec: Obj) -> bool:
    if is_sidecar(spec):
        return is_started(view, spec)
    run = view.run(spec["name"])
    return run is not None and run.succeeded and _in_use(view, run)


def _in_use(view: PodView, run: Container) -> bool:
    """Whether a run belongs to the sandbox in use; with none in use, the newest one counts."""
    newest = view.sandbox or (view.sandboxes[0] if view.sandboxes else None)
    return newest is None or run.sandbox_id == newest.id


def _once(view: PodView, key: str, action: Action, now: float) -> Decision:
    if key in view.busy:
        return Decision()
    return Decision((action,)) if now >= view.retry_at else Decision(wake_at=view.retry_at)


def _leftovers(view: PodView) -> list[Action]:
    """Runs and sandboxes that nobody looks at any more."""
    actions: list[Action] = []
    kept = set()
    for name in {container.name for container in view.containers}:
        runs = [c for c in view.containers if c.name == name]
        kept |= {run.sandbox_id for run in runs[:KEPT_RUNS]}
        actions += [RemoveContainer(run.id) for run in runs[KEPT_RUNS:] if not run.running]
    if SANDBOX in view.busy:
        return actions
    actions += [RemoveSandbox(s.id) for s in view.sandboxes if not s.ready and s.id not in kept]
    # A second sandbox can only come of a killed agent's last wish; what it holds must not run beside the first.
    doubles = tuple(s.id for s in view.sandboxes if s.ready and s is not view.sandbox)
    return [*actions, StopSandboxes(doubles)] if doubles else actions


def _wind_up(view: PodView) -> Decision:
    """The pod is through: end what still runs, give address and volumes back, keep containers for their logs.

    Those of an evicted pod go too, once the API knows how it ended: the node needs what their layers take.
    """
    kills = _kills(view)
    if kills or view.busy or any(container.running for container in view.containers):
        return Decision(tuple(kills))
    ready = tuple(sandbox.id for sandbox in view.sandboxes if sandbox.ready)
    if ready:
        return Decision((StopSandboxes(ready),))
    if not view.cleared:
        return Decision((ClearVolumes(),))
    evicted = is_terminal(view.pod) and (view.pod.get("status") or {}).get("reason") == EVICTED
    return Decision(tuple(RemoveContainer(run.id) for run in view.containers) if evicted else ())


def _terminate(view: PodView) -> Decision:
    if view.torn_down:
        return Decision(() if FINISH in view.busy else (Finish(),))
    kills = _kills(view)
    if kills or view.busy or any(container.running for container in view.containers):
        return Decision(tuple(kills))
    return Decision((TearDown(),))


def _kills(view: PodView) -> list[Action]:
    """End containers all at once, and sidecars once the containers are gone, the last one first.

    The sidecars' preStop hooks do not wait for their turn, as upstream.
    """
    sidecars = [spec["name"] for spec in reversed(init_containers(view.pod)) if is_sidecar(spec)]
    running = [container for container in view.containers if container.running]
    targets = [container for container in running if container.name not in sidecars]
    if not targets and running:
        targets = [next(c for name in sidecars for c in running if c.name == name)]
    actions: list[Action] = []
    for container in running:
        waits = container not in targets
        if container_key(container.name) in view.busy or hook_key(container.name) in view.busy:
            continue
        if waits and container.id not in view.hooked and _has_pre_stop(view.pod, container.name):
            actions.append(RunPreStop(container, view.grace_seconds))
        if not waits:
            grace, hook = view.grace_seconds, container.id not in view.hooked
            if container.name in sidecars and grace > LEAST_GRACE_SECONDS:
                grace = max(LEAST_GRACE_SECONDS, math.ceil(grace - view.grace_spent_seconds))
            actions.append(KillContainer(container, grace, f"Stopping container {container.name}", hook))
    return actions


def _has_pre_stop(pod: Obj, name: str) -> bool:
    spec = container_spec(pod, name) or {}
    return bool((spec.get("lifecycle") or {}).get("preStop"))


def _deadline(view: PodView) -> float | None:
    """When activeDeadlineSeconds ends the pod."""
    seconds = view.pod["spec"].get("activeDeadlineSeconds")
    start = (view.pod.get("status") or {}).get("startTime")
    return None if seconds is None or start is None else parse_time(start).timestamp() + float(seconds)
