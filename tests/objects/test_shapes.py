import random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sparsam.objects import fieldsets, shapeproblems, shapes, typed
from sparsam.objects.kinds import DEPLOYMENTS, PODS, RESOURCES, SERVICES, find
from sparsam.objects.schema import for_resource
from tests.support.random_objects import random_object

CONTAINERS = ("f:spec", "f:containers")
WEB = 'k:{"name":"web"}'


def shape(resource):
    return shapes.of_object(for_resource(resource).name)


def differ(resource, old, new):
    touched, removed = shape(resource).compare(old, new)
    return sorted(fieldsets.paths(touched or {})), sorted(fieldsets.paths(removed or {}))


def pod(*containers, **spec):
    return {"metadata": {"name": "p"}, "spec": {"containers": list(containers), **spec}}


def test_items_of_a_list_with_keys_are_told_apart_by_them():
    old = pod({"name": "web", "image": "a"}, {"name": "log", "image": "b"})
    new = pod({"name": "log", "image": "b"}, {"name": "web", "image": "c"})
    assert differ(PODS, old, new) == ([(*CONTAINERS, WEB, "f:image")], [])


def test_a_key_that_is_missing_has_its_default():
    bare, told = {"containerPort": 80}, {"containerPort": 80, "protocol": "TCP"}
    ports = (*CONTAINERS, WEB, "f:ports", 'k:{"containerPort":80,"protocol":"TCP"}', "f:protocol")
    old, new = (pod({"name": "web", "ports": [port]}) for port in (bare, told))
    assert differ(PODS, old, new) == ([ports], [])


def test_a_list_without_keys_and_an_atomic_map_are_one_field_each():
    old = pod({"name": "web", "command": ["a"]}, nodeSelector={"a": "b"})
    new = pod({"name": "web", "command": ["a", "b"]}, nodeSelector={"a": "b", "c": "d"})
    assert differ(PODS, old, new) == ([(*CONTAINERS, WEB, "f:command"), ("f:spec", "f:nodeSelector")], [])
    old, new = ({"spec": {"selector": {"a": value}}} for value in "xy")
    assert differ(SERVICES, old, new) == ([("f:spec", "f:selector")], [])
    old, new = ({"spec": {"selector": {"matchLabels": {"a": value}}}} for value in "xy")
    assert differ(DEPLOYMENTS, old, new) == ([("f:spec", "f:selector")], [])


def test_items_of_a_set_and_entries_of_a_map_belong_to_somebody_each():
    old = {"metadata": {"finalizers": ["a/b", "c/d"], "labels": {"x": "1"}}}
    new = {"metadata": {"finalizers": ["c/d", "e/f"], "labels": {"x": "2", "y": "3"}}}
    touched = [("f:metadata", "f:finalizers", 'v:"e/f"'), ("f:metadata", "f:labels", "f:x")]
    assert differ(PODS, old, new) == (
        [*touched, ("f:metadata", "f:labels", "f:y")],
        [("f:metadata", "f:finalizers", 'v:"a/b"')],
    )


def test_what_names_an_object_or_only_the_server_writes_is_nobodys():
    old = {"metadata": {"name": "a", "generation": 1, "resourceVersion": "1", "managedFields": []}}
    new = {"metadata": {"name": "b", "generation": 2, "resourceVersion": "2", "uid": "u"}, "kind": "Pod"}
    assert differ(PODS, old, new) == ([], [])


def test_a_struct_that_is_new_belongs_to_who_made_it_one_that_was_there_does_not():
    lifecycle = {"exec": {"command": ["x"]}}
    old, new = pod({"name": "web"}), pod({"name": "web", "livenessProbe": lifecycle})
    probe = (*CONTAINERS, WEB, "f:livenessProbe")
    paths = [probe, (*probe, "f:exec"), (*probe, "f:exec", "f:command")]
    assert differ(PODS, old, new) == (paths, [])
    assert differ(PODS, new, old) == ([], paths)


