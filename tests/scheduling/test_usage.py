import pytest

from sparsam.scheduling.demand import compile_pod
from sparsam.scheduling.usage import ENOUGH_OBSERVATIONS, Usage, service_selector, use_level
from tests.support.scheduling import pod


def demand(cpu="", **labels):
    made = pod("p", cpu=cpu)
    made["metadata"]["labels"] = labels
    return compile_pod(made)


def seen(usage, the_demand, millicores, times=ENOUGH_OBSERVATIONS):
    for _ in range(times):
        usage.observe(the_demand, millicores)


def test_until_enough_was_seen_the_request_counts():
    usage = Usage()
    assert usage.expected_millicores(demand("2")) == 2000.0
    seen(usage, demand("2", app="web"), 300.0, ENOUGH_OBSERVATIONS - 1)
    assert usage.expected_millicores(demand("2", app="web")) == 2000.0


def test_a_pod_without_requests_is_expected_to_use_what_its_service_uses():
    usage = Usage()
    assert usage.expected_millicores(demand(app="web")) == 100.0
    seen(usage, demand(app="web"), 750.0)
    assert usage.expected_millicores(demand(app="web")) == pytest.approx(750.0)
    assert usage.expected_millicores(demand(app="db")) == 100.0


def test_revisions_and_ordinals_belong_to_one_service():
    usage = Usage()
    seen(usage, demand(app="web", **{"pod-template-hash": "a"}), 400.0)
    assert usage.expected_millicores(demand(app="web", **{"pod-template-hash": "b"})) == pytest.approx(400.0)
    assert service_selector(demand(app="web", **{"pod-template-hash": "a"})).matches({"app": "web"})


def test_what_was_learned_follows_what_is_seen():
    usage = Usage()
    seen(usage, demand(app="web"), 100.0, 20)
    seen(usage, demand(app="web"), 900.0, 400)
    assert usage.expected_millicores(demand(app="web")) == pytest.approx(900.0, rel=0.01)


def test_memory_is_bounded():
    usage = Usage()
    usage.KEPT = 10
    for number in range(30):
        usage.observe(demand(app=f"a{number}"), 1.0)
    assert len(usage._learned) == 10


def test_levels_are_steps_of_the_share_that_is_used():
    assert [use_level(1000.0, used) for used in (0.0, 49.0, 50.0, 500.0, 999.0, 1000.0, 4000.0)] == [
        0,
        0,
        1,
        10,
        19,
        20,
        20,
    ]
    assert use_level(0.0, 100.0) == 0
