import pytest
from hypothesis import given

from sparsam.errors import BadRequest, Invalid, RequestEntityTooLarge, StatusError
from sparsam.objects import patches
from sparsam.objects.kinds import DEPLOYMENTS, PODS
from sparsam.objects.objecttypes import type_of
from tests.support.objects import body, json_objects, json_values

POD = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}, {"name": "d", "image": "i"}]}}


def strategic(obj, patch, resource=PODS):
    return patches.apply(type_of(resource), obj, "strategic", body(patch))


def test_the_merge_patch_of_the_rfc_removes_nulls_and_replaces_lists():
    assert patches.merge({"a": {"b": 1, "c": 2}, "l": [1]}, {"a": {"b": None}, "l": [2]}) == {"a": {"c": 2}, "l": [2]}


def merge_patch_between(old, new):
    """A patch that turns one object into the other (as far as nulls allow)."""
    patch = {name: None for name in old if name not in new}
    for name, value in new.items():
        both = isinstance(old.get(name), dict) and isinstance(value, dict)
        patch[name] = merge_patch_between(old[name], value) if both else value
    return patch


def without_nulls(value):
    if isinstance(value, dict):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    return value


@given(json_objects, json_objects)
def test_a_merge_patch_makes_the_one_object_out_of_the_other(old, new):
    old, new = without_nulls(old), without_nulls(new)
    assert patches.merge(old, merge_patch_between(old, new)) == new


@given(json_objects)
def test_an_empty_patch_of_any_kind_changes_nothing(obj):
    assert patches.merge(obj, {}) == obj
    assert strategic(obj, {}) == obj
    assert patches.json_patch(obj, []) == obj


@given(json_objects, json_values)
def test_any_patch_gives_an_object_or_a_status(obj, patch):
    for kind in ("json", "merge", "strategic"):
        try:
            assert isinstance(patches.apply(type_of(PODS), obj, kind, body(patch)), dict)
        except StatusError as error:
            assert error.code in (400, 413, 422)


def test_json_patch_operations_of_the_rfc():
    target = {"a": {"b": [1, 2]}, "x/y": 1}
    operations = [
        {"op": "test", "path": "/a/b/0", "value": 1},
        {"op": "add", "path": "/a/b/-", "value": 3},
        {"op": "add", "path": "/a/b/0", "value": 0},
        {"op": "remove", "path": "/a/b/1"},
        {"op": "replace", "path": "/x~1y", "value": 2},
        {"op": "copy", "from": "/a/b", "path": "/c"},
        {"op": "move", "from": "/c", "path": "/d"},
    ]
    assert patches.json_patch(target, operations) == {"a": {"b": [0, 2, 3]}, "x/y": 2, "d": [0, 2, 3]}
    assert target == {"a": {"b": [1, 2]}, "x/y": 1}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/metadata/name", "value": "zz"},
        {"op": "remove", "path": "/data/none"},
        {"op": "zap", "path": "/x"},
        {"op": "replace", "path": "/none", "value": 1},
        {"op": "add", "path": "/spec/containers/9", "value": 1},
        {"op": "add", "path": "nowhere", "value": 1},
        {"op": "add", "path": "/a/b/c", "value": 1},
        {"op": "add"},
    ],
)
def test_a_json_patch_that_does_not_fit_is_unprocessable(operation):
    with pytest.raises(Invalid) as caught:
        patches.json_patch(POD, [operation])
    assert caught.value.message == "the server rejected our request due to an error in our request"


def test_the_copies_of_a_json_patch_cannot_multiply_an_object_without_end():
    doubling = [{"op": "add", "path": "/x", "value": {"a": "b" * 1000}}]
    doubling += [{"op": "copy", "from": "/x", "path": f"/x/k{number}"} for number in range(40)]
    with pytest.raises(Invalid):
        patches.json_patch({}, doubling)


def test_a_json_patch_has_at_most_ten_thousand_operations():
    with pytest.raises(RequestEntityTooLarge):
        patches.json_patch({}, [{"op": "add", "path": "/a", "value": 1}] * 10_001)


def test_lists_merge_by_their_key_and_new_items_come_where_the_patch_has_them():
    patched = strategic(POD, {"spec": {"containers": [{"name": "e", "image": "x"}, {"name": "c", "image": "y"}]}})
    assert [(each["name"], each["image"]) for each in patched["spec"]["containers"]] == [
        ("e", "x"),
        ("c", "y"),
        ("d", "i"),
    ]


def test_an_item_is_deleted_by_directive():
    patched = strategic(POD, {"spec": {"containers": [{"$patch": "delete", "name": "c"}]}})
    assert [each["name"] for each in patched["spec"]["containers"]] == ["d"]


def test_a_list_is_replaced_by_directive():
    patched = strategic(POD, {"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}]}})
    assert patched["spec"]["containers"] == [{"name": "z"}]


def test_set_element_order_sorts_the_merged_list():
    order = [{"name": "d"}, {"name": "c"}]
    patched = strategic(
        POD, {"spec": {"$setElementOrder/containers": order, "containers": [{"name": "c", "image": "z"}]}}
    )
    assert [each["name"] for each in patched["spec"]["containers"]] == ["d", "c"]


@pytest.mark.parametrize(
    ("before", "patch", "order", "after"),
    [
        ("ab", "c", None, "cab"),
        ("ab", "b", None, "ab"),
        ("abc", "cb", None, "acb"),
        ("ab", "c", "c", "cab"),
        ("ab", "c", "bc", "abc"),
        ("ab", "", "b", "ab"),
        ("ab", "", "ba", "ba"),
        ("", "ba", None, "ba"),
    ],
)
def test_items_that_a_patch_does_not_name_keep_their_place_before_those_they_preceded(before, patch, order, after):
    obj = {"metadata": {"finalizers": list(before)}}
    wish = {"$setElementOrder/finalizers": list(order)} if order else {}
    patched = strategic(obj, {"metadata": wish | ({"finalizers": list(patch)} if patch else {})})
    assert "".join(patched["metadata"]["finalizers"]) == after


def test_plain_lists_merge_as_sets_and_lose_values_by_directive():
    obj = {"metadata": {"finalizers": ["a/a", "b/b"]}}
    patched = strategic(obj, {"metadata": {"finalizers": ["c/c", "a/a"]}})
    assert patched["metadata"]["finalizers"] == ["c/c", "a/a", "b/b"]
    patched = strategic(obj, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a/a"]}})
    assert patched["metadata"]["finalizers"] == ["b/b"]


def test_retain_keys_drops_what_it_does_not_name():
    obj = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic(obj, patch, DEPLOYMENTS)["spec"]["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize(
    "patch",
    [
        {"spec": {"containers": [{"image": "x"}]}},
        {"spec": {"$patch": "zap"}},
        {"spec": {"containers": ["x"]}},
        {"metadata": {"$deleteFromPrimitiveList/finalizers": "a"}},
    ],
)
def test_a_strategic_patch_that_makes_no_sense_is_a_bad_request(patch):
    with pytest.raises(BadRequest):
        strategic(POD, patch)


def test_a_patch_that_is_no_json_is_a_bad_request():
    with pytest.raises(BadRequest):
        patches.apply(type_of(PODS), POD, "merge", b"{")
