"""Each function, called with whatever there is: a value or an honest error."""

import contextlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sparsam.objects.cel import DYN, CelError, CostExceeded, EvaluationError, compile_expression
from sparsam.objects.cel.functions import FUNCTIONS
from sparsam.objects.cel.values import Duration, Timestamp, UInt

ODD = """1 -1 1.5 1h 2024-01-01T00:00:00Z 0001-01-01T00:00:00Z 9999-12-31T23:59:59.999999999Z 10.0.0.1 ::1 10.0.0.0/8
fe80::1%eth0 ::ffff:1.2.3.4 https://a:b@c:80/d?e=f#g http://[::1 /x ( [a-z]+ %s %d %.3f %x %q % UTC Europe/Berlin +25:61
1.2.3 v1.2 1.0.0-01 1Gi 1e99 0x1 true T"""
TEXTS = st.one_of(
    st.text(max_size=6),
    st.sampled_from(ODD.split()),
)
VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.integers(0, 2**64 - 1).map(UInt),
        st.floats(),
        TEXTS,
        st.binary(max_size=5),
        st.integers(-(2**63), 2**63 - 1).map(Duration),
        st.integers(-62135596800 * 10**9, 253402300799 * 10**9).map(Timestamp),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
NAMES = ("a", "b", "c", "d")
OPERATORS = {"@in", "_?_:_", "_[_]", "_[?_]", "!_", "-_"}


def call(name, overload):
    arguments = NAMES[: len(overload.parameters)]
    if name.startswith("_") and name.endswith("_") and name not in OPERATORS:
        return f"a {name.strip('_')} b"
    special = {
        "@in": "a in b", "_?_:_": "a ? b : c", "_[_]": "a[b]", "_[?_]": "a[?b]", "!_": "!a", "-_": "-a",
    }  # fmt: skip
    if name in special:
        return special[name]
    if overload.is_member:
        return f"a.{name}({', '.join(arguments[1:])})"
    return f"{name}({', '.join(arguments)})"


CALLS = sorted({call(name, overload) for name, known in FUNCTIONS.items() for overload in known})


@settings(max_examples=1500, deadline=None)
@given(st.sampled_from(CALLS), st.tuples(*[VALUES] * 4))
@example("a.format(b)", ("%.9999f", [1e300], 0, 0))
@example("a.getHours(b)", (Timestamp(-62135596800 * 10**9), "-23:00", 0, 0))
@example("a.getHours(b)", (Timestamp(253402300799 * 10**9), "+23:00", 0, 0))
@example("a - b", (Timestamp(253402300799 * 10**9), Timestamp(-62135596800 * 10**9), 0, 0))
@example("string(a)", (float("nan"), 0, 0, 0))
@example("int(a)", (1e300, 0, 0, 0))
@example("a.split(b, c)", ("a", "", -(2**63), 0))
@example("a.replace(b, c, d)", ("a", "", "x", 2**62))
@example("quantity(a)", ("1e9999999", 0, 0, 0))
@example("a.charAt(b)", ("", 0, 0, 0))
def test_a_call_has_a_value_or_an_error_of_its_own(text, values):
    with contextlib.suppress(EvaluationError, CelError):
        program = compile_expression(text, dict.fromkeys(NAMES, DYN), returns=DYN)
        program.evaluate(dict(zip(NAMES, values, strict=True)))


def test_every_function_has_been_called_here():
    assert len(CALLS) > 150


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a.replace('', b)", {"a": "x" * 100_000, "b": "y" * 100_000}),
        ("a.join(b)", {"a": ["x"] * 100_000, "b": "y" * 100_000}),
        ("sets.contains(a, b)", {"a": list(range(30_000)), "b": list(range(30_000))}),
        ("a.matches(b)", {"a": "x" * 1_000_000, "b": "(x+x+)+" * 3000 + "y"}),
        ("a.map(x, a + a).size() > 0", {"a": list(range(3000))}),
    ],
)
def test_calls_that_would_take_too_long_are_not_begun(text, values):
    program = compile_expression(text, dict.fromkeys(values, DYN), returns=DYN)
    with pytest.raises(CostExceeded):
        program.evaluate(values)
