"""One moment of a pod, and what may be done next: the values that `lifecycle` decides on and with. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from sparsam.agent.podspec import Obj
from sparsam.agent.runtime import Container, Sandbox

SETUP = "setup"
SANDBOX = "sandbox"
RESET = "reset"
CLEAR = "clear"
TEARDOWN = "teardown"
FINISH = "finish"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a container does not run yet, as its status says."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Progress:
    """What only the agent knows about a container; health belongs to the run named by `container_id`."""

    container_id: str = ""
    ready: bool | None = None
    started: bool | None = None
    failed_probe: str = ""
    """Kind of the probe that wants the run ended."""
    fault: Waiting | None = None
    fault_at: float = 0.0
    retry_at: float = 0.0
    failures: int = 0
    backoff_seconds: float = 0.0
    backoff_at: float = 0.0


NO_PROGRESS = Progress()


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """One moment of a pod. Sandboxes and containers are newest first; `busy` holds keys of running operations."""

    pod: Obj
    sandboxes: tuple[Sandbox, ...] = ()
    containers: tuple[Container, ...] = ()
    progress: Mapping[str, Progress] = field(default_factory=dict)
    busy: frozenset[str] = frozenset()
    volumes_ready: bool = False
    retry_at: float = 0.0
    refused: str = ""
    failure: Waiting | None = None
    terminating: bool = False
    grace_seconds: int = 30
    grace_spent_seconds: float = 0.0
    """How much of the grace is over: sidecars, whose turn comes later, get the rest of it."""
    hooked: frozenset[str] = frozenset()
    """Runs whose preStop hook ran ahead of their stop."""
    torn_down: bool = False
    cleared: bool = False
    """Whether the volumes of a pod that is through are gone."""

    def run(self, name: str) -> Container | None:
        """The newest run of a container."""
        return next((c for c in self.containers if c.name == name), None)

    def previous_run(self, name: str) -> Container | None:
        """The run before the newest."""
        runs = [c for c in self.containers if c.name == name]
        return runs[1] if len(runs) > 1 else None

    def health(self, name: str) -> Progress:
        """Progress of a container, with health forgotten that belongs to an older run."""
        progress = self.progress.get(name, NO_PROGRESS)
        run = self.run(name)
        if run is None or run.id != progress.container_id:
            return replace(progress, ready=None, started=None, failed_probe="")
        return progress

    @property
    def sandbox(self) -> Sandbox | None:
        """The sandbox in use."""
        return next((sandbox for sandbox in self.sandboxes if sandbox.ready), None)


@dataclass(frozen=True, slots=True)
class SetUp:
    """Make directories, control group and volumes."""


@dataclass(frozen=True, slots=True)
class RunSandbox:
    """Make a sandbox."""

    attempt: int


@dataclass(frozen=True, slots=True)
class StopSandboxes:
    """Stop sandboxes that are of no use any more, and give their addresses back."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Pull if need be, create, start, run the postStart hook."""

    name: str
    attempt: int
    restart: bool


@dataclass(frozen=True, slots=True)
class KillContainer:
    """Run the preStop hook, unless it ran ahead or is not wanted, and stop."""

    container: Container
    grace_seconds: int
    message: str
    hook: bool = True


@dataclass(frozen=True, slots=True)
class RunPreStop:
    """Run the preStop hook of a container that is stopped later."""

    container: Container
    grace_seconds: int


@dataclass(frozen=True, slots=True)
class ResetContainers:
    """Forget all runs, that of the container `name` last, so that the pod begins anew in its sandbox."""

    name: str
    container_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    """Forget an old run."""

    container_id: str


@dataclass(frozen=True, slots=True)
class RemoveSandbox:
    """Forget an old sandbox that holds no run any more."""

    sandbox_id: str


@dataclass(frozen=True, slots=True)
class ClearVolumes:
    """Give back the disk that the volumes of a pod take that is through."""


@dataclass(frozen=True, slots=True)
class TearDown:
    """Remove sandboxes, volumes, control group and directories."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Nothing is left: delete the object from the API."""


Action = (
    SetUp
    | RunSandbox
    | StopSandboxes
    | StartContainer
    | KillContainer
    | RunPreStop
    | ResetContainers
    | RemoveContainer
    | RemoveSandbox
    | ClearVolumes
    | TearDown
    | Finish
)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, when to look again at the latest, and why containers wait."""

    actions: tuple[Action, ...] = ()
    wake_at: float | None = None
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    failure: Waiting | None = None


def container_key(name: str) -> str:
    """The operation key of a container."""
    return f"container/{name}"


def hook_key(name: str) -> str:
    """The operation key of a preStop hook that runs ahead."""
    return f"hook/{name}"
