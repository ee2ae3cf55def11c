"""Actions of a pod worker that need no engine."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sparsam.agent import operations
from sparsam.agent.operations import Operations, remove_cgroup
from sparsam.agent.podstate import PodView
from sparsam.agent.references import Sources
from sparsam.agent.runtime import Container, ContainerState, Sandbox
from sparsam.agent.volumes import PodDirectory
from tests.support.agent import FakeApi, pod

RUN = Container("c0", "s0", "uid", "main", 0, ContainerState.RUNNING, 0.0)


@dataclass
class Groups:
    """A pod's group that goes when its processes are gone."""

    made: list[str] = field(default_factory=list)
    alive: set[int] = field(default_factory=set)
    done: list[Any] = field(default_factory=list)

    def create_pod(self, qos: str, uid: str, limits: Any) -> None:
        assert limits.processes == 7
        self.made.append(uid)

    def remove_pod(self, uid: str) -> None:
        self.made = [each for each in self.made if each != uid or self.alive]

    def pod_uids(self) -> set[str]:
        return set(self.made)

    def processes(self, uid: str) -> set[int]:
        return set(self.alive)


def operations_in(tmp_path: Path, groups: Groups) -> Operations:
    async def done(*what: Any) -> None:
        groups.done.append(what)

    node = SimpleNamespace(
        csi=SimpleNamespace(set_up=done, clear=done),
        cri=SimpleNamespace(stop_sandbox=done),
        cgroups=groups,
        api=FakeApi(),
        config=SimpleNamespace(logs_dir=tmp_path / "logs", pod_pids_limit=7),
    )
    starter = SimpleNamespace(facts=lambda wanted, sandbox: SimpleNamespace(pod=wanted))
    return Operations(node, PodDirectory(tmp_path / "pods", "uid"), starter)


async def test_the_group_of_a_pod_that_runs_is_left_to_the_resizer(tmp_path: Path):
    groups = Groups()
    actions = operations_in(tmp_path, groups)
    view = PodView(pod=pod(), containers=(RUN,))
    await actions.set_up(view)
    assert groups.made == []
    await actions.set_up(replace(view, containers=(replace(RUN, state=ContainerState.EXITED),)))
    assert groups.made == [view.pod["metadata"]["uid"]]


async def test_a_new_pod_never_gets_what_a_source_was_before(tmp_path: Path):
    asked: list[float] = []

    class Api(FakeApi):
        async def sources(self, namespace: str, wanted: set[tuple[str, str]], max_age_seconds: float) -> Sources:
            asked.append(max_age_seconds)
            return await super().sources(namespace, wanted, max_age_seconds)

    actions = operations_in(tmp_path, Groups())
    actions.node.api = Api()
    view = PodView(pod=pod())
    await actions.set_up(view)
    await actions.refresh(view)
    assert asked[0] == 0.0 < asked[1]


async def test_a_pod_keeps_its_volumes_while_one_of_two_sandboxes_is_stopped(tmp_path: Path):
    groups = Groups()
    actions = operations_in(tmp_path, groups)
    first, second = (Sandbox(name, "uid", "web", "default", 0, True, 0.0) for name in ("s0", "s1"))
    view = PodView(pod=pod(), sandboxes=(second, first))
    await actions.stop_sandboxes(view, ("s0",))
    assert groups.done == [("s0",)]
    await actions.stop_sandboxes(view, ("s0", "s1"))
    assert groups.done[-1] == (view.pod["metadata"]["uid"],)


async def test_a_process_that_outlived_its_pod_is_killed(monkeypatch: Any):
    groups, node = Groups(["uid"], {4711}), SimpleNamespace()
    node.cgroups = groups
    monkeypatch.setattr(operations.os, "kill", lambda pid, number: groups.alive.discard(pid))
    monkeypatch.setattr(operations, "_CGROUP_RETRY_SECONDS", 0.0)
    await remove_cgroup(node, "uid")
    assert not groups.made
