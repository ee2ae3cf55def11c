"""Protocol buffers' wire format."""

from __future__ import annotations

import contextlib

import pytest
from cri_api.v1 import api_pb2 as pb
from hypothesis import given
from hypothesis import strategies as st

from sparsam.agent.server.protowire import content, decode, encode, number

values = st.one_of(st.integers(1, 2**63 - 1), st.binary(min_size=1, max_size=200))


@given(st.dictionaries(st.integers(1, 5000), values, max_size=8))
def test_a_message_comes_back_as_it_was_written(message: dict[int, int | bytes]):
    assert decode(encode(message)) == message


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
    with pytest.raises(ValueError, match="cut short"):
        decode(encode({1: "abc"})[:-1])
