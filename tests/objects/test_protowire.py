"""Protocol buffers' wire format."""

from __future__ import annotations

import contextlib

import pytest
from cri_api.v1 import api_pb2 as pb
from hypothesis import given
from hypothesis import strategies as st

from sparsam.objects.protowire import content, decode, encode, field, fields, number

values = st.one_of(st.integers(1, 2**63 - 1), st.binary(min_size=1, max_size=200))


@given(st.dictionaries(st.integers(1, 5000), values, max_size=8))
def test_a_message_comes_back_as_it_was_written(message: dict[int, int | bytes]):
    assert decode(encode(message)) == message


@given(st.lists(st.tuples(st.integers(1, 15), st.binary(max_size=300)), max_size=8))
def test_fields_come_in_their_order_and_as_often_as_they_were_written(entries: list[tuple[int, bytes]]):
    assert list(fields(b"".join(field(*entry) for entry in entries))) == entries


@given(st.binary(max_size=60))
def test_broken_messages_are_refused_with_a_value_error(data: bytes):
    with contextlib.suppress(ValueError):
        decode(data)


def test_it_is_what_the_real_library_writes():
    message = pb.ExecSyncRequest(container_id="abc", cmd=["ls"], timeout=300)
    assert encode({1: "abc", 2: "ls", 3: 300}) == message.SerializeToString()


def test_absent_fields_read_as_zero_and_zero_is_left_out():
    assert encode({1: "", 2: 0, 3: False, 4: None}) == b""
    assert (number({}, 1), content({}, 1)) == (0, b"")


def test_a_message_that_is_cut_short_is_refused():
    with pytest.raises(ValueError, match="unexpected EOF"):
        decode(encode({1: "abc"})[:-1])
