"""Every recorded decision of a real kube-scheduler 1.36, decided again."""

from __future__ import annotations

import random

import pytest

from tests.support.decisions import DECISIONS, PREEMPTIONS, clusters, pending, placer_for, steps

pytestmark = [
    pytest.mark.needs_data,
    pytest.mark.skipif(not DECISIONS.exists(), reason=f"no recordings at {DECISIONS}; set SPARSAM_DATA"),
]
ACCIDENTS = {(1475, 2)}
"""Steps that the recording itself explains, see docs/scheduling.md: another pod had been bound meanwhile."""
IMPOSSIBLE = {20112}
"""The recording spares a pod with which the node would hold more cores and pods than it has; see docs/scheduling.md."""
ORDERS_TRIED = 400


def test_every_decision_is_the_recorded_one():
    differing = []
    for step in steps(DECISIONS):
        recorded, plugins = step.recorded, step.recorded["plugin_scores"] or {}
        plugins.pop("DynamicResources", None)
        allowed = set(recorded["scores"] or ()) or {recorded["node"]} - {None}
        same = step.feasible() == allowed
        if plugins:
            same = same and step.plugin_scores() == plugins
        plan = step.placer.schedule([step.pending])
        if plan.binds:
            [bind] = plan.binds
            scores = recorded["scores"] or {bind.node: bind.ranked[0].score}
            same = same and scores[bind.node] == max(scores.values()) == bind.ranked[0].score
        else:
            same = same and plan.rejections[0].message == recorded["message"]
        if not same:
            differing.append((step.cluster, step.number))
    assert set(differing) <= ACCIDENTS


def test_every_preemption_is_the_recorded_one_unless_start_times_decide():
    chance = random.Random(1)
    by_start_times, differing = [], []
    for cluster in clusters(PREEMPTIONS):
        [recorded] = cluster["steps"]
        plan = decide(cluster, recorded)
        if recorded["node"]:
            [bind] = plan.binds
            assert not recorded["scores"] or recorded["scores"][bind.node] == max(recorded["scores"].values())
            continue
        assert plan.rejections[0].message == recorded["message"]
        if outcome(plan) == wanted(recorded):
            continue
        tried = (decide(cluster, recorded, started(cluster, chance)) for _ in range(ORDERS_TRIED))
        same = any(outcome(each) == wanted(recorded) for each in tried)
        (by_start_times if same else differing).append(cluster["id"])
    assert len(by_start_times) < 30
    assert set(differing) <= IMPOSSIBLE


def decide(cluster, recorded, started=None):
    return placer_for(cluster, started).schedule([pending(recorded["pod"])])


def outcome(plan):
    preempt = plan.rejections[0].preempt
    return (preempt.node, sorted(preempt.victims)) if preempt else (None, [])


def wanted(recorded):
    return (recorded["nominated"] or None, sorted(recorded["victims"] or ()))


def started(cluster, chance):
    """A start time for each pod: recordings have none, and kube-scheduler then takes the present one."""
    return {pod["metadata"]["name"]: f"2026-01-01T00:00:00.{chance.randrange(10**9):09d}Z" for pod in cluster["bound"]}
