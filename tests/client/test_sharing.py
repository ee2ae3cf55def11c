from hypothesis import given
from hypothesis import strategies as st

from sparsam.client.sharing import Pool

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=200),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.text(max_size=5), parts, max_size=4),
    max_leaves=20,
)
OBJECTS = st.lists(st.dictionaries(st.text(max_size=5), JSON, max_size=4), max_size=8)


def typed(value):
    """The value with its types: 1, 1.0 and True are equal in Python but not in JSON."""
    if isinstance(value, dict):
        return {key: typed(part) for key, part in value.items()}
    if isinstance(value, list):
        return [typed(part) for part in value]
    return type(value), value


@given(OBJECTS, st.integers(1, 50))
def test_what_comes_out_is_what_went_in_however_small_the_pool(objects, limit):
    pool = Pool(limit)
    shared = [pool.share(obj) for obj in objects]
    assert [typed(each) for each in shared] == [typed(each) for each in objects]


def test_equal_parts_become_one_object():
    pool = Pool()
    one = pool.share({"spec": {"containers": [{"image": "i" * 10, "n": 1}]}, "name": "a"})
    two = pool.share({"spec": {"containers": [{"image": "i" * 10, "n": 1}]}, "name": "b"})
    assert one["spec"] is two["spec"]
    assert one["name"] != two["name"]


def test_values_that_python_takes_for_equal_stay_apart():
    pool = Pool()
    shared = [pool.share({"x": [value]})["x"][0] for value in (1, True, 1.0)]
    assert [type(value) for value in shared] == [int, bool, float]


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=4), st.dictionaries(st.text(max_size=3), JSON, max_size=4))
def test_a_newer_version_is_what_came_in(old, new):
    pool = Pool(20)
    assert pool.succeed(new, pool.share(old)) == new


def test_a_newer_version_keeps_the_parts_that_have_not_changed():
    pool = Pool()
    old = pool.share({"spec": {"containers": [{"image": "i"}], "nodeName": ""}, "status": {"phase": "Pending"}})
    new = pool.succeed(
        {"spec": {"containers": [{"image": "i"}], "nodeName": "n"}, "status": {"phase": "Running", "ips": ["a"]}}, old
    )
    assert new["spec"]["containers"] is old["spec"]["containers"]
    assert new["spec"]["nodeName"] == "n"
    assert new["status"] == {"phase": "Running", "ips": ["a"]}
    assert new["status"]["ips"] is pool.share({"ips": ["a"]})["ips"]
