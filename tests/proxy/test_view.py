from hypothesis import given
from hypothesis import strategies as st

from sparsam.proxy.view import View
from tests.support.proxy import endpoint_slice, service

WEB = ("default", "web")


def test_a_slice_before_its_service_is_kept_for_it():
    view = View()
    view.put_slice(endpoint_slice("10.244.1.1"))
    assert view.get(WEB)[0] is None
    view.put_service(service())
    assert view.take_changed() == {WEB}
    assert len(view.get(WEB)[1]) == 1


def test_a_slice_that_changes_its_service_marks_both():
    view = View()
    view.put_slice(endpoint_slice("10.244.1.1"))
    view.take_changed()
    view.put_slice(endpoint_slice("10.244.1.1", of="db"))
    assert view.take_changed() == {WEB, ("default", "db")}
    assert view.get(WEB)[1] == []


def test_a_slice_of_no_service_is_ignored():
    view = View()
    orphan = endpoint_slice("10.244.1.1")
    del orphan["metadata"]["labels"]
    view.put_slice(orphan)
    view.drop_slice(orphan)
    assert view.take_changed() == set()


def test_dropping_what_is_unknown_changes_nothing():
    view = View()
    view.drop_service(service())
    view.drop_slice(endpoint_slice())
    assert view.take_changed() == set()


@given(st.lists(st.tuples(st.sampled_from(["s1", "s2"]), st.sampled_from(["web", "db"]), st.booleans()), max_size=10))
def test_each_service_has_exactly_the_slices_that_name_it(steps):
    view, model = View(), {}
    for name, owner, kept in steps:
        made = endpoint_slice("10.244.1.1", name=name, of=owner)
        if kept:
            view.put_slice(made)
            model[name] = made
        else:
            view.drop_slice(made)
            model.pop(name, None)
    for owner in ("web", "db"):
        wanted = [
            model[name]
            for name in sorted(model)
            if model[name]["metadata"]["labels"]["kubernetes.io/service-name"] == owner
        ]
        assert view.get(("default", owner))[1] == wanted
