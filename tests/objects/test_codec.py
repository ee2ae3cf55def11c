import json

from hypothesis import given
from hypothesis import strategies as st

from sparsam.objects import codec
from sparsam.objects.kinds import DEPLOYMENTS
from tests.support.objects import json_objects

bodies = st.builds(
    lambda metadata, rest: {**rest, "kind": "Deployment", "apiVersion": "apps/v1", "metadata": metadata},
    json_objects,
    json_objects,
)


@given(bodies, st.integers(1, 10**12))
def test_an_object_comes_back_as_it_was_with_its_revision(obj, revision):
    value = codec.encode(obj)
    wished = obj | {"metadata": obj["metadata"] | {"resourceVersion": str(revision)}}
    assert codec.decode_stored(value, revision, DEPLOYMENTS) == wished
    assert json.loads(codec.wire(value, revision, DEPLOYMENTS)) == wished


@given(bodies)
def test_stored_bytes_begin_with_metadata_and_do_not_depend_on_order_or_version(obj):
    value = codec.encode(obj)
    assert value.startswith(b'{"metadata":{')
    turned = dict(reversed(obj.items()))
    assert codec.encode(turned | {"metadata": obj["metadata"] | {"resourceVersion": "9"}}) == value


def test_list_items_carry_no_kind():
    value = codec.encode({"kind": "X", "apiVersion": "v1", "metadata": {}, "data": {}})
    assert codec.wire(value, 7) == b'{"metadata":{"resourceVersion":"7"},"data":{}}'
