import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.objects import fieldsets

STEPS = ("f:a", "f:b.c", 'k:{"name":"x"}', 'k:{"port":80,"protocol":"TCP"}', 'v:"a"', "v:1", "i:0")
several = st.sets(st.lists(st.sampled_from(STEPS), min_size=1, max_size=3).map(tuple), max_size=8)


def listed(fields):
    return set(fieldsets.paths(fields))


@given(several)
def test_a_set_has_the_paths_that_it_is_made_of(paths):
    fields = fieldsets.from_paths(sorted(paths))
    assert listed(fields) == paths
    assert all(fieldsets.contains(fields, path) for path in paths)
    assert fieldsets.parse(fields) == fields


@given(several, several)
def test_the_algebra_is_that_of_sets_of_paths(left, right):
    ours, theirs = fieldsets.from_paths(sorted(left)), fieldsets.from_paths(sorted(right))
    assert listed(fieldsets.union(ours, theirs)) == left | right
    assert listed(fieldsets.intersection(ours, theirs)) == left & right
    assert listed(fieldsets.difference(ours, theirs)) == left - right


@given(several, several)
def test_equal_sets_are_equal_trees_however_they_came_about(left, right):
    ours, theirs = fieldsets.from_paths(sorted(left)), fieldsets.from_paths(sorted(right))
    apart = fieldsets.union(fieldsets.difference(ours, theirs), fieldsets.intersection(ours, theirs))
    assert apart == ours
    assert fieldsets.union(ours, theirs) == fieldsets.union(theirs, ours)


@given(several, several)
def test_whole_trees_go_or_stay(left, right):
    ours, theirs = fieldsets.from_paths(sorted(left)), fieldsets.from_paths(sorted(right))
    below = {path for path in left if any(path[: len(each)] == each for each in right)}
    assert listed(fieldsets.without_trees(ours, theirs)) == left - below
    assert listed(fieldsets.only_trees(ours, theirs)) == below


@given(several, several)
def test_operations_leave_their_operands_as_they_are(left, right):
    ours, theirs = fieldsets.from_paths(sorted(left)), fieldsets.from_paths(sorted(right))
    for operation in (fieldsets.union, fieldsets.intersection, fieldsets.difference, fieldsets.without_trees):
        operation(ours, theirs)
    assert (listed(ours), listed(theirs)) == (left, right)


def test_a_star_stands_for_any_step():
    fields = fieldsets.from_paths([("f:spec", 'k:{"name":"a"}', "f:image"), ("f:spec", 'k:{"name":"a"}', "f:ports")])
    only = fieldsets.from_paths([("f:spec", "*", "f:ports")])
    assert listed(fieldsets.only_trees(fields, only)) == {("f:spec", 'k:{"name":"a"}', "f:ports")}


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (("f:data", "f:a.b/c"), ".data.a.b/c"),
        (("f:spec", 'k:{"port":80,"protocol":"TCP"}', "f:name"), '.spec[port=80,protocol="TCP"].name'),
        (("f:metadata", "f:finalizers", 'v:"x/y"'), '.metadata.finalizers[="x/y"]'),
        (("f:a", "v:1", "i:3"), ".a[=1][3]"),
    ],
)
def test_paths_are_shown_as_upstream_shows_them(path, text):
    assert fieldsets.format_path(path) == text


def test_paths_of_a_level_come_before_those_below_and_fields_before_items():
    fields = {'v:"a"': {}, "f:b": {".": {}, "f:c": {}}, 'k:{"n":1}': {}, "f:a": {}}
    assert list(fieldsets.paths(fields)) == [("f:a",), ("f:b",), ('k:{"n":1}',), ('v:"a"',), ("f:b", "f:c")]


def test_sets_of_others_are_brought_into_one_form():
    assert fieldsets.parse({'k:{ "b": 1, "a": "x" }': {"f:c": {}}}) == {'k:{"a":"x","b":1}': {"f:c": {}}}
    assert fieldsets.parse({".": {}, "f:a": {"x:future": {}}, "y:1": {}}) == {"f:a": {}}


@pytest.mark.parametrize("raw", [[], {"f:a": 1}, {"nocolon": {}}, {"k:[]": {}}, {"k:{": {}}, {"i:x": {}}, {"f": {}}])
def test_what_is_no_set_is_refused(raw):
    with pytest.raises(ValueError):
        fieldsets.parse(raw)
