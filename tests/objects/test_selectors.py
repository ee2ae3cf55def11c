from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.errors import BadRequest
from sparsam.objects import selectors
from sparsam.objects.selectors import go_label_selector, parse_field_selector, parse_label_selector


@pytest.mark.parametrize(
    ("text", "labels", "wanted"),
    [
        ("", {}, True),
        ("a=b", {"a": "b"}, True),
        ("a==b", {"a": "c"}, False),
        ("a!=b", {}, True),
        ("a in (b, c)", {"a": "c"}, True),
        ("a notin (b,c)", {"a": "c"}, False),
        ("a notin (b)", {}, True),
        ("a", {"a": ""}, True),
        ("!a", {"a": ""}, False),
        ("a,b=1", {"a": "x", "b": "1"}, True),
        ("a=", {"a": ""}, True),
        ("a=,b=c", {"a": "", "b": "c"}, True),
        ("n>5", {"n": "6"}, True),
        ("n<5", {"n": "x"}, False),
        ("a in ()", {"a": ""}, True),
        (" a = b , c ", {"a": "b", "c": ""}, True),
        ("example.com/a=b", {"example.com/a": "b"}, True),
    ],
)
def test_label_selectors_select(text, labels, wanted):
    assert parse_label_selector(text).matches(labels) is wanted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("==", "found '==', expected: !, identifier, or 'end of string'"),
        ("a in", "unable to parse requirement: found '' expected: '('"),
        ("a,", "found '', expected: identifier after ','"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
    ],
)
def test_a_bad_label_selector_is_refused_in_upstreams_words(text, message):
    with pytest.raises(BadRequest) as caught:
        parse_label_selector(text)
    assert caught.value.message == message


def test_an_absent_selector_object_selects_nothing_and_an_empty_one_everything():
    assert not selectors.parse_label_selector_object(None).matches({"a": "b"})
    assert selectors.parse_label_selector_object({}).matches({})
    assert not selectors.label_selector_from_map({}).matches({"a": "b"})


def test_a_selector_object_is_written_as_a_query():
    selector = {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["e", "d"]}]}
    assert selectors.format_label_selector(selector) == "a=b,c in (d,e)"


def test_field_selectors_split_at_commas_that_are_not_escaped():
    selector = parse_field_selector(r"a=x\,y,b!=z,c==")
    assert selector.paths() == {"a", "b", "c"}
    assert selector.matches({"a": "x,y", "b": "q"})
    assert not selector.matches({"a": "x,y", "b": "z"})
    assert selector.required("a") == "x,y"


def test_a_field_selector_without_operator_is_refused():
    with pytest.raises(BadRequest):
        parse_field_selector("metadata.name")


words = st.sampled_from(["a", "b", "c"])


def slow_match(terms, labels):
    """A twin written from the definition."""
    for key, operator, values in terms:
        has = key in labels
        fits = {
            "in": has and labels.get(key) in values,
            "notin": not has or labels[key] not in values,
            "exists": has,
            "absent": not has,
        }[operator]
        if not fits:
            return False
    return True


def written(key, operator, values):
    joined = ",".join(values)
    return {"in": f"{key} in ({joined})", "notin": f"{key} notin ({joined})", "exists": key, "absent": f"!{key}"}[
        operator
    ]


@given(
    st.lists(
        st.tuples(words, st.sampled_from(["in", "notin", "exists", "absent"]), st.lists(words, min_size=1, max_size=2)),
        max_size=4,
    ),
    st.dictionaries(words, words),
)
def test_a_parsed_selector_agrees_with_its_slow_twin(terms, labels):
    text = ",".join(written(*term) for term in terms)
    assert parse_label_selector(text).matches(labels) is slow_match(terms, labels)


@given(st.text(alphabet="ab=!(),<> in\\", max_size=20))
def test_any_text_is_parsed_or_refused(text):
    for parse in (parse_label_selector, parse_field_selector):
        with suppress(BadRequest):
            parse(text)


def test_selectors_are_shown_as_go_shows_them():
    selector = {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "In", "values": ["d", "e"]}]}
    assert go_label_selector(selector) == (
        "&LabelSelector{MatchLabels:map[string]string{a: b,},"
        "MatchExpressions:[]LabelSelectorRequirement{LabelSelectorRequirement{Key:c,Operator:In,Values:[d e],},},}"
    )
