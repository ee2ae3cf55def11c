"""Match conditions: when they match, and what an error is worth."""

import pytest

from sparsam.objects.cel import CostExceeded, EvaluationError
from sparsam.objects.cel.conditions import OUT_OF_BUDGET, Conditions


def conditions(*expressions, **options):
    return Conditions([{"name": f"c{place}", "expression": each} for place, each in enumerate(expressions)], **options)


def values(**object_fields):
    return {"object": object_fields, "oldObject": None, "request": {}, "namespaceObject": None}


def test_no_condition_matches():
    assert conditions().matches(values(), fail=True) is True


def test_all_must_be_true():
    assert conditions("object.a == 1", "object.b == 2").matches(values(a=1, b=2), fail=True) is True
    assert conditions("object.a == 1", "object.b == 2").matches(values(a=1, b=3), fail=True) is False


def test_a_false_one_settles_it_whatever_befalls_others():
    assert conditions("object.nothing == 1", "object.a == 2").matches(values(a=1), fail=True) is False


def test_an_error_is_raised_or_counts_as_no_match():
    broken = conditions("object.a == 1", "object.nothing == 1")
    assert broken.matches(values(a=1), fail=False) is False
    with pytest.raises(
        EvaluationError, match=r"^expression 'object.nothing == 1' resulted in error: no such key: nothing$"
    ):
        broken.matches(values(a=1), fail=True)


def test_several_errors_are_told_together():
    broken = conditions("object.x == 1", "object.y == 1")
    with pytest.raises(EvaluationError) as error:
        broken.matches(values(), fail=True)
    assert str(error.value).startswith("[expression 'object.x == 1' resulted in error: no such key: x, expression")


def test_one_that_does_not_compile_fails_when_it_is_asked():
    with pytest.raises(EvaluationError, match="compilation error: compilation failed: ERROR: <input>:1:1: undeclared"):
        conditions("nothing").matches(values(), fail=True)
    with pytest.raises(EvaluationError, match="undeclared reference to 'params'"):
        conditions("params.a == 1").matches(values(), fail=True)
    assert conditions("params.a == 1", has_params=True).matches({**values(), "params": {"a": 1}}, fail=True) is True


def test_they_may_cost_so_much_and_no_more():
    endless = "object.l.all(a, object.l.all(b, object.l.all(c, object.l.all(d, a + b + c + d >= 0))))"
    many = values(l=list(range(60)))
    with pytest.raises(CostExceeded):
        conditions(endless).matches(many, fail=True, limit=1000)
    with pytest.raises(EvaluationError, match="operation cancelled: actual cost limit exceeded"):
        conditions(endless).matches(many, fail=True)
    with pytest.raises(EvaluationError, match=OUT_OF_BUDGET):
        conditions(endless, endless, endless).matches(many, fail=True)
