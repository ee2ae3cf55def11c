import itertools

import pytest
from hypothesis import given

from sparsam.objects.documents import (
    Malformed,
    MalformedYaml,
    parse_json,
    parse_json_strictly,
    parse_yaml,
    repeated_keys,
)
from tests.support.objects import body, json_values


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'{"a":', "unexpected end of JSON input"),
        (b"  ", "unexpected end of JSON input"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a":1 "b":2}', "invalid character '\"' after object key:value pair"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b"{} x", "invalid character 'x' after top-level value"),
        (b"nope", "invalid character 'o' in literal null (expecting 'u')"),
        (b"NaN", "invalid character 'N' looking for beginning of value"),
    ],
)
def test_malformed_json_is_described_as_go_does(raw, message):
    with pytest.raises(Malformed) as caught:
        parse_json(raw)
    assert str(caught.value) == message


def test_duplicate_keys_are_found_at_their_paths_and_the_last_wins():
    value, duplicates = parse_json_strictly(b'{"a":[{"b":1,"b":2}],"c":"\\u0022","a":[{"b":1,"b":3}]}')
    assert value["a"] == [{"b": 3}]
    assert duplicates == ["a[0].b", "a"]


def test_quotes_inside_texts_are_no_duplicates():
    assert parse_json_strictly(b'{"a":"x\\"y\\u0022", "b":"\\u00e4"}') == ({"a": 'x"y"', "b": "\u00e4"}, [])


@given(json_values)
def test_what_json_writes_is_read_back_without_duplicates(value):
    assert parse_json_strictly(body(value)) == (value, [])


def test_yaml_keeps_dates_as_text_and_keys_as_strings():
    assert parse_yaml(b"1: 2026-01-01\ntrue: {a: 0x10}\n") == {"1": "2026-01-01", "true": {"a": 16}}


@pytest.mark.parametrize(
    "raw", [b"a: [", b"a: b: c", b"\t", b"!!python/object:os.system {}", b"? [a]\n: b", b"a: .nan"]
)
def test_bad_yaml_is_refused(raw):
    with pytest.raises(MalformedYaml):
        parse_yaml(raw)


def test_yaml_scalars_mean_what_go_takes_them_for():
    values = {"a": "12:30", "b": "1e3", "c": "0x10", "d": "2026-01-02", "e": "12e4567", "f": "1_000", "g": ".5"}
    text = "{" + ", ".join(f"{name}: {value}" for name, value in values.items()) + "}"
    assert parse_yaml(text.encode()) == {
        "a": "12:30", "b": 1000, "c": 16, "d": "2026-01-02", "e": "12e4567", "f": 1000, "g": 0.5,
    }  # fmt: skip


def levels(form):
    return "\n".join(f"{b}: &{b} {form.format(', '.join([f'*{a}'] * 9))}" for a, b in itertools.pairwise("abcdefghi"))


LAUGHS = "a: &a [x]\n" + levels("[{}]")
MERGES = "a: &a {k: v}\n" + levels("{{<<: [{}]}}")


@pytest.mark.parametrize("text", [LAUGHS, MERGES], ids=["aliases of aliases", "merges of merges"])
def test_yaml_that_multiplies_itself_is_refused(text):
    with pytest.raises(MalformedYaml, match="excessive aliasing"):
        parse_yaml(text.encode())


def test_yaml_may_use_aliases_and_merges():
    assert parse_yaml(b"a: &a {b: 1}\nc: *a\nd: {<<: *a, e: 2}") == {
        "a": {"b": 1},
        "c": {"b": 1},
        "d": {"b": 1, "e": 2},
    }


@pytest.mark.parametrize("text", [b"[" * 3_000_000, b"{a: " * 100_000, b"- " * 100_000, b"? " * 100_000])
def test_yaml_nested_without_end_is_refused_at_once(text):
    with pytest.raises(MalformedYaml, match="max depth"):
        parse_yaml(text)


@pytest.mark.parametrize(
    ("raw", "repeated"),
    [
        (b"a: 1\nb: {c: 1, c: 2}\na: 3\n", [(2, "c"), (3, "a")]),
        (b"- a: 1\n  a:\n    b: 2\n", [(3, "a")]),
        (b'{"a": 1, "a": 2}', [(1, "a")]),
        (b'{"a": 1, "b": {"a": 2}}', []),
        (b"a: &x {b: 1, b: 2}\nc: [*x, *x]\n", [(1, "b")]),
        (b"", []),
    ],
)
def test_keys_that_stand_twice_are_found_with_their_lines(raw, repeated):
    assert repeated_keys(raw) == repeated