def test_who_applies_owns_fields_and_items_but_no_struct():
    members = shape(PODS).members(pod({"name": "web", "resources": {}, "livenessProbe": {"periodSeconds": 3}}))
    assert sorted(fieldsets.paths(members)) == [
        (*CONTAINERS, WEB),
        (*CONTAINERS, WEB, "f:livenessProbe", "f:periodSeconds"),
        (*CONTAINERS, WEB, "f:name"),
        (*CONTAINERS, WEB, "f:resources"),
    ]


def test_items_that_cannot_be_told_apart_stay_together():
    twice = pod({"name": "web", "env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]})
    once = pod({"name": "web", "env": [{"name": "A", "value": "1"}]})
    step = (*CONTAINERS, WEB, "f:env", 'k:{"name":"A"}')
    assert differ(PODS, twice, once) == ([step], [])
    assert step in fieldsets.paths(shape(PODS).members(twice))
    assert shape(PODS).merge(twice, once)["spec"]["containers"][0]["env"] == [{"name": "A", "value": "1"}]


def test_pruning_leaves_nothing_where_nothing_is_left():
    fields = fieldsets.from_paths([("f:metadata", "f:labels", "f:a"), (*CONTAINERS, WEB, "f:image")])
    obj = {"metadata": {"labels": {"a": "1"}}, "spec": {"containers": [{"name": "web", "image": "x"}]}}
    assert shape(PODS).prune(obj, fields) == {"metadata": {"labels": None}, "spec": {"containers": [{"name": "web"}]}}


def test_json_without_a_schema_has_fields_as_far_as_it_has_objects():
    revisions = find("apps", "v1", "controllerrevisions")
    old, new = ({"data": {"a": {"b": value, "c": [1]}}} for value in (1, 2))
    assert differ(revisions, old, new) == ([("f:data", "f:a", "f:b")], [])
    assert differ(revisions, old, {"data": [1]}) == ([("f:data",)], [])
    assert shape(revisions).merge(old, {"data": {"d": 1}}) == {"data": {"a": {"b": 1, "c": [1]}, "d": 1}}


@pytest.mark.parametrize(
    ("live", "config", "merged"),
    [
        ("abc", "cb", "acb"),
        ("abc", "d", "abcd"),
        ("abc", "da", "dabc"),
        ("abcd", "db", "acdb"),
        ("", "ab", "ab"),
        ("ab", "", "ab"),
    ],
)
def test_a_merged_list_has_the_order_of_the_configuration(live, config, merged):
    assert "".join(shapes.merged_order(live, config)) == merged


orders = st.lists(st.sampled_from("abcdef"), unique=True)


@given(orders, orders)
def test_a_merged_list_has_every_item_once_and_keeps_both_orders(live, config):
    merged = list(shapes.merged_order(live, config))
    assert sorted(merged) == sorted({*live, *config})
    assert [step for step in merged if step in config] == config
    assert [step for step in merged if step not in config] == [step for step in live if step not in config]


@given(st.sampled_from(RESOURCES), st.randoms(use_true_random=False))
def test_objects_of_every_kind_are_compared_merged_and_pruned(resource, chance):
    name, whole = for_resource(resource).name, shape(resource)
    one, other = (typed.read(name, random_object(random.Random(chance.random()), resource))[0] for _ in range(2))
    assume(not any(shapeproblems.find(name, other)))
    assert whole.compare(one, dict(one)) == (None, None)
    touched, removed = (nodes or {} for nodes in whole.compare(one, other))
    assert not fieldsets.intersection(touched, removed)
    back_touched, back_removed = (nodes or {} for nodes in whole.compare(other, one))
    assert fieldsets.union(touched, removed) == fieldsets.union(back_touched, back_removed)
    merged = whole.merge(one, other)
    assert whole.compare(one, merged)[1] is None
    members = whole.members(other) or {}
    assert whole.compare(other, whole.merge(whole.prune(merged, members) or {}, other))[1] is None
