"""What to do next with a pod: tables for the rules, and a simulated engine for whole lives."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsam.agent import podstate
from sparsam.agent.lifecycle import decide, finished, is_ready, next_backoff, should_restart
from sparsam.agent.podspec import spec_hash
from sparsam.agent.podstate import (
    ClearVolumes,
    Decision,
    Finish,
    KillContainer,
    PodView,
    Progress,
    RemoveContainer,
    ResetContainers,
    RunPreStop,
    RunSandbox,
    SetUp,
    StartContainer,
    StopSandboxes,
    TearDown,
    Waiting,
)
from sparsam.agent.runtime import CONTAINER_HASH, Container, ContainerState, Sandbox
from sparsam.clock import go_duration
from tests.support.agent import container, pod

NOW = 1_800_000_000.0
SANDBOX = Sandbox("s0", "uid", "web", "default", 0, True, NOW, ("10.0.0.2",))


def run(name: str = "main", state: str = "running", **fields: Any) -> Container:
    defaults = {"id": f"{name}-0", "sandbox_id": "s0", "uid": "uid", "attempt": 0, "created_seconds": NOW - 60}
    defaults |= {"started_seconds": NOW - 60, "finished_seconds": NOW - 1 if state == "exited" else 0.0}
    return Container(name=name, state=ContainerState(state), **{**defaults, **fields})


def view(*runs: Container, wanted: Any = None, **fields: Any) -> PodView:
    defaults = {"sandboxes": (SANDBOX,), "volumes_ready": True}
    return PodView(pod=wanted or pod(), containers=runs, **{**defaults, **fields})


def test_a_new_pod_is_set_up_then_gets_a_sandbox_then_its_container():
    assert decide(view(sandboxes=(), volumes_ready=False), NOW).actions == (SetUp(),)
    assert decide(view(sandboxes=()), NOW).actions == (RunSandbox(0),)
    assert decide(view(), NOW).actions == (StartContainer("main", 0, False),)
    assert decide(view(run()), NOW) == Decision()


def test_nothing_is_begun_twice():
    assert decide(view(sandboxes=(), volumes_ready=False, busy=frozenset({"setup"})), NOW) == Decision()
    assert decide(view(sandboxes=(), busy=frozenset({"sandbox"})), NOW) == Decision()
    assert decide(view(busy=frozenset({"container/main"})), NOW).actions == ()


def test_a_failed_set_up_waits_for_its_next_try():
    decision = decide(view(sandboxes=(), volumes_ready=False, retry_at=NOW + 4), NOW)
    assert decision.actions == ()
    assert decision.wake_at == NOW + 4


def test_containers_start_one_after_the_other():
    wanted = pod(container("a"), container("b"))
    assert decide(view(wanted=wanted), NOW).actions == (StartContainer("a", 0, False),)
    assert decide(view(run("a"), wanted=wanted), NOW).actions == (StartContainer("b", 0, False),)


def test_one_container_in_a_pull_pause_does_not_hold_up_the_next():
    wanted = pod(container("a"), container("b"))
    progress = {"a": Progress(fault=Waiting("ErrImagePull", "no"), fault_at=NOW - 5, retry_at=NOW + 5)}
    decision = decide(view(wanted=wanted, progress=progress), NOW)
    assert decision.actions == (StartContainer("b", 0, False),)
    assert decision.wake_at == NOW + 5
    assert decision.waiting["a"].reason == "ImagePullBackOff"


@pytest.mark.parametrize(
    ("policy", "exit_code", "again"),
    [
        ("Always", 0, True), ("Always", 1, True), ("OnFailure", 0, False),
        ("OnFailure", 1, True), ("Never", 0, False), ("Never", 1, False),
    ],
)  # fmt: skip
def test_an_ended_container_restarts_as_the_policy_says(policy: str, exit_code: int, again: bool):
    decision = decide(view(run(state="exited", exit_code=exit_code), wanted=pod(restartPolicy=policy)), NOW)
    if again:
        assert decision.actions == (StartContainer("main", 1, True),)
    else:
        assert decision.actions == (StopSandboxes(("s0",)),)


def test_the_pause_before_a_restart_counts_from_the_end_of_the_last_run():
    progress = {"main": Progress(backoff_seconds=40.0, backoff_at=NOW - 30)}
    decision = decide(view(run(state="exited", exit_code=1, attempt=2), progress=progress), NOW)
    assert decision.actions == ()
    assert decision.wake_at == NOW - 1 + 40
    assert decision.waiting["main"].reason == "CrashLoopBackOff"
    assert decision.waiting["main"].message.startswith("back-off 40s restarting failed container=main pod=")


def test_pauses_double_up_to_five_minutes_and_are_forgotten_after_ten():
    progress, pauses = Progress(), []
    for number in range(8):
        progress = next_backoff(progress, NOW + number * 300)
        pauses.append(progress.backoff_seconds)
    assert pauses == [10, 20, 40, 80, 160, 300, 300, 300]
    assert next_backoff(progress, progress.backoff_at + 601).backoff_seconds == 10


def test_durations_are_written_as_go_does():
    assert [go_duration(s) for s in (10, 80, 300, 3661)] == ["10s", "1m20s", "5m0s", "1h1m1s"]


def test_init_containers_come_first_in_order_and_only_once():
    wanted = pod(initContainers=[container("one"), container("two")])
    assert decide(view(wanted=wanted), NOW).actions == (StartContainer("one", 0, False),)
    one = run("one", "exited")
    assert decide(view(run("one"), wanted=wanted), NOW).actions == ()
    assert decide(view(one, wanted=wanted), NOW).actions == (StartContainer("two", 0, False),)
    two = run("two", "exited")
    assert decide(view(one, two, wanted=wanted), NOW).actions == (StartContainer("main", 0, False),)
    assert decide(view(run(), one, two, wanted=wanted), NOW).actions == ()


def test_a_sidecar_starts_in_its_turn_and_is_waited_for():
    side = container("side", restartPolicy="Always", startupProbe={"exec": {"command": ["true"]}})
    wanted = pod(initContainers=[side, container("last")])
    assert decide(view(wanted=wanted), NOW).actions == (StartContainer("side", 0, False),)
    assert decide(view(run("side"), wanted=wanted), NOW).actions == ()
    started = {"side": Progress(container_id="side-0", started=True)}
    assert decide(view(run("side"), wanted=wanted, progress=started), NOW).actions == (
        StartContainer("last", 0, False),
    )


def test_a_finished_pod_ends_its_sidecars_then_gives_its_address_back():
    wanted = pod(restartPolicy="Never", initContainers=[container("side", restartPolicy="Always")])
    ended = run(state="exited")
    killing = decide(view(ended, run("side"), wanted=wanted), NOW).actions
    assert [action.container.name for action in killing if isinstance(action, KillContainer)] == ["side"]
    stopped = run("side", "exited", exit_code=137)
    assert decide(view(ended, stopped, wanted=wanted), NOW).actions == (StopSandboxes(("s0",)),)


def test_a_new_sandbox_runs_init_containers_again():
    wanted = pod(initContainers=[container("one")])
    lost = replace(SANDBOX, ready=False)
    old = (run(state="exited", exit_code=137), run("one", "exited"))
    assert decide(view(*old, wanted=wanted, sandboxes=(lost,)), NOW).actions == (RunSandbox(1),)
    fresh = replace(SANDBOX, id="s1", attempt=1)
    again = decide(view(*old, wanted=wanted, sandboxes=(fresh, lost)), NOW)
    assert again.actions == (StartContainer("one", 1, True),)


def test_a_run_that_a_killed_agent_may_have_started_is_removed_before_the_next():
    created = run(state="created")
    assert decide(view(created), NOW).actions == (RemoveContainer("main-0"),)
    assert decide(view(created, busy=frozenset({"container/main"})), NOW).actions == ()


def test_a_run_of_unknown_state_is_killed_before_the_next():
    lost = run(state="unknown")
    (action,) = decide(view(lost), NOW).actions
    assert action == KillContainer(lost, 30, "Container main is in unknown state, try killing it")


def test_a_second_sandbox_is_stopped():
    second = replace(SANDBOX, id="s1", attempt=1)
    actions = decide(view(run(sandbox_id="s1"), sandboxes=(second, SANDBOX)), NOW).actions
    assert actions == (StopSandboxes(("s0",)),)
    busy = frozenset({podstate.SANDBOX})
    assert decide(view(run(sandbox_id="s1"), sandboxes=(second, SANDBOX), busy=busy), NOW).actions == ()


def test_an_unhealthy_or_changed_container_is_killed():
    unhealthy = {"main": Progress(container_id="main-0", failed_probe="liveness")}
    (kill,) = decide(view(run(), progress=unhealthy), NOW).actions
    assert isinstance(kill, KillContainer)
    assert kill.message == "Container main failed liveness probe, will be restarted"
    hasty = pod(container(livenessProbe={"terminationGracePeriodSeconds": 1}))
    (kill,) = decide(view(run(), progress=unhealthy, wanted=hasty), NOW).actions
    assert isinstance(kill, KillContainer)
    assert kill.grace_seconds == 1
    older = {"main": Progress(container_id="main-before", failed_probe="liveness")}
    assert decide(view(run(), progress=older), NOW).actions == ()
    wanted = pod()
    same = run(annotations={CONTAINER_HASH: spec_hash(wanted["spec"]["containers"][0])})
    assert decide(view(same, wanted=wanted), NOW).actions == ()
    (kill,) = decide(view(run(annotations={CONTAINER_HASH: "old"}), wanted=wanted), NOW).actions
    assert isinstance(kill, KillContainer)
    assert kill.message == "Container main definition changed, will be restarted"


def test_a_container_may_have_a_restart_policy_and_rules_of_its_own():
    ended = run(state="exited", exit_code=42)
    for own, again in (
        ({"restartPolicy": "Never"}, False),
        ({"restartPolicy": "OnFailure"}, True),
        ({"restartPolicyRules": [_rule("In", 42)], "restartPolicy": "Never"}, True),
        ({"restartPolicyRules": [_rule("NotIn", 42)], "restartPolicy": "Never"}, False),
        ({"restartPolicyRules": [_rule("NotIn", 7)], "restartPolicy": "Never"}, True),
    ):
        wanted = pod(container(**own))
        assert should_restart(wanted, wanted["spec"]["containers"][0], ended) is again, own
        assert finished(view(ended, wanted=wanted)) is not again


def _rule(operator: str, *codes: int, action: str = "Restart") -> dict[str, Any]:
    return {"action": action, "exitCodes": {"operator": operator, "values": list(codes)}}


def test_an_ephemeral_container_starts_beside_the_others_and_once():
    wanted = pod(ephemeralContainers=[container("debug")], initContainers=[container("first")])
    assert decide(view(wanted=wanted), NOW).actions == (StartContainer("debug", 0, False),)
    both = decide(view(run("debug"), wanted=wanted), NOW)
    assert both.actions == (StartContainer("first", 0, False),)
    over = view(run("debug", "exited", exit_code=1), run("first", "exited"), run(), wanted=wanted)
    assert decide(over, NOW).actions == ()


def test_deletion_kills_tears_down_and_finishes():
    ending = {"terminating": True, "grace_seconds": 7}
    (kill,) = decide(view(run(), **ending), NOW).actions
    assert kill == KillContainer(run(), 7, "Stopping container main")
    assert decide(view(run(), busy=frozenset({"container/main"}), **ending), NOW).actions == ()
    assert decide(view(run(state="exited"), **ending), NOW).actions == (TearDown(),)
    assert decide(view(sandboxes=(), torn_down=True, **ending), NOW).actions == (Finish(),)


def test_a_container_that_had_started_serves_on_while_it_is_being_stopped():
    ending = {"terminating": True, "busy": frozenset({"container/main"})}
    wanted = pod()
    assert not is_ready(view(run(), wanted=wanted, **ending), wanted["spec"]["containers"][0])
    reported = {"name": "main", "started": True, "containerID": "containerd://main-0"}
    wanted["status"]["containerStatuses"] = [reported]
    spec = wanted["spec"]["containers"][0]
    assert is_ready(view(run(), wanted=wanted, **ending), spec)
    # The same when it is stopped for its own sake: for a new image, say.
    assert is_ready(view(run(), wanted=wanted, busy=ending["busy"]), spec)
    # Another run of it, or one whose hook runs, is not yet ready.
    assert not is_ready(view(run(id="main-1"), wanted=wanted, **ending), spec)
    reported["started"] = False
    assert not is_ready(view(run(), wanted=wanted, busy=ending["busy"]), spec)


def test_deletion_ends_sidecars_after_the_containers_last_one_first():
    inits = [container("s1", restartPolicy="Always"), container("s2", restartPolicy="Always")]
    wanted = pod(initContainers=inits)
    both = (run("s1"), run("s2"))
    killed = [
        [action.container.name for action in decide(view(*runs, wanted=wanted, terminating=True), NOW).actions]
        for runs in ((run(), *both), (run(state="exited"), *both), (run("s1"),))
    ]
    assert killed == [["main"], ["s2"], ["s1"]]


def test_sidecars_run_their_hooks_at_once_and_get_what_is_left_of_the_grace():
    hook = {"preStop": {"sleep": {"seconds": 1}}}
    inits = [container("s1", restartPolicy="Always", lifecycle=hook), container("s2", restartPolicy="Always")]
    ending = {"wanted": pod(initContainers=inits), "terminating": True, "grace_seconds": 30}
    s1, s2 = run("s1"), run("s2")
    first = decide(view(run(), s1, s2, **ending), NOW).actions
    assert first == (KillContainer(run(), 30, "Stopping container main"), RunPreStop(s1, 30))
    busy = frozenset({"container/main", "hook/s1"})
    assert decide(view(run(), s1, s2, busy=busy, **ending), NOW).actions == ()
    later = {"grace_spent_seconds": 12.5, "hooked": frozenset({s1.id}), **ending}
    assert decide(view(s1, s2, **later), NOW).actions == (KillContainer(s2, 18, "Stopping container s2"),)
    assert decide(view(s1, **later), NOW).actions == (KillContainer(s1, 18, "Stopping container s1", hook=False),)
    late = {**later, "grace_spent_seconds": 99.0}
    assert decide(view(s2, **late), NOW).actions == (KillContainer(s2, 2, "Stopping container s2"),)


def test_a_rule_can_have_all_containers_started_anew():
    rules = [_rule("In", 7), _rule("In", 42, action="RestartAllContainers")]
    trigger = container("b", restartPolicy="Never", restartPolicyRules=rules)
    wanted = pod(container("a"), trigger, initContainers=[container("i")], restartPolicy="Never")
    a, b, i = run("a"), run("b", "exited", exit_code=42, finished_seconds=NOW - 1), run("i", "exited")
    message = "Container b exited, all containers of the pod will be restarted"
    assert decide(view(a, b, i, wanted=wanted), NOW).actions == (KillContainer(a, 0, message, hook=False),)
    still = view(replace(a, state=ContainerState.EXITED, exit_code=137), b, i, wanted=wanted)
    assert decide(still, NOW).actions == (), "restarts are counted from what was reported"
    wanted["status"] = {
        "initContainerStatuses": [{"name": "i", "containerID": "containerd://i-0", "restartCount": 0}],
        "containerStatuses": [
            {"name": name, "containerID": f"containerd://{name}-0", "restartCount": 0} for name in ("a", "b")
        ],
    }
    assert decide(still, NOW).actions == (ResetContainers("b", ("a-0", "i-0", "b-0")),)
    assert decide(replace(still, busy=frozenset({"reset"})), NOW).actions == ()
    half = view(b, wanted=wanted)
    assert decide(half, NOW).actions == (ResetContainers("b", ("b-0",)),), "begun by an agent that is gone"
    again = replace(still, progress={"b": next_backoff(Progress(), NOW - 2)})
    paused = decide(again, NOW)
    assert paused.actions == ()
    assert paused.wake_at == NOW + 9
    assert paused.waiting["b"].reason == "CrashLoopBackOff"
    assert decide(view(wanted=wanted), NOW).actions == (StartContainer("i", 1, False),)
    assert should_restart(wanted, trigger, replace(b, exit_code=7))
    assert not should_restart(wanted, trigger, replace(b, exit_code=1))


def test_a_pod_past_its_deadline_fails_and_is_wound_up():
    wanted = pod(activeDeadlineSeconds=30)
    wanted["status"]["startTime"] = "2027-01-15T08:00:00Z"
    start = 1_800_000_000.0
    assert decide(view(run(), wanted=wanted), start + 10).wake_at == start + 30
    late = decide(view(run(), wanted=wanted), start + 30)
    assert late.failure is not None
    assert late.failure.reason == "DeadlineExceeded"
    assert isinstance(late.actions[0], KillContainer)


def test_a_pod_that_was_reported_as_through_never_starts_again():
    wanted = pod()
    wanted["status"]["phase"] = "Succeeded"
    assert decide(view(wanted=wanted, sandboxes=()), NOW).actions == (ClearVolumes(),)
    assert decide(view(wanted=wanted, sandboxes=(), cleared=True), NOW) == Decision()


def test_an_evicted_pod_keeps_nothing_on_disk_once_its_end_is_on_record():
    wanted, ended = pod(), run(state="exited")
    failure = Waiting("Evicted", "The node was low on resource: ephemeral-storage.")
    fields = {"wanted": wanted, "sandboxes": (replace(SANDBOX, ready=False),), "failure": failure}
    assert decide(view(ended, **fields), NOW).actions == (ClearVolumes(),)
    assert decide(view(ended, **fields, cleared=True), NOW).actions == ()
    wanted["status"] |= {"phase": "Failed", "reason": "Evicted"}
    assert decide(view(ended, **fields, cleared=True), NOW).actions == (RemoveContainer("main-0"),)


def test_restarts_go_on_counting_when_the_engine_lost_everything():
    wanted = pod()
    wanted["status"]["containerStatuses"] = [{"name": "main", "restartCount": 4, "containerID": "containerd://x"}]
    assert decide(view(wanted=wanted), NOW).actions == (StartContainer("main", 5, False),)


def test_only_the_newest_two_runs_are_kept():
    old = [run(state="exited", id=f"main-{n}", attempt=n) for n in (2, 1, 0)]
    actions = decide(view(run(id="main-3", attempt=3), *old), NOW).actions
    assert [action.container_id for action in actions if isinstance(action, podstate.RemoveContainer)] == [
        "main-1",
        "main-0",
    ]


def test_a_refused_pod_does_nothing_but_say_why():
    decision = decide(view(refused="volume data: nfs", sandboxes=(), volumes_ready=False), NOW)
    assert decision.actions == ()
    assert decision.waiting["main"] == Waiting("Unsupported", "volume data: nfs")


@dataclass
class World:
    """An engine that does at once what it is told."""

    wanted: dict[str, Any]
    view: PodView = field(init=False)
    now: float = NOW
    finished: bool = False
    starts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.view = PodView(pod=self.wanted)

    def settle(self, limit: int = 200) -> None:
        for _ in range(limit):
            decision = decide(self.view, self.now)
            if not decision.actions:
                return
            for action in decision.actions:
                self.apply(action)
        raise AssertionError("never comes to rest")

    def apply(self, action: podstate.Action) -> None:
        seen = self.view
        match action:
            case SetUp() | ClearVolumes():
                made = isinstance(action, SetUp)
                self.view = replace(seen, volumes_ready=made, cleared=not made)
            case RunSandbox(attempt):
                old = tuple(replace(s, ready=False) for s in seen.sandboxes)
                self.view = replace(seen, sandboxes=(replace(SANDBOX, id=f"s{attempt}", attempt=attempt), *old))
            case StopSandboxes():
                self.view = replace(seen, sandboxes=tuple(replace(s, ready=False) for s in seen.sandboxes))
            case podstate.RemoveSandbox(sandbox_id):
                self.view = replace(seen, sandboxes=tuple(s for s in seen.sandboxes if s.id != sandbox_id))
            case ClearVolumes():
                self.view = replace(seen, volumes_ready=False, cleared=True)
            case TearDown():
                self.view = replace(seen, containers=(), sandboxes=(), torn_down=True)
            case Finish():
                self.finished = True
                self.view = replace(seen, busy=frozenset({"finish"}))
            case _:
                self.apply_to_containers(action)

    def apply_to_containers(self, action: podstate.Action) -> None:
        seen = self.view
        match action:
            case StartContainer(name, attempt, restart):
                assert seen.sandbox is not None
                self.starts.append(name)
                progress = next_backoff(seen.progress.get(name, Progress()), self.now) if restart else Progress()
                started = run(name, id=f"{name}-{attempt}", attempt=attempt, sandbox_id=seen.sandbox.id)
                runs = sorted((started, *seen.containers), key=lambda c: -c.attempt)
                self.view = replace(seen, containers=tuple(runs), progress={**seen.progress, name: progress})
            case KillContainer(killed):
                self.exit(killed.id, 137)
            case podstate.RunPreStop(hooked, _):
                self.view = replace(seen, hooked=seen.hooked | {hooked.id})
            case podstate.ResetContainers(name, ids):
                self.view = replace(
                    seen,
                    containers=tuple(c for c in seen.containers if c.id not in ids),
                    progress={**seen.progress, name: next_backoff(seen.progress.get(name, Progress()), self.now)},
                )
            case podstate.RemoveContainer(container_id):
                self.view = replace(seen, containers=tuple(c for c in seen.containers if c.id != container_id))

    def exit(self, container_id: str, code: int) -> None:
        self.view = replace(
            self.view,
            containers=tuple(
                replace(c, state=ContainerState.EXITED, exit_code=code, finished_seconds=self.now)
                if c.id == container_id and c.running
                else c
                for c in self.view.containers
            ),
        )


POLICIES = st.sampled_from(["Always", "OnFailure", "Never"])
EVENTS = st.lists(
    st.tuples(st.sampled_from(["exit", "lose", "wait"]), st.integers(0, 5), st.integers(0, 2)), max_size=12
)


@settings(max_examples=150, deadline=None)
@given(policy=POLICIES, inits=st.integers(0, 2), sidecars=st.integers(0, 1), events=EVENTS)
def test_whatever_happens_the_pod_comes_to_rest_keeps_its_rules_and_can_be_deleted(
    policy: str, inits: int, sidecars: int, events: list[tuple[str, int, int]]
):
    first = [container(f"side{n}", restartPolicy="Always") for n in range(sidecars)]
    first += [container(f"init{n}") for n in range(inits)]
    world = World(pod(container("a"), container("b"), initContainers=first, restartPolicy=policy))
    world.settle()
    for kind, number, code in events:
        running = [c for c in world.view.containers if c.running]
        if kind == "exit" and running:
            world.exit(running[number % len(running)].id, code)
        elif kind == "lose":
            world.view = replace(world.view, sandboxes=tuple(replace(s, ready=False) for s in world.view.sandboxes))
            for c in running:
                world.exit(c.id, 137)
        elif kind == "wait":
            world.now += 100 * number
        world.settle()
        running = [c for c in world.view.containers if c.running]
        assert len({c.name for c in running}) == len(running), "two runs of one container at once"
        assert decide(world.view, world.now).actions == (), "deciding twice acts twice"
        if any(c.name in ("a", "b") for c in running):
            ended = {c.name for c in world.view.containers if c.exited and c.exit_code == 0}
            assert all(f"init{n}" in ended for n in range(inits)), "a container before its init containers"
        assert all(
            sum(c.name == name for c in world.view.containers) <= 3 for name in {c.name for c in world.view.containers}
        )
    world.view = replace(world.view, terminating=True)
    world.settle()
    assert world.finished
    assert not world.view.containers
