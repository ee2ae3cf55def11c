"""Who places a pod: its profile by its schedulerName, and the policy that applies to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sparsam.scheduling.placement import Placer
from sparsam.scheduling.policy import KubeDefault, MostAllocated, Policy, Random
from sparsam.scheduling.preemption import Budgets
from sparsam.scheduling.profile import Profile
from sparsam.scheduling.snapshot import Snapshot
from sparsam.scheduling.watts import LeastIncrease, Peaks, SparsamPolicy

Obj = Mapping[str, Any]

POLICIES: Mapping[str, Callable[[], Policy]] = {
    each.name: each for each in (SparsamPolicy, KubeDefault, MostAllocated, Peaks, LeastIncrease, Random)
}
DEFAULT_NAMES = ("default-scheduler", "sparsam")


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """One way to place pods."""

    profile_name: str
    placer: Placer
    shadow: Placer | None = None
    """Decides beside it and is only written down."""


class Placers:
    """The placers over one snapshot, made when first needed."""

    def __init__(
        self,
        snapshot: Snapshot,
        budgets: Budgets,
        *,
        policy: str = SparsamPolicy.name,
        shadow: str = "",
        profiles: Mapping[str, Profile] | None = None,
    ) -> None:
        self._snapshot, self._budgets = snapshot, budgets
        self._policy, self._shadow = policy, shadow
        self._profiles = profiles or {name: Profile(name) for name in DEFAULT_NAMES}
        self._choices: dict[str, Choice] = {}

    @property
    def scheduler_names(self) -> tuple[str, ...]:
        """The schedulerNames of pods that are ours to place."""
        return tuple(self._profiles)

    def choose(self, pod: Obj) -> Choice:
        """Who places this pod."""
        name = pod["spec"].get("schedulerName") or DEFAULT_NAMES[0]
        if name not in self._choices:
            profile = self._profiles[name]
            shadow = self._placer(self._shadow, profile) if self._shadow else None
            self._choices[name] = Choice(name, self._placer(self._policy, profile), shadow)
        return self._choices[name]

    def _placer(self, policy: str, profile: Profile) -> Placer:
        return Placer(self._snapshot, POLICIES[policy](), profile, budgets=self._budgets, explains=True)
