from sparsam.apiserver.admission import Attributes
from sparsam.apiserver.admission.hooks import read_hooks
from sparsam.apiserver.authentication import ANONYMOUS
from sparsam.objects.kinds import CONFIGMAPS, PODS
from tests.support.webhooks import hook

NOWHERE = {"url": "https://127.0.0.1:1/"}


def configuration(name, *hooks):
    return {"metadata": {"name": name}, "webhooks": list(hooks)}


def test_hooks_are_called_by_the_names_of_their_configurations():
    first, second = hook(NOWHERE, name="z.example.com"), hook(NOWHERE, name="a.example.com")
    found = read_hooks([configuration("two", first), configuration("one", first, second)])
    assert [each.uid for each in found] == ["one/z.example.com/0", "one/a.example.com/1", "two/z.example.com/0"]


def test_what_a_hook_says_of_itself():
    (found,) = read_hooks([configuration("c", hook(NOWHERE, failurePolicy="Ignore", reinvocationPolicy="IfNeeded"))])
    assert found.may_fail
    assert found.is_called_again
    assert found.conditions is None
    assert found.seen_as(Attributes("CREATE", CONFIGMAPS, "d", "x", ANONYMOUS)) == CONFIGMAPS
    assert found.seen_as(Attributes("CREATE", PODS, "d", "x", ANONYMOUS)) is None
    assert read_hooks([{"metadata": {"name": "empty"}}]) == ()


def test_conditions_are_compiled_where_there_are_some():
    conditions = [{"name": "c", "expression": "object.metadata.name == 'x'"}]
    (found,) = read_hooks([configuration("c", hook(NOWHERE, matchConditions=conditions))])
    assert found.conditions.matches({"object": {"metadata": {"name": "x"}}}, fail=True)
    assert not found.conditions.matches({"object": {"metadata": {"name": "y"}}}, fail=True)
