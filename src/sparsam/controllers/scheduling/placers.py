"""Who places a pod: its profile by its schedulerName, and the policy that applies to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sparsam.scheduling.placement import Placer
from sparsam.scheduling.policies import make_policy
from sparsam.scheduling.policy import KubeDefault
from sparsam.scheduling.powerpolicy import PowerPolicy, choose
from sparsam.scheduling.preemption import Budgets
from sparsam.scheduling.profile import Profile
from sparsam.scheduling.snapshot import Snapshot
from sparsam.scheduling.watts import SparsamPolicy

Obj = Mapping[str, Any]

DEFAULT_NAMES = ("default-scheduler", "sparsam")


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """One way to place pods."""

    profile_name: str
    placer: Placer
    shadow: Placer | None = None
    """Decides beside it and is only written down."""


class Placers:
    """The placers over one snapshot, made when first needed and again when a PowerPolicy changes."""

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
        self._otherwise = PowerPolicy("", shadow or policy, bool(shadow))
        self._bound_by = policy
        self._profiles = profiles or {name: Profile(name) for name in DEFAULT_NAMES}
        self._policies: dict[str, PowerPolicy] = {}
        self._choices: dict[tuple[str, str], Choice] = {}

    @property
    def scheduler_names(self) -> tuple[str, ...]:
        """The schedulerNames of pods that are ours to place."""
        return tuple(self._profiles)

    def set_policy(self, policy: PowerPolicy) -> None:
        """Take over a PowerPolicy."""
        self._forget(policy.name)
        self._policies[policy.name] = policy

    def remove_policy(self, name: str) -> None:
        """Forget one."""
        self._forget(name)
        self._policies.pop(name, None)

    def choose(self, pod: Obj) -> Choice:
        """Who places this pod."""
        name = pod["spec"].get("schedulerName") or DEFAULT_NAMES[0]
        labels = self._snapshot.population.namespace_labels(pod["metadata"].get("namespace", ""))
        policy = choose(self._policies.values(), labels, name) or self._otherwise
        if (name, policy.name) not in self._choices:
            self._choices[name, policy.name] = self._choice(self._profiles[name], policy)
        return self._choices[name, policy.name]

    def _choice(self, profile: Profile, policy: PowerPolicy) -> Choice:
        placer = self._placer(policy, profile)
        if not policy.shadow:
            return Choice(profile.name, placer)
        binds = KubeDefault.name if policy.name else self._bound_by
        return Choice(profile.name, self._placer(PowerPolicy("", binds), profile), placer)

    def _placer(self, policy: PowerPolicy, profile: Profile) -> Placer:
        ranks = make_policy(policy.policy, policy.weights)
        return Placer(self._snapshot, ranks, profile, budgets=self._budgets, explains=True)

    def _forget(self, policy: str) -> None:
        self._choices = {key: choice for key, choice in self._choices.items() if key[1] != policy}
