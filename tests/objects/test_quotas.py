"""What objects cost quotas."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.objects.kinds import CONFIGMAPS, DEPLOYMENTS, EVENTS, PERSISTENTVOLUMECLAIMS, PODS, SERVICES
from sparsam.objects.podresources import texts
from sparsam.objects.quotas import counted_by, in_scope, is_counted, matching, total, unstated, usage

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def pod(cpu: str | None = "1", *, phase: str = "Running", **spec: Any) -> dict[str, Any]:
    resources = {"requests": {"cpu": cpu, "example.com/gpu": "1"}, "limits": {"memory": "1Gi"}} if cpu else {}
    containers = [{"name": "c", "resources": resources}]
    return {"metadata": {"name": "p"}, "spec": {"containers": containers, **spec}, "status": {"phase": phase}}


def quota(hard: dict[str, str], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "q"}, "spec": {"hard": hard, **spec}}


def scoped(name: str, operator: str = "Exists", *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"scopeName": name, "operator": operator, "values": list(values)}]}


def test_a_pod_costs_what_it_asks_for_until_it_ends():
    assert texts(usage(PODS, pod(), NOW)) == {
        "count/pods": "1",
        "pods": "1",
        "cpu": "1",
        "requests.cpu": "1",
        "limits.memory": "1Gi",
        "requests.example.com/gpu": "1",
    }
    assert texts(usage(PODS, pod(phase="Failed"), NOW)) == {"count/pods": "1"}
    going = pod()
    going["metadata"] |= {"deletionTimestamp": "2025-12-31T23:59:00Z", "deletionGracePeriodSeconds": 30}
    assert texts(usage(PODS, going, NOW)) == {"count/pods": "1"}
    going["metadata"]["deletionGracePeriodSeconds"] = 90
    assert "cpu" in usage(PODS, going, NOW)


@pytest.mark.parametrize(
    ("spec", "node_ports", "balancers"),
    [
        ({}, "0", "0"),
        ({"type": "NodePort"}, "2", "0"),
        ({"type": "LoadBalancer"}, "2", "1"),
        ({"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}, "1", "1"),
    ],
)
def test_services_cost_node_ports_and_balancers(spec, node_ports, balancers):
    ports = [{"port": 1, "nodePort": 30000}, {"port": 2}]
    cost = texts(usage(SERVICES, {"metadata": {}, "spec": {"ports": ports, **spec}}, NOW))
    assert (cost["services.nodeports"], cost["services.loadbalancers"]) == (node_ports, balancers)


def test_claims_cost_storage_also_of_their_class():
    spec = {"storageClassName": "gold", "resources": {"requests": {"storage": "1500m"}}}
    claim = {"metadata": {}, "spec": spec, "status": {"allocatedResources": {"storage": "3"}}}
    assert texts(usage(PERSISTENTVOLUMECLAIMS, claim, NOW)) == {
        "count/persistentvolumeclaims": "1",
        "persistentvolumeclaims": "1",
        "gold.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
        "requests.storage": "3",
        "gold.storageclass.storage.k8s.io/requests.storage": "3",
    }


def test_everything_stored_can_be_counted_but_events():
    assert texts(usage(DEPLOYMENTS, {}, NOW)) == {"count/deployments.apps": "1"}
    assert texts(usage(CONFIGMAPS, {}, NOW)) == {"count/configmaps": "1", "configmaps": "1"}
    assert is_counted(DEPLOYMENTS)
    assert not is_counted(EVENTS)
    assert counted_by(["count/deployments.apps", "limits.cpu"]) == [PODS, DEPLOYMENTS]
    names = ["requests.example.com/gpu", "hugepages-2Mi", "requests.storage", "services"]
    assert matching(PODS, names) == names[:2]


@pytest.mark.parametrize(
    ("scope", "spec", "cpu", "expected"),
    [
        (scoped("BestEffort"), {}, None, True),
        (scoped("BestEffort"), {}, "1", False),
        (scoped("NotBestEffort"), {}, "1", True),
        (scoped("Terminating"), {"activeDeadlineSeconds": 5}, "1", True),
        (scoped("NotTerminating"), {"activeDeadlineSeconds": 5}, "1", False),
        (scoped("PriorityClass", "In", "high"), {"priorityClassName": "high"}, "1", True),
        (scoped("PriorityClass", "In", "high"), {}, "1", False),
        (scoped("PriorityClass", "NotIn", "high"), {}, "1", True),
        (scoped("PriorityClass", "DoesNotExist"), {}, "1", True),
        (scoped("PriorityClass"), {"priorityClassName": "high"}, "1", True),
        (scoped("CrossNamespacePodAffinity"), {}, "1", False),
        (
            scoped("CrossNamespacePodAffinity"),
            {
                "affinity": {
                    "podAntiAffinity": {
                        "preferredDuringSchedulingIgnoredDuringExecution": [{"podAffinityTerm": {"namespaces": ["o"]}}]
                    }
                }
            },
            "1",
            True,
        ),
    ],
)
def test_scopes_choose_pods(scope, spec, cpu, expected):
    assert in_scope(quota({}, scopeSelector=scope), PODS, pod(cpu, **spec)) is expected
    assert not in_scope(quota({}, scopeSelector=scope), SERVICES, {"spec": {}})


def test_a_quota_of_cpu_wants_every_container_to_state_it():
    two = pod()
    two["spec"]["containers"].append({"name": "d"})
    assert unstated(["requests.cpu", "limits.memory", "pods"], two) == (
        "must specify limits.memory for: d; requests.cpu for: d"
    )
    assert unstated(["limits.cpu"], two) == "must specify limits.cpu for: c,d"
    assert unstated(["requests.ephemeral-storage"], two) == ""


@given(st.lists(st.sampled_from(["Running", "Failed", "Pending"]), max_size=8), st.booleans())
def test_the_total_is_the_sum_over_what_is_in_scope(phases, only_best_effort):
    hard = {"pods": "5", "count/pods": "9", "cpu": "1", "secrets": "3"}
    wanted = quota(hard, **({"scopes": ["BestEffort"]} if only_best_effort else {}))
    found = texts(total(wanted, {PODS: [pod(phase=phase) for phase in phases]}, NOW))
    running = sum(phase != "Failed" for phase in phases)
    expected = (0, 0, 0) if only_best_effort else (running, len(phases), running)
    assert (found["pods"], found["count/pods"], found["cpu"]) == tuple(str(each) for each in expected)
    assert "secrets" not in found
