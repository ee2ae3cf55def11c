"""`KubeSchedulerConfiguration` v1, read for profiles, weights and plugin arguments.

What cannot be honoured is refused by name.

Source: the scheduler configuration reference, `kubescheduler.config.k8s.io/v1`, with upstream's defaults and bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sparsam.errors import SparsamError
from sparsam.scheduling.demand import compile_term
from sparsam.scheduling.profile import (
    DEFAULT_FILTERS,
    DEFAULT_WEIGHTS,
    DefaultSpread,
    FitStrategy,
    Profile,
)

Obj = Mapping[str, Any]

API_VERSION, KIND = "kubescheduler.config.k8s.io/v1", "KubeSchedulerConfiguration"
_TOP = {
    "apiVersion", "kind", "profiles", "parallelism", "leaderElection", "clientConnection", "percentageOfNodesToScore",
    "podInitialBackoffSeconds", "podMaxBackoffSeconds", "enableProfiling", "enableContentionProfiling",
    "healthzBindAddress", "metricsBindAddress", "delayCacheUntilActive",
}  # fmt: skip
_WITHOUT_EFFECT = (
    "parallelism", "leaderElection", "clientConnection", "percentageOfNodesToScore", "podInitialBackoffSeconds",
    "podMaxBackoffSeconds", "healthzBindAddress", "metricsBindAddress",
)  # fmt: skip
_SILENT = {
    "SchedulingGates",
    "PrioritySort",
    "DefaultPreemption",
    "DefaultBinder",
    "DynamicResources",
    "GangScheduling",
}
"""Upstream plugins that are always on here, or that have no part in filtering and scoring."""
_KNOWN = DEFAULT_FILTERS | DEFAULT_WEIGHTS.keys() | _SILENT
_POINTS = (
    "preEnqueue", "queueSort", "preFilter", "filter", "postFilter", "preScore", "score", "reserve", "permit", "preBind",
    "bind", "postBind", "multiPoint",
)  # fmt: skip
MOST_WEIGHT = 100


class ConfigurationError(SparsamError):
    """The configuration is wrong or asks for what there is not; `causes` says where and what."""

    def __init__(self, causes: Sequence[str]) -> None:
        super().__init__("; ".join(causes))
        self.causes = tuple(causes)


@dataclass(slots=True)
class Configuration:
    """Profiles by schedulerName, and what was read but has no effect."""

    profiles: dict[str, Profile] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def read_configuration(document: Obj) -> Configuration:
    """Raises ConfigurationError with every fault found."""
    faults: list[str] = []
    if document.get("apiVersion") != API_VERSION or document.get("kind") != KIND:
        raise ConfigurationError([f"apiVersion, kind: must be {API_VERSION}, {KIND}"])
    found = Configuration()
    if document.get("extenders"):
        faults.append("extenders: are not supported")
    faults += (f"{name}: unknown field" for name in document if name not in _TOP and name != "extenders")
    found.warnings += (f"{name} has no effect here" for name in _WITHOUT_EFFECT if name in document)
    for number, raw in enumerate(document.get("profiles") or [{}]):
        reader = _Profile(raw, f"profiles[{number}]")
        profile = reader.read()
        faults += reader.faults
        if profile.name in found.profiles:
            faults.append(f"profiles[{number}].schedulerName: Duplicate value: {profile.name!r}")
        found.profiles[profile.name] = profile
    if faults:
        raise ConfigurationError(faults)
    return found


class _Profile:
    """Reads one profile and collects what is wrong with it."""

    def __init__(self, raw: Obj, path: str) -> None:
        self._raw, self._path = raw, path
        self.faults: list[str] = []

    def read(self) -> Profile:
        for name in self._raw.keys() - {"schedulerName", "plugins", "pluginConfig", "percentageOfNodesToScore"}:
            self._fault(name, "unknown field")
        name = self._raw.get("schedulerName", "default-scheduler")
        filters, weights = set(DEFAULT_FILTERS), dict(DEFAULT_WEIGHTS)
        self._plugins(filters, weights)
        profile = Profile(name=name, filters=frozenset(filters), weights=weights)
        for number, each in enumerate(self._raw.get("pluginConfig") or ()):
            path, plugin = f"pluginConfig[{number}]", each.get("name", "")
            apply = _ARGUMENTS.get(plugin)
            if apply is None and plugin not in _KNOWN:
                self._fault(f"{path}.name", f"unknown plugin {plugin!r}")
            elif apply is not None:
                try:
                    profile = apply(profile, each.get("args") or {})
                except (ValueError, KeyError, TypeError) as error:
                    self._fault(
                        f"{path}.args", str(error) if isinstance(error, ValueError) else f"malformed: {error!r}"
                    )
        return profile

    def _plugins(self, filters: set[str], weights: dict[str, int]) -> None:
        plugins = self._raw.get("plugins") or {}
        for point in plugins:
            if point not in _POINTS:
                self._fault(f"plugins.{point}", "unknown extension point")
        for point, counted in (("multiPoint", (True, True)), ("filter", (True, False)), ("score", (False, True))):
            chosen = plugins.get(point) or {}
            for each in self._named(chosen, point, "disabled"):
                names = _KNOWN if each["name"] == "*" else {each["name"]}
                if counted[0]:
                    filters -= names
                if counted[1]:
                    for name in names & weights.keys():
                        del weights[name]
            for each in self._named(chosen, point, "enabled"):
                self._enable(each, point, filters if counted[0] else set(), weights if counted[1] else {})

    def _enable(self, plugin: Obj, point: str, filters: set[str], weights: dict[str, int]) -> None:
        name, weight = plugin["name"], plugin.get("weight") or 0
        if not 0 <= weight <= MOST_WEIGHT:
            self._fault(f"plugins.{point}.enabled", f"{name}: weight must be between 0 and {MOST_WEIGHT}")
        if name in DEFAULT_FILTERS:
            filters.add(name)
        if name in DEFAULT_WEIGHTS:
            weights[name] = weight or DEFAULT_WEIGHTS[name]

    def _named(self, chosen: Obj, point: str, which: str) -> Iterator[Obj]:
        for each in chosen.get(which) or ():
            name = each.get("name", "")
            if name in _KNOWN or (name == "*" and which == "disabled"):
                yield each
            else:
                self._fault(f"plugins.{point}.{which}", f"there is no plugin {name!r}")

    def _fault(self, where: str, what: str) -> None:
        self.faults.append(f"{self._path}.{where}: {what}")


def _fit(profile: Profile, args: Obj) -> Profile:
    _only(args, "ignoredResources", "ignoredResourceGroups", "scoringStrategy")
    strategy = args.get("scoringStrategy") or {}
    _only(strategy, "type", "resources", "requestedToCapacityRatio")
    kind = strategy.get("type", "LeastAllocated")
    if kind not in ("LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"):
        raise ValueError(
            f"scoringStrategy.type: {kind!r} is none of LeastAllocated, MostAllocated, RequestedToCapacityRatio"
        )
    shape = _shape(strategy.get("requestedToCapacityRatio") or {}) if kind == "RequestedToCapacityRatio" else ()
    groups = args.get("ignoredResourceGroups") or ()
    if any("/" in group for group in groups):
        raise ValueError("ignoredResourceGroups: a group has no '/'")
    return replace(
        profile,
        fit=FitStrategy(kind, _resources(strategy.get("resources")), shape),
        ignored_resources=frozenset(args.get("ignoredResources") or ()),
        ignored_resource_groups=frozenset(groups),
    )


def _shape(ratio: Obj) -> tuple[tuple[int, int], ...]:
    points = tuple((int(each["utilization"]), int(each["score"])) for each in ratio.get("shape") or ())
    loads = [load for load, _ in points]
    if not points or loads != sorted(set(loads)) or not (loads[0] >= 0 and loads[-1] <= 100):
        raise ValueError("requestedToCapacityRatio.shape: utilization must rise from point to point within 0 to 100")
    if any(not 0 <= score <= 10 for _, score in points):
        raise ValueError("requestedToCapacityRatio.shape: score must be between 0 and 10")
    return points


def _balanced(profile: Profile, args: Obj) -> Profile:
    _only(args, "resources")
    resources = _resources(args.get("resources"))
    if any(weight != 1 for _, weight in resources):
        raise ValueError("resources: weight must be 1")
    return replace(profile, balanced_resources=tuple(name for name, _ in resources))


def _resources(raw: Sequence[Obj] | None) -> tuple[tuple[str, int], ...]:
    found = tuple((each["name"], int(each.get("weight") or 1)) for each in raw or ({"name": "cpu"}, {"name": "memory"}))
    if any(not 1 <= weight <= MOST_WEIGHT for _, weight in found):
        raise ValueError(f"resources: weight must be between 1 and {MOST_WEIGHT}")
    return found


def _node_affinity(profile: Profile, args: Obj) -> Profile:
    _only(args, "addedAffinity")
    added = args.get("addedAffinity") or {}
    required = added.get("requiredDuringSchedulingIgnoredDuringExecution")
    preferred = added.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return replace(
        profile,
        added_affinity=tuple(compile_term(each) for each in required["nodeSelectorTerms"]) if required else None,
        added_preferences=tuple(compile_term(each["preference"], each["weight"]) for each in preferred),
    )


def _spread(profile: Profile, args: Obj) -> Profile:
    _only(args, "defaultConstraints", "defaultingType")
    kind, constraints = args.get("defaultingType", "System"), args.get("defaultConstraints") or ()
    if kind not in ("System", "List"):
        raise ValueError(f"defaultingType: {kind!r} is none of System, List")
    if kind == "System":
        if constraints:
            raise ValueError("defaultConstraints: must be empty when defaultingType is System")
        return profile
    if any(each.get("labelSelector") for each in constraints):
        raise ValueError("defaultConstraints: constraints must not define a selector, as they deduced for each pod")
    spread = tuple(
        DefaultSpread(each["topologyKey"], int(each["maxSkew"]), each["whenUnsatisfiable"] == "DoNotSchedule")
        for each in constraints
    )
    return replace(profile, default_spread=spread, system_defaults=False)


def _pod_affinity(profile: Profile, args: Obj) -> Profile:
    _only(args, "hardPodAffinityWeight", "ignorePreferredTermsOfExistingPods")
    weight = int(args.get("hardPodAffinityWeight", 1))
    if not 0 <= weight <= MOST_WEIGHT:
        raise ValueError(f"hardPodAffinityWeight: must be between 0 and {MOST_WEIGHT}")
    ignores = bool(args.get("ignorePreferredTermsOfExistingPods", False))
    return replace(profile, hard_affinity_weight=weight, ignore_preferences_of_others=ignores)


def _preemption(profile: Profile, args: Obj) -> Profile:
    if args.get("minCandidateNodesPercentage", 10) != 10 or args.get("minCandidateNodesAbsolute", 100) != 100:
        raise ValueError("minCandidateNodesPercentage and -Absolute can only be 10 and 100")
    return profile


def _only(args: Obj, *names: str) -> None:
    unknown = [name for name in args if name not in (*names, "apiVersion", "kind")]
    if unknown:
        raise ValueError(f"{unknown[0]}: unknown field")


_ARGUMENTS: Mapping[str, Callable[[Profile, Obj], Profile]] = {
    "NodeResourcesFit": _fit,
    "NodeResourcesBalancedAllocation": _balanced,
    "NodeAffinity": _node_affinity,
    "PodTopologySpread": _spread,
    "InterPodAffinity": _pod_affinity,
    "DefaultPreemption": _preemption,
}
