"""The scalar twin before recordings of a real kube-scheduler and before one small cluster per documented behaviour."""

from __future__ import annotations

import pytest

from tests.support.decisions import DECISIONS, NAMESPACES, PREEMPTIONS, clusters
from tests.support.twin import Cluster, cases, decide
from tests.support.twin.cluster import key_of

recorded = pytest.mark.skipif(not DECISIONS.exists(), reason=f"no recordings at {DECISIONS}; set SPARSAM_DATA")
EVERY = 10
ACCIDENTS = {(1475, 2)}
"""The first pod had found no node, fits on n5 once the second is there, and is counted there in the recorded scores."""
SHORT_OF_A_VICTIM = {20112}
"""Without the tenth victim the node would hold 9 of 8 cores and 6 of 5 pods."""


@pytest.mark.parametrize("case", cases.CASES, ids=lambda case: case.name)
def test_documented(case):
    made = decide(Cluster(case.nodes, case.bound, cases.NAMESPACES, case.services), case.pod)
    assert made.feasible == case.feasible
    if case.best is not None:
        assert made.best == case.best


@pytest.mark.needs_data
@recorded
def test_recorded_decisions_are_decided_alike():
    for line in list(clusters(DECISIONS))[::EVERY]:
        bound = list(line["bound"])
        for number, step in enumerate(line["steps"]):
            if (line["id"], number) not in ACCIDENTS:
                agrees(before(line, bound), step)
            if step["node"]:
                bound.append({**step["pod"], "spec": {**step["pod"]["spec"], "nodeName": step["node"]}})


@pytest.mark.needs_data
@recorded
def test_recorded_preemptions_take_the_same_victims_unless_start_times_decide():
    by_start_times = 0
    for line in list(clusters(PREEMPTIONS))[::EVERY]:
        [step] = line["steps"]
        agrees(before(line, line["bound"]), step)
        if step["node"] or line["id"] in SHORT_OF_A_VICTIM:
            continue
        want = (step["nominated"] or None, sorted(step["victims"] or ()))
        by_start_times += want not in equals(before(line, line["bound"]), step["pod"])
        assert want in equals(before(line, aged(line["bound"], want[1])), step["pod"]) or want[0] is None
    assert by_start_times < 5


def before(line, bound):
    namespaces = [
        {"metadata": {"name": name, "labels": {**labels, "kubernetes.io/metadata.name": name}}}
        for name, labels in NAMESPACES.items()
    ]
    return Cluster(line["nodes"], bound, namespaces, line["services"], line.get("pdbs", ()))


def agrees(cluster, step):
    made = decide(cluster, step["pod"])
    plugins = {name: scores for name, scores in (step["plugin_scores"] or {}).items() if name != "DynamicResources"}
    assert made.feasible == (set(step["scores"] or ()) or {step["node"]} - {None})
    assert made.plugin_scores == plugins
    assert made.scores == (step["scores"] or {})
    assert made.message == (step["message"] or "")
    assert step["node"] is None or step["node"] in made.best


def equals(cluster, pod):
    made = decide(cluster, pod)
    return [(each.node, sorted(map(key_of, each.victims))) for each in made.candidates] or [(None, [])]


def aged(bound, youngest):
    """The pods with start times that make the given ones the least important of their priority."""
    return [
        {**pod, "status": {"startTime": f"2026-01-0{2 if key_of(pod) in youngest else 1}T00:00:00Z"}} for pod in bound
    ]
