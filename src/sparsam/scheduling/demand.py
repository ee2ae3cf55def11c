"""What a pod asks of a node, compiled once from its spec into small hashable values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sparsam.scheduling.podterms import NO_TERMS, PodClass, PodTerms, Spread, compile_spread, compile_terms
from sparsam.scheduling.podvolumes import NO_VOLUMES, PodVolumes, compile_volumes
from sparsam.units import parse_bytes, parse_millicores

Obj = Mapping[str, Any]

DEFAULT_CPU_MILLICORES = 100
DEFAULT_MEMORY_BYTES = 200 * 1024 * 1024
HARD_EFFECTS = ("NoSchedule", "NoExecute")
ANY_ADDRESS = "0.0.0.0"
BATCH_SECONDS = 600.0
"""How long a pod that is not restarted is taken to run, where no deadline ends it sooner: an assumption."""
WITH_THE_NODE = frozenset({"DaemonSet", "Node"})
"""Owners of pods that come and go with their node: they neither move nor keep it awake."""
STAY_ANNOTATIONS = {
    "sparsam.dev/do-not-disrupt": "true",
    "karpenter.sh/do-not-disrupt": "true",
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
}
"""With these values a pod asks not to be moved."""
MAY_GO_ANNOTATION = "cluster-autoscaler.kubernetes.io/safe-to-evict"
LARGEST_AMOUNT = 1 << 55
"""Of one resource; a hundred times as much still fits a column."""


@dataclass(frozen=True, slots=True)
class Taint:
    """A node's taint."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True)
class Toleration:
    """A pod's toleration; an empty key tolerates every key, an empty effect every effect."""

    key: str
    operator: str
    value: str
    effect: str

    def tolerates(self, taint: Taint) -> bool:
        """Kubernetes API reference, Toleration v1 core."""
        if self.effect and self.effect != taint.effect:
            return False
        if self.key and self.key != taint.key:
            return False
        if self.operator == "Exists":
            return True
        return self.operator in ("", "Equal") and bool(self.key) and self.value == taint.value


@dataclass(frozen=True, slots=True)
class HostPort:
    """A port on the node's own address."""

    address: str
    protocol: str
    port: int

    def collides(self, other: HostPort) -> bool:
        """Two claims collide on the same port when either is for every address or both for the same."""
        if (self.protocol, self.port) != (other.protocol, other.port):
            return False
        return ANY_ADDRESS in (self.address, other.address) or self.address == other.address


@dataclass(frozen=True, slots=True)
class Requirement:
    """One `matchExpressions` or `matchFields` entry of a node selector term."""

    key: str
    operator: str
    values: tuple[str, ...]
    on_field: bool = False


@dataclass(frozen=True, slots=True)
class Term:
    """Requirements that must all hold; `weight` counts for preferred terms only. An empty term matches nothing."""

    requirements: tuple[Requirement, ...]
    weight: int = 0


@dataclass(frozen=True, slots=True)
class PodDemand:
    """Everything about a pod that its placement depends on. Equal demands are placed alike."""

    requests: tuple[tuple[str, int], ...] = ()
    """Resource name and amount: millicores for cpu, whole units or bytes for all others."""
    scored_cpu_millicores: int = 0
    scored_memory_bytes: int = 0
    node_name: str = ""
    selector: tuple[tuple[str, str], ...] = ()
    required: tuple[Term, ...] | None = None
    """Required node affinity: any of these terms; None when there is none."""
    preferred: tuple[Term, ...] = ()
    tolerations: tuple[Toleration, ...] = ()
    ports: tuple[HostPort, ...] = ()
    images: tuple[str, ...] = ()
    """One entry for each container, init containers among them."""
    namespace: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    terms: PodTerms = NO_TERMS
    spread: tuple[Spread, ...] = ()
    owner: tuple[str, str] = ("", "")
    """Kind and name of the controller that made it."""
    lasts_seconds: float = math.inf
    """How long it is expected to run."""
    volumes: PodVolumes = NO_VOLUMES
    stays: bool = False
    """Whether it must not be moved: it says so, or has data on its node that would be lost."""

    is_batch: bool = field(init=False, repr=False, compare=False)
    """Whether it has work to get done rather than a service to give: then a faster core ends it sooner."""
    kind: PodClass = field(init=False, repr=False, compare=False)
    """What selectors see of it."""
    devices: tuple[tuple[str, int], ...] = field(init=False, repr=False, compare=False)
    """Extended resources, such as cards, that it asks for."""

    def __post_init__(self) -> None:
        """Derive once what is asked with each placement."""
        devices = sorted((name, amount) for name, amount in self.requests if "/" in name and amount > 0)
        object.__setattr__(self, "is_batch", math.isfinite(self.lasts_seconds))
        object.__setattr__(self, "kind", PodClass(self.namespace, self.labels))
        object.__setattr__(self, "devices", tuple(devices))

    @property
    def names_nodes(self) -> bool:
        """Whether required node affinity allows only nodes that it names, as that of a DaemonSet's pods does."""
        named = [
            any(each.on_field and each.operator == "In" for each in term.requirements) for term in self.required or ()
        ]
        return bool(named) and all(named)

    def amount(self, resource: str) -> int:
        """What is requested of one resource; 0 when nothing is."""
        return next((amount for name, amount in self.requests if name == resource), 0)


