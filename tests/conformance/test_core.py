"""The columnar core beside its slow scalar twin: the same documented cases, and random clusters."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparsam.scheduling.demand import compile_pod
from sparsam.scheduling.placement import PendingPod, Placer
from sparsam.scheduling.policy import KubeDefault
from sparsam.scheduling.preemption import Budgets
from sparsam.scheduling.snapshot import Snapshot
from sparsam.scheduling.view import FULL
from tests.support.twin import Cluster, decide
from tests.support.twin.cases import CASES, NAMESPACES, node, pod

Obj = dict[str, Any]


def placer_for(nodes, bound, services=()):
    snapshot = Snapshot()
    for namespace in NAMESPACES:
        snapshot.population.set_namespace(namespace["metadata"]["name"], namespace["metadata"]["labels"])
    for each in nodes:
        snapshot.set_node(each)
    for each in bound:
        snapshot.set_pod(each)
    for each in services:
        snapshot.set_selector({**each, "kind": "Service"})
    return Placer(snapshot, KubeDefault(), budgets=Budgets())


def pending(the_pod):
    metadata, spec = the_pod["metadata"], the_pod["spec"]
    return PendingPod(
        f"{metadata['namespace']}/{metadata['name']}",
        compile_pod(the_pod),
        spec.get("priority", 0),
        spec.get("preemptionPolicy") != "Never",
    )


def allowed(placer, the_pod):
    view = placer.view(pending(the_pod))
    return {name for name, row in placer.snapshot.rows.items() if view.feasible[row]}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_documented_behaviour(case):
    placer = placer_for(case.nodes, case.bound, case.services)
    assert allowed(placer, case.pod) == set(case.feasible)
    if case.best is not None:
        [bind] = placer.schedule([pending(case.pod)]).binds
        assert bind.node in case.best


# -- random clusters ----------------------------------------------------------------------------------------

LABELS = st.fixed_dictionaries({"app": st.sampled_from("ab")}, optional={"tier": st.sampled_from("xy")})
NAMES = st.sampled_from(["default", "other"])
TAINTS = st.lists(
    st.fixed_dictionaries(
        {
            "key": st.sampled_from(["k", "l"]),
            "value": st.sampled_from(["", "v"]),
            "effect": st.sampled_from(["NoSchedule", "PreferNoSchedule", "NoExecute"]),
        }
    ),
    max_size=2,
    unique_by=lambda taint: (taint["key"], taint["effect"]),
)
TOLERATIONS = st.lists(
    st.sampled_from(
        [
            {"operator": "Exists"},
            {"key": "k", "operator": "Exists"},
            {"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"},
            {"key": "l", "operator": "Exists", "effect": "PreferNoSchedule"},
        ]
    ),
    max_size=2,
)
SELECTORS = st.sampled_from(
    [
        {"matchLabels": {"app": "a"}},
        {"matchLabels": {"app": "b"}},
        {"matchExpressions": [{"key": "tier", "operator": "Exists"}]},
        {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["x"]}]},
        {},
    ]
)
TOPOLOGIES = st.sampled_from(["topology.kubernetes.io/zone", "kubernetes.io/hostname"])
NODE_TERMS = st.sampled_from(
    [
        {"matchExpressions": [{"key": "disk", "operator": "In", "values": ["ssd"]}]},
        {"matchExpressions": [{"key": "disk", "operator": "DoesNotExist"}]},
        {"matchExpressions": [{"key": "size", "operator": "Gt", "values": ["3"]}]},
        {"matchExpressions": [{"key": "disk", "operator": "NotIn", "values": ["ssd"]}]},
    ]
)
AMOUNTS = st.fixed_dictionaries(
    {},
    optional={
        "cpu": st.sampled_from(["0", "100m", "500m", "1", "3"]),
        "memory": st.sampled_from(["64Mi", "1Gi", "4Gi"]),
        "example.com/gpu": st.sampled_from(["1", "2"]),
    },
)


@st.composite
def nodes(draw):
    labels = draw(
        st.fixed_dictionaries({}, optional={"disk": st.sampled_from(["ssd", "hdd"]), "size": st.sampled_from("2469")})
    )
    extra: Obj = {"labels": labels, "taints": draw(TAINTS), "unschedulable": draw(st.integers(0, 9)) == 0}
    if draw(st.booleans()):
        extra["zone"] = draw(st.sampled_from("uvw"))
    if draw(st.booleans()):
        extra["resources"] = {"example.com/gpu": "2"}
    if draw(st.booleans()):
        extra["images"] = [{"names": ["app:latest"], "sizeBytes": draw(st.sampled_from([10**7, 10**8, 10**9]))}]
    return extra | {"cpu": draw(st.sampled_from(["1", "4", "8"])), "pods": draw(st.sampled_from(["2", "10"]))}


@st.composite
def pod_terms(draw):
    term: Obj = {"labelSelector": draw(SELECTORS), "topologyKey": draw(TOPOLOGIES)}
    if draw(st.booleans()):
        term["namespaces"] = [draw(NAMES)]
    if draw(st.booleans()):
        term["namespaceSelector"] = draw(st.sampled_from([{}, {"matchLabels": {"team": "x"}}]))
    return term


@st.composite
def affinities(draw):
    found: Obj = {}
    for kind in ("podAffinity", "podAntiAffinity"):
        required = draw(st.lists(pod_terms(), max_size=1))
        preferred = [
            {"weight": draw(st.integers(1, 100)), "podAffinityTerm": term}
            for term in draw(st.lists(pod_terms(), max_size=1))
        ]
        found[kind] = {
            "requiredDuringSchedulingIgnoredDuringExecution": required,
            "preferredDuringSchedulingIgnoredDuringExecution": preferred,
        }
    if draw(st.booleans()):
        terms = {"nodeSelectorTerms": draw(st.lists(NODE_TERMS, min_size=1, max_size=2))}
        preferred = [{"weight": draw(st.integers(1, 100)), "preference": draw(NODE_TERMS)}]
        found["nodeAffinity"] = {"preferredDuringSchedulingIgnoredDuringExecution": preferred}
        if draw(st.integers(0, 5)) == 0:
            named = {"key": "metadata.name", "operator": "In", "values": [draw(st.sampled_from(["n0", "n1"]))]}
            terms = {"nodeSelectorTerms": [{"matchFields": [named]}]}
        if draw(st.booleans()):
            found["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"] = terms
    return found


@st.composite
def spreads(draw):
    return {
        "topologyKey": draw(TOPOLOGIES),
        "maxSkew": draw(st.integers(1, 3)),
        "whenUnsatisfiable": draw(st.sampled_from(["DoNotSchedule", "ScheduleAnyway"])),
        "labelSelector": draw(SELECTORS),
        "nodeAffinityPolicy": draw(st.sampled_from(["Honor", "Ignore"])),
        "nodeTaintsPolicy": draw(st.sampled_from(["Honor", "Ignore"])),
    }


@st.composite
def pods(draw, name, on=""):
    spec: Obj = {"requests": draw(AMOUNTS), "tolerations": draw(TOLERATIONS)}
    if draw(st.booleans()):
        spec["affinity"] = draw(affinities())
    if draw(st.booleans()):
        spec["topologySpreadConstraints"] = draw(
            st.lists(spreads(), max_size=2, unique_by=lambda each: (each["topologyKey"], each["whenUnsatisfiable"]))
        )
    if draw(st.integers(0, 4)) == 0:
        spec["ports"] = [{"containerPort": 80, "hostPort": 8080, "protocol": "TCP"}]
    spec["priority"] = draw(st.sampled_from([0, 10, 100]))
    return pod(name, on=on, namespace=draw(NAMES), labels=draw(LABELS), **spec)


@st.composite
def clusters(draw):
    made = [node(f"n{number}", **draw(nodes())) for number in range(draw(st.integers(1, 6)))]
    bound = [
        draw(pods(f"b{number}", on=draw(st.sampled_from(made))["metadata"]["name"]))
        for number in range(draw(st.integers(0, 8)))
    ]
    services = [{"metadata": {"name": "s", "namespace": "default"}, "spec": {"selector": {"app": "a"}}}]
    return made, bound, services[: draw(st.integers(0, 1))], draw(pods("p"))


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(clusters())
def test_random_clusters_are_decided_as_the_twin_decides_them(cluster):
    made, bound, services, the_pod = cluster
    placer = placer_for(made, bound, services)
    twin = decide(Cluster(made, bound, list(NAMESPACES), services), the_pod)
    assert allowed(placer, the_pod) == set(twin.feasible)
    scores = plugin_scores(placer.view(pending(the_pod)), twin)
    plan = placer.schedule([pending(the_pod)])
    if plan.binds:
        if len(twin.feasible) > 1:
            assert scores == {
                name: {n: int(s) for n, s in scores.items()} for name, scores in twin.plugin_scores.items()
            }
            assert plan.binds[0].node in twin.best
    else:
        [rejection] = plan.rejections
        assert rejection.message == twin.message
        assert (rejection.preempt is None) == (twin.nominated is None)


def plugin_scores(view, twin):
    ours = {name: values.astype(int) * weight for name, weight, values in view.plugin_scores()}
    rows, weights = view.snapshot.rows, view.assessment.profile.weights
    found = {}
    for name, scores in twin.plugin_scores.items():
        flat = FULL * weights[name] if name == "TaintToleration" else 0
        values = ours.get(name)
        found[name] = {n: flat if values is None else int(values[rows[n]]) for n in scores}
    return found
