"""One small cluster per documented behaviour of kube-scheduler, with the nodes that it must allow and like best."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.support.twin.cluster import HOSTNAME, ZONE, Obj

A, B = ["a"], ["a", "b"]
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Case:
    """What is there, the pod that comes, and the nodes it may go to; `best` where scores are the point."""

    name: str
    nodes: tuple[Obj, ...]
    pod: Obj
    feasible: frozenset[str]
    best: frozenset[str] | None = None
    bound: tuple[Obj, ...] = ()
    services: tuple[Obj, ...] = ()


NAMESPACES: tuple[Obj, ...] = tuple(
    {"metadata": {"name": name, "labels": {"team": team, "kubernetes.io/metadata.name": name}}}
    for name, team in (("default", "x"), ("other", "y"))
)


def node(name: str, *, cpu: str = "4", memory: str = "8Gi", pods: str = "10", **extra: Any) -> Obj:
    """A node; `extra` may hold zone, labels, taints, unschedulable, images and more resources."""
    labels = {HOSTNAME: name, **extra.get("labels", {})}
    if "zone" in extra:
        labels[ZONE] = extra["zone"]
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": extra.get("taints", []), "unschedulable": extra.get("unschedulable", False)},
        "status": {
            "allocatable": {"cpu": cpu, "memory": memory, "pods": pods, **extra.get("resources", {})},
            "images": extra.get("images", []),
        },
    }


def pod(name: str = "p", *, on: str = "", namespace: str = "default", labels: Obj | None = None, **spec: Any) -> Obj:
    """A pod of one container; `requests`, `ports` and `image` are the container's, the rest is of the spec."""
    container = {
        "name": "c",
        "image": spec.pop("image", "app"),
        "resources": {"requests": spec.pop("requests", {})},
        "ports": spec.pop("ports", []),
    }
    if on:
        spec["nodeName"] = on
    metadata = {"name": name, "namespace": namespace, "labels": labels or {}}
    return {"metadata": metadata, "spec": {"containers": [container], **spec}}


def case(
    name: str,
    nodes: Iterable[Obj],
    incoming: Obj,
    feasible: Iterable[str],
    *,
    best: Iterable[str] | None = None,
    bound: Iterable[Obj] = (),
    services: Iterable[Obj] = (),
) -> Case:
    """A case from lists."""
    liked = None if best is None else frozenset(best)
    return Case(name, tuple(nodes), incoming, frozenset(feasible), liked, tuple(bound), tuple(services))


def taint(effect: str = "NoSchedule", value: str = "v") -> Obj:
    """A taint with the key k."""
    return {"key": "k", "value": value, "effect": effect}


def node_affinity(*terms: Obj) -> Obj:
    """Required node affinity."""
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return {"nodeAffinity": required}


def expression(key: str, operator: str, *values: str) -> Obj:
    """One expression."""
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


def matching(*expressions: Obj) -> Obj:
    """A node selector term."""
    return {"matchExpressions": list(expressions)}