def compile_pod(pod: Obj) -> PodDemand:
    """Compile a v1 Pod. Raises ValueError on quantities that the API server would have refused."""
    spec, metadata = pod["spec"], pod["metadata"]
    namespace, labels = metadata.get("namespace", ""), metadata.get("labels") or {}
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    scored = effective_requests(spec, stand_ins=True)
    return PodDemand(
        requests=tuple(effective_requests(spec).items()),
        scored_cpu_millicores=scored.get("cpu", 0),
        scored_memory_bytes=scored.get("memory", 0),
        node_name=spec.get("nodeName", ""),
        selector=tuple(sorted((spec.get("nodeSelector") or {}).items())),
        required=tuple(compile_term(t) for t in required.get("nodeSelectorTerms") or ()) if required else None,
        preferred=tuple(compile_term(p["preference"], p["weight"]) for p in preferred),
        tolerations=tuple(
            Toleration(t.get("key", ""), t.get("operator", ""), t.get("value", ""), t.get("effect", ""))
            for t in spec.get("tolerations") or ()
        ),
        ports=tuple(dict.fromkeys(_host_ports(spec))),
        images=tuple(
            _full_image_name(each.get("image", ""))
            for each in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))
        ),
        namespace=namespace,
        labels=tuple(sorted(labels.items())),
        terms=compile_terms(spec, namespace, labels),
        spread=compile_spread(spec, labels),
        owner=next(
            ((each["kind"], each["name"]) for each in metadata.get("ownerReferences") or () if each.get("controller")),
            ("", ""),
        ),
        lasts_seconds=_lasts_seconds(spec),
        volumes=compile_volumes(spec, metadata.get("name", "")),
        stays=_stays(spec, metadata.get("annotations") or {}),
    )


def _stays(spec: Obj, annotations: Mapping[str, str]) -> bool:
    """As the cluster autoscaler decides: by annotation, else by local volumes."""
    if any(annotations.get(name) == value for name, value in STAY_ANNOTATIONS.items()):
        return True
    local = any("hostPath" in volume or "emptyDir" in volume for volume in spec.get("volumes") or ())
    return local and annotations.get(MAY_GO_ANNOTATION) != "true"


def _lasts_seconds(spec: Obj) -> float:
    if spec.get("restartPolicy", "Always") == "Always":
        return float(spec.get("activeDeadlineSeconds") or math.inf)
    return min(float(spec.get("activeDeadlineSeconds") or math.inf), BATCH_SECONDS)


def effective_requests(spec: Obj, *, stand_ins: bool = False) -> dict[str, int]:
    """What a pod needs at once, per resource: the larger of its containers' sum and its start-up peak, plus overhead.

    Source: KEP-753 (sidecar containers), "Resources calculation for scheduling and pod admission". With `stand_ins`
    a container without a cpu or memory request counts as 100m or 200Mi, as kube-scheduler's scores do.
    """
    running: dict[str, int] = {}
    for container in spec.get("containers") or ():
        _add(running, _requests(container, stand_ins))
    peak: dict[str, int] = {}
    sidecars: dict[str, int] = {}
    for container in spec.get("initContainers") or ():
        requests = _requests(container, stand_ins)
        if container.get("restartPolicy") == "Always":
            _add(sidecars, requests)
            starting = dict(sidecars)
        else:
            starting = dict(sidecars)
            _add(starting, requests)
        peak = {name: max(peak.get(name, 0), starting.get(name, 0)) for name in {*peak, *starting}}
    _add(running, sidecars)
    total = {name: max(running.get(name, 0), peak.get(name, 0)) for name in sorted({*running, *peak})}
    pod_level = _parse((spec.get("resources") or {}).get("requests") or {})
    total.update(pod_level)
    _add(total, _parse(spec.get("overhead") or {}))
    return total


def amount_of(resource: str, quantity: str) -> int:
    """A quantity in the resource's whole unit, at most what columns can add up. Raises ValueError on what is none."""
    amount = parse_millicores(quantity) if resource == "cpu" else parse_bytes(quantity)
    if amount < 0:
        raise ValueError(f"{resource}: must not be negative: {quantity}")
    return min(amount, LARGEST_AMOUNT)


def _full_image_name(image: str) -> str:
    """With the tag that is meant where none is stated."""
    return image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest"


def _requests(container: Obj, stand_ins: bool) -> dict[str, int]:
    resources = container.get("resources") or {}
    requests = {**_parse(resources.get("limits") or {}), **_parse(resources.get("requests") or {})}
    if stand_ins:
        requests.setdefault("cpu", DEFAULT_CPU_MILLICORES)
        requests.setdefault("memory", DEFAULT_MEMORY_BYTES)
    return requests


def _parse(quantities: Mapping[str, str]) -> dict[str, int]:
    return {name: amount_of(name, text) for name, text in quantities.items()}


def _add(total: dict[str, int], more: Mapping[str, int]) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, 0) + amount


def _host_ports(spec: Obj) -> Iterable[HostPort]:
    containers = [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    for container in containers:
        for port in container.get("ports") or ():
            number = port.get("hostPort") or (port.get("containerPort") if spec.get("hostNetwork") else None)
            if number:
                yield HostPort(port.get("hostIP") or ANY_ADDRESS, port.get("protocol", "TCP"), number)


def compile_term(term: Obj, weight: int = 0) -> Term:
    """A node selector term, or a preferred one with its weight."""
    expressions = [_requirement(e, on_field=False) for e in term.get("matchExpressions") or ()]
    fields = [_requirement(e, on_field=True) for e in term.get("matchFields") or ()]
    return Term(tuple(expressions + fields), weight)


def _requirement(expression: Obj, *, on_field: bool) -> Requirement:
    return Requirement(expression["key"], expression["operator"], tuple(expression.get("values") or ()), on_field)
