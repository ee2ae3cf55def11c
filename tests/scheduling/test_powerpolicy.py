from sparsam.scheduling.powerpolicy import choose, read_power_policy
from sparsam.scheduling.watts import Weights


def made(name="p", **spec):
    return read_power_policy({"metadata": {"name": name}, "spec": spec})


def test_an_empty_policy_is_the_default():
    found = made()
    assert (found.policy, found.shadow, found.weights) == ("sparsam", False, Weights())
    assert found.holds_for({}, "default-scheduler")


def test_what_is_stated_replaces_the_default():
    found = made(
        policy="peaks", mode="shadow", weights={"joules": 9, "devices": 3}, headroomRatio=0.3, maxServiceShare=0.5
    )
    assert (found.policy, found.shadow) == ("peaks", True)
    assert found.weights == Weights(joules=9, devices=3, headroom_ratio=0.3, max_service_share=0.5)


def test_the_most_specific_policy_holds():
    everywhere = made("a-everywhere")
    by_scheduler = made("b-scheduler", schedulerNames=["batch"])
    by_namespace = made("c-namespace", namespaceSelector={"matchLabels": {"team": "x"}})
    policies = [everywhere, by_scheduler, by_namespace]
    assert choose(policies, {"team": "x"}, "batch") is by_namespace
    assert choose(policies, {}, "batch") is by_scheduler
    assert choose(policies, {}, "default-scheduler") is everywhere
    assert choose([by_namespace], {}, "batch") is None


def test_equals_go_by_name():
    assert choose([made("b"), made("a")], {}, "s").name == "a"
