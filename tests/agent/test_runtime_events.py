"""Reading containerd's events."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.agent.runtime_events import Notice, encode_field, fields, parse_envelope


def envelope(topic: str, container_id: str, exec_id: str = "") -> bytes:
    payload = encode_field(1, container_id.encode()) + (encode_field(2, exec_id.encode()) if exec_id else b"")
    return encode_field(2, b"k8s.io") + encode_field(3, topic.encode()) + encode_field(4, encode_field(2, payload))


def test_the_end_of_a_container_is_noticed_and_of_a_command_in_it_is_not():
    assert parse_envelope(envelope("/tasks/exit", "c1", "c1")) == Notice(container_id="c1")
    assert parse_envelope(envelope("/tasks/exit", "c1", "some-exec")) is None
    assert parse_envelope(envelope("/tasks/oom", "c1")) == Notice(container_id="c1", oom=True)


@given(st.lists(st.tuples(st.integers(1, 15), st.binary(max_size=127))))
def test_fields_are_read_as_written(entries: list[tuple[int, bytes]]):
    assert list(fields(b"".join(encode_field(*entry) for entry in entries))) == entries


@given(st.binary(max_size=60))
def test_broken_messages_never_read_beyond_their_end(raw: bytes):
    try:
        list(fields(raw))
    except ValueError:
        return


def test_a_cut_message_is_refused():
    with pytest.raises(ValueError, match="ends in the middle"):
        list(fields(encode_field(1, b"whole")[:-1]))
