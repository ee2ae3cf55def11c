"""One pod and one node, beside the columns that the scheduler uses for many."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.scheduling.demand import compile_pod
from sparsam.scheduling.nodematch import required_mask
from sparsam.scheduling.nodematch import untolerated as untolerated_counts
from sparsam.scheduling.onenode import affinity_allows, untolerated
from sparsam.scheduling.snapshot import Snapshot
from tests.support.scheduling import node, pod

KEYS, VALUES = ["a", "b"], ["1", "2", "x"]


def expressions() -> st.SearchStrategy[dict[str, Any]]:
    def fitting(operator: str) -> st.SearchStrategy[dict[str, Any]]:
        sizes = {"Exists": (0, 0), "DoesNotExist": (0, 0), "Gt": (1, 1), "Lt": (1, 1)}.get(operator, (1, 2))
        values = st.lists(st.sampled_from(VALUES), min_size=sizes[0], max_size=sizes[1])
        return st.fixed_dictionaries({"key": st.sampled_from(KEYS), "operator": st.just(operator), "values": values})

    return st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]).flatmap(fitting)


@given(
    st.lists(st.lists(expressions(), max_size=3), min_size=1, max_size=3),
    st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES)),
    st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES), max_size=1),
)
def test_affinity_is_that_of_the_columns(terms: list[Any], labels: dict[str, str], selector: dict[str, str]):
    required = {"nodeSelectorTerms": [{"matchExpressions": each} for each in terms]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    demand = compile_pod(pod("p", nodeSelector=selector, affinity=affinity))
    snapshot, one = Snapshot(), node("n", labels=labels)
    snapshot.set_node(one)
    rows = np.array([snapshot.rows["n"]])
    assert affinity_allows(demand, one) == bool(required_mask(snapshot, demand, rows)[0])


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [({}, 2), ({"key": "k", "operator": "Exists"}, 1), ({"operator": "Exists", "effect": "NoSchedule"}, 1)],
)
def test_taints_are_those_of_the_columns(toleration: dict[str, str], expected: int):
    taints = [{"key": "k", "effect": "NoSchedule"}, {"key": "l", "value": "v", "effect": "NoExecute"}]
    one = node("n", taints=taints)
    demand = compile_pod(pod("p", tolerations=[toleration] if toleration else []))
    effects = ("NoSchedule", "NoExecute")
    snapshot = Snapshot()
    snapshot.set_node(one)
    assert len(untolerated(demand, one, effects)) == expected
    assert untolerated_counts(snapshot, demand, effects, np.array([snapshot.rows["n"]]))[0] == expected