def company(kind: str, key: str = ZONE, app: str = "web", **extra: Any) -> Obj:
    """A required pod affinity or anti-affinity."""
    term = {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}, **extra}
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def liking(kind: str, key: str = ZONE, app: str = "web", weight: int = 10) -> Obj:
    """A preferred pod affinity or anti-affinity."""
    term = {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}}
    return {kind: {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": weight, "podAffinityTerm": term}]}}


def spread(key: str = ZONE, skew: int = 1, **extra: Any) -> Obj:
    """A hard constraint over pods of app web; `extra` overrides."""
    selector = {"matchLabels": {"app": "web"}}
    return {
        "topologyKey": key, "maxSkew": skew, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector, **extra,
    }  # fmt: skip


WEB = {"app": "web"}
PLAIN = [node("a"), node("b")]
ZONED = [node("a", zone="1"), node("b", zone="2")]
TAINTED = [node("a", taints=[taint()]), node("b")]
LABELLED = [node("a", labels={"n": "5", "d": "ssd"}), node("b", labels={"n": "x"}), node("c")]
PORT = [{"containerPort": 80, "hostPort": 80}]
SOFT = "ScheduleAnyway"


def _selected(name: str, expected: Iterable[str], *terms: Obj) -> Case:
    return case(name, LABELLED, pod(affinity=node_affinity(*terms)), expected)


TAINTS = [
    case("a cordoned node takes nobody", [node("a", unschedulable=True), node("b")], pod(), ["b"]),
    case(
        "a toleration of the cordon's taint opens a cordoned node",
        [node("a", unschedulable=True)],
        pod(tolerations=[{"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}]),
        A,
    ),
    case("NoSchedule keeps pods away", TAINTED, pod(), ["b"]),
    case("NoExecute keeps pods away", [node("a", taints=[taint("NoExecute")]), node("b")], pod(), ["b"]),
    case("PreferNoSchedule only costs points", [node("a", taints=[taint("PreferNoSchedule")]), node("b")], pod(), B, best=["b"]),
    case("a toleration needs the value", TAINTED, pod(tolerations=[{"key": "k", "value": "w"}]), ["b"]),
    case("an equal toleration opens the node", TAINTED, pod(tolerations=[{"key": "k", "value": "v"}]), B),
    case("Exists asks for no value", TAINTED, pod(tolerations=[{"key": "k", "operator": "Exists"}]), B),
    case("Exists without a key tolerates everything", TAINTED, pod(tolerations=[{"operator": "Exists"}]), B),
    case(
        "a toleration of another effect does not count",
        TAINTED,
        pod(tolerations=[{"key": "k", "operator": "Exists", "effect": "NoExecute"}]),
        ["b"],
    ),
    case(
        "each taint must be tolerated",
        [node("a", taints=[taint(), {"key": "z", "effect": "NoSchedule"}])],
        pod(tolerations=[{"key": "k", "operator": "Exists"}]),
        [],
    ),
]  # fmt: skip

SELECTION = [
    case("nodeSelector wants every label", LABELLED, pod(nodeSelector={"d": "ssd", "n": "5"}), A),
    case("nodeSelector without a match leaves none", LABELLED, pod(nodeSelector={"d": "hdd"}), []),
    _selected("In", A, matching(expression("d", "In", "ssd", "hdd"))),
    _selected("NotIn holds where the label is missing", ["b", "c"], matching(expression("d", "NotIn", "ssd"))),
    _selected("Exists", ["a", "b"], matching(expression("n", "Exists"))),
    _selected("DoesNotExist", ["c"], matching(expression("n", "DoesNotExist"))),
    _selected("Gt compares whole numbers, and words never", A, matching(expression("n", "Gt", "4"))),
    _selected("Gt is strict", [], matching(expression("n", "Gt", "5"))),
    _selected("Lt compares whole numbers", A, matching(expression("n", "Lt", "6"))),
    _selected("terms are alternatives", ["a", "c"], matching(expression("d", "Exists")), matching(expression("n", "DoesNotExist"))),
    _selected("expressions of a term hold together", A, matching(expression("n", "Exists"), expression("d", "Exists"))),
    _selected("an empty term matches nothing", [], {}),
    _selected("matchFields names a node", ["b"], {"matchFields": [expression("metadata.name", "In", "b")]}),
    _selected("matchFields excludes a node", ["a", "c"], {"matchFields": [expression("metadata.name", "NotIn", "b")]}),
    case(
        "nodeSelector and affinity hold together",
        LABELLED,
        pod(nodeSelector={"n": "x"}, affinity=node_affinity(matching(expression("d", "Exists")))),
        [],
    ),
    case(
        "preferred node affinity decides between equals",
        LABELLED,
        pod(affinity={"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
            {"weight": 1, "preference": matching(expression("n", "In", "x"))}]}}),
        ["a", "b", "c"],
        best=["b"],
    ),
]  # fmt: skip

ROOM = [
    case("a full node takes no further pod", [node("a", pods="1"), node("b")], pod(), ["b"], bound=[pod("x", on="a")]),
    case("cpu must be free", PLAIN, pod(requests={"cpu": "2"}), ["b"], bound=[pod("x", on="a", requests={"cpu": "2500m"})]),
    case("exactly what is left fits", [node("a")], pod(requests={"cpu": "2"}), A, bound=[pod("x", on="a", requests={"cpu": "2"})]),
    case("a pod without requests fits on a full node", [node("a")], pod(), A, bound=[pod("x", on="a", requests={"cpu": "4"})]),
    case("memory must be free", PLAIN, pod(requests={"memory": "9Gi"}), []),
    case("an extended resource must be there", [node("a", resources={"x.com/g": "1"}), node("b")], pod(requests={"x.com/g": "1"}), A),
    case("overhead counts", [node("a")], pod(requests={"cpu": "4"}, overhead={"cpu": "1m"}), []),
    case("the largest init container counts", [node("a")], pod(initContainers=[{"name": "i", "resources": {"requests": {"cpu": "5"}}}]), []),
    case(
        "init containers run one after the other",
        [node("a")],
        pod(requests={"cpu": "3"}, initContainers=[{"name": n, "resources": {"requests": {"cpu": "3"}}} for n in "ij"]),
        A,
    ),
    case(
        "sidecars add to the containers",
        [node("a")],
        pod(requests={"cpu": "3"}, initContainers=[
            {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1500m"}}}]),
        [],
    ),
    case("the pod's own request replaces its containers'", [node("a")], pod(requests={"cpu": "5"}, resources={"requests": {"cpu": "1"}}), A),
    case("the emptier node is better", PLAIN, pod(requests={"cpu": "1", "memory": "2Gi"}), B, best=["b"],
         bound=[pod("x", on="a", requests={"cpu": "1", "memory": "2Gi"})]),
    case("pods without requests count as small ones in scores", PLAIN, pod(), B, best=["b"], bound=[pod("x", on="a")]),
    case("a pod that evens out the use of a node is welcome", PLAIN, pod(requests={"cpu": "1"}), B, best=A,
         bound=[pod("x", on="a", requests={"cpu": "100m", "memory": "1638Mi"}), pod("y", on="b", requests={"cpu": "900m", "memory": "200Mi"})]),
    case("a host port is taken once", PLAIN, pod(ports=PORT), ["b"], bound=[pod("x", on="a", ports=PORT)]),
    case("another protocol is another port", [node("a")], pod(ports=[{**PORT[0], "protocol": "UDP"}]), A, bound=[pod("x", on="a", ports=PORT)]),
    case("another address is another port", [node("a")], pod(ports=[{**PORT[0], "hostIP": "10.0.0.1"}]), A,
         bound=[pod("x", on="a", ports=[{**PORT[0], "hostIP": "10.0.0.2"}])]),
    case("every address includes one", [node("a")], pod(ports=[{**PORT[0], "hostIP": "10.0.0.1"}]), [], bound=[pod("x", on="a", ports=PORT)]),
    case("an image that is there is worth something", [node("a"), node("b", images=[{"names": ["app:latest"], "sizeBytes": 900 * MIB}])],
         pod(), B, best=["b"]),
    case("a small image is worth nothing", [node("a"), node("b", images=[{"names": ["app:latest"], "sizeBytes": 20 * MIB}])], pod(), B, best=B),
]  # fmt: skip

ON_A = [pod("x", on="a", labels=WEB)]
FAR = [pod("x", on="a", labels=WEB, namespace="other")]
COMPANY = [
    case("affinity wants the company in the domain", ZONED, pod(affinity=company("podAffinity")), A, bound=ON_A),
    case("affinity without company leaves none", ZONED, pod(affinity=company("podAffinity")), []),
    case("the first of its kind may start", ZONED, pod(labels=WEB, affinity=company("podAffinity")), B),
    case("affinity needs the label on the node", PLAIN, pod(labels=WEB, affinity=company("podAffinity")), []),
    case("anti-affinity keeps the domain free", ZONED, pod(affinity=company("podAntiAffinity")), ["b"], bound=ON_A),
    case("anti-affinity does not bind nodes without the label", [node("a", zone="1"), node("b")],
         pod(affinity=company("podAntiAffinity")), ["b"], bound=ON_A),
    case("those already there keep others away", ZONED, pod(labels=WEB), ["b"],
         bound=[pod("x", on="a", affinity=company("podAntiAffinity"))]),
    case("terms mean the own namespace", ZONED, pod(affinity=company("podAntiAffinity")), B, bound=FAR),
    case("terms may name namespaces", ZONED, pod(affinity=company("podAntiAffinity", namespaces=["other"])), ["b"], bound=FAR),
    case("terms may select namespaces", ZONED, pod(affinity=company("podAntiAffinity", namespaceSelector={"matchLabels": {"team": "y"}})),
         ["b"], bound=FAR),
    case("an empty namespace selector means all", ZONED, pod(affinity=company("podAntiAffinity", namespaceSelector={})), ["b"], bound=FAR),
    case("matchLabelKeys narrow to the own label", ZONED,
         pod(labels={"v": "2"}, affinity=company("podAntiAffinity", matchLabelKeys=["v"])), B,
         bound=[pod("x", on="a", labels={**WEB, "v": "1"})]),
    case("mismatchLabelKeys leave out the own label", ZONED,
         pod(labels={"v": "1"}, affinity=company("podAntiAffinity", mismatchLabelKeys=["v"])), B,
         bound=[pod("x", on="a", labels={**WEB, "v": "1"})]),
    case("preferred affinity draws", ZONED, pod(affinity=liking("podAffinity")), B, best=A, bound=ON_A),
    case("preferred anti-affinity repels", ZONED, pod(affinity=liking("podAntiAffinity")), B, best=["b"],
         bound=[*ON_A, pod("y", on="b")]),
    case("preferences of those already there count", ZONED, pod(labels=WEB), B, best=A,
         bound=[pod("x", on="a", affinity=liking("podAffinity"))]),
    case("required affinity of those already there draws", ZONED, pod(labels=WEB), B, best=A,
         bound=[pod("x", on="a", affinity=company("podAffinity"))]),
]  # fmt: skip

EVENNESS = [
    case("a hard constraint keeps the skew", ZONED, pod(labels=WEB, topologySpreadConstraints=[spread()]), ["b"], bound=ON_A),
    case("a pod that does not count itself may go one further", ZONED, pod(topologySpreadConstraints=[spread()]), B, bound=ON_A),
    case("a wider skew allows more", ZONED, pod(labels=WEB, topologySpreadConstraints=[spread(skew=2)]), B, bound=ON_A),
    case("nodes without the label are out", [node("a", zone="1"), node("b")], pod(labels=WEB, topologySpreadConstraints=[spread()]), A),
    case("too few domains count as an empty one", ZONED, pod(labels=WEB, topologySpreadConstraints=[spread(minDomains=3)]), [],
         bound=[*ON_A, pod("y", on="b", labels=WEB)]),
    case("pods of other namespaces do not count", ZONED, pod(labels=WEB, topologySpreadConstraints=[spread()]), B, bound=FAR),
    case("nodes that affinity rules out are no domains", ZONED,
         pod(labels=WEB, nodeSelector={ZONE: "1"}, topologySpreadConstraints=[spread()]), A, bound=ON_A),
    case("unless the policy ignores affinity", ZONED,
         pod(labels=WEB, nodeSelector={ZONE: "1"}, topologySpreadConstraints=[spread(nodeAffinityPolicy="Ignore")]), [], bound=ON_A),
    case("tainted nodes are domains", [node("a", zone="1"), node("b", zone="2", taints=[taint()])],
         pod(labels=WEB, topologySpreadConstraints=[spread()]), [], bound=ON_A),
    case("unless the policy honours taints", [node("a", zone="1"), node("b", zone="2", taints=[taint()])],
         pod(labels=WEB, topologySpreadConstraints=[spread(nodeTaintsPolicy="Honor")]), A, bound=ON_A),
    case("matchLabelKeys count only the own revision", ZONED,
         pod(labels={**WEB, "v": "2"}, topologySpreadConstraints=[spread(matchLabelKeys=["v"])]), B,
         bound=[pod("x", on="a", labels={**WEB, "v": "1"})]),
    case("a soft constraint only costs points", ZONED,
         pod(labels=WEB, topologySpreadConstraints=[spread(whenUnsatisfiable=SOFT)]), B, best=["b"],
         bound=[*ON_A, pod("y", on="b")]),
    case("a Service spreads its pods by default", ZONED, pod(labels=WEB), B, best=["b"], bound=[*ON_A, pod("y", on="b")],
         services=[{"metadata": {"name": "s", "namespace": "default"}, "spec": {"selector": WEB}}]),
    case("pods being deleted do not count", ZONED, pod(labels=WEB, topologySpreadConstraints=[spread()]), B,
         bound=[{**ON_A[0], "metadata": {**ON_A[0]["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}]),
]  # fmt: skip

CASES = [*TAINTS, *SELECTION, *ROOM, *COMPANY, *EVENNESS]
