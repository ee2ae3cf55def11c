from sparsam.objects.disruption import allowed_condition, covering, covers


def budget(selector):
    return {"spec": {} if selector is None else {"selector": selector}}


def pod(**labels):
    return {"metadata": {"name": "p", "labels": labels}}


def test_an_empty_selector_takes_all_pods_and_an_absent_one_none():
    assert covers(budget({}), pod(app="x"))
    assert not covers(budget(None), pod(app="x"))
    mine = budget({"matchLabels": {"app": "x"}})
    assert covering(pod(app="x"), [mine, budget({"matchLabels": {"app": "y"}})]) == [mine]


def test_a_condition_says_whether_anything_may_go():
    def told(status, **why):
        condition = allowed_condition(status, **why)
        return condition["status"], condition["reason"], condition["message"]

    assert told({"disruptionsAllowed": 1}) == ("True", "SufficientPods", "")
    assert told({"disruptionsAllowed": 0}) == ("False", "InsufficientPods", "")
    assert told({"disruptionsAllowed": 1}, failure="no owner") == ("False", "SyncFailed", "no owner")
