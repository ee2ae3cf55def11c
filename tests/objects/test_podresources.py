from hypothesis import given
from hypothesis import strategies as st

from sparsam.objects.podresources import added, amounts, largest, of_spec, texts


def container(name="c", cpu=None, limit=None, **more):
    resources = {"requests": {"cpu": cpu}} if cpu else {}
    if limit:
        resources["limits"] = {"cpu": limit}
    return {"name": name, "resources": resources, **more}


def test_init_containers_count_when_they_need_more_than_what_runs_after_them():
    spec = {
        "containers": [container(cpu="1"), container("d", cpu="500m")],
        "initContainers": [container("i", cpu="4"), container("s", cpu="1", restartPolicy="Always")],
    }
    assert texts(of_spec(spec, "requests")) == {"cpu": "4"}
    spec["initContainers"].append(container("j", cpu="4"))
    assert texts(of_spec(spec, "requests")) == {"cpu": "5"}
    spec["initContainers"] = [container("s", cpu="1", restartPolicy="Always")]
    assert texts(of_spec(spec, "requests")) == {"cpu": "2500m"}


def test_the_pods_own_resources_stand_before_its_containers():
    spec = {"containers": [container(cpu="1", limit="2")], "resources": {"requests": {"cpu": "3"}}}
    assert texts(of_spec(spec, "requests")) == {"cpu": "3"}
    assert texts(of_spec(spec, "limits")) == {"cpu": "2"}


def test_overhead_adds_to_requests_and_to_limits_that_there_are():
    spec = {"containers": [container(cpu="1")], "overhead": {"cpu": "100m", "memory": "10Mi"}}
    assert texts(of_spec(spec, "requests", overhead=True)) == {"cpu": "1100m", "memory": "10Mi"}
    assert of_spec(spec, "limits", overhead=True) == {}


def test_a_resize_frees_nothing_before_it_happened():
    spec = {"containers": [container(cpu="1")]}
    running = {"containerStatuses": [{"name": "c", "allocatedResources": {"cpu": "2"}}]}
    assert texts(of_spec(spec, "requests", status=running)) == {"cpu": "2"}
    running = {"containerStatuses": [{"name": "c", "resources": {"requests": {"cpu": "500m"}}}]}
    assert texts(of_spec(spec, "requests", status=running)) == {"cpu": "1"}


millis = st.dictionaries(st.sampled_from(["cpu", "memory"]), st.integers(0, 5000).map("{}m".format))


@given(millis, millis)
def test_sums_are_never_smaller_than_the_larger(first, second):
    one, two = amounts(first), amounts(second)
    total, most = added(one, two), largest(one, two)
    assert total.keys() == most.keys()
    assert all(total[name].value >= most[name].value for name in total)
    assert added(two, one).keys() == total.keys()
