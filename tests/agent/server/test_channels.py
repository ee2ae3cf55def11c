"""The channel sub-protocols of exec and attach."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.agent.server import channels
from sparsam.agent.server.channels import V1, V4, V5, Closed, Data, Resized


@given(st.sampled_from([0, 1, 2, 3]), st.binary(max_size=50), st.sampled_from([V4, V5]))
def test_data_comes_back_as_it_was_sent(channel: int, payload: bytes, protocol: str):
    assert channels.decode(channels.encode(channel, payload), protocol) == Data(channel, payload)


@given(st.binary(max_size=30), st.sampled_from([V4, V5]))
def test_no_message_breaks_the_reader(message: bytes, protocol: str):
    channels.decode(message, protocol)


def test_only_v5_closes_a_channel():
    assert channels.decode(b"\xff\x00", V5) == Closed(0)
    assert channels.decode(b"\xff\x00", V4) == Data(255, b"\x00")


@pytest.mark.parametrize(
    ("payload", "event"),
    [
        (b'{"Width":80,"Height":24}', Resized(80, 24)),
        (b'{"Width":0,"Height":24}', None),
        (b'{"Width":70000,"Height":24}', None),
        (b'{"Width":"80"}', None),
        (b"nonsense", None),
    ],
)
def test_sizes_are_read_and_impossible_ones_ignored(payload: bytes, event: Resized | None):
    assert channels.decode(b"\x04" + payload, V5) == event


def test_the_best_protocol_on_offer_is_chosen():
    assert channels.choose([V4, V5]) == V5
    assert channels.choose([V1, V4]) == V4
    assert channels.choose([V1]) == V1
    assert channels.choose(["v3.channel.k8s.io"]) is None


def test_v1_says_nothing_of_success_and_a_sentence_of_failure():
    fine, failed = channels.exit_status(0, ["true"]), channels.failure("no such thing")
    assert channels.last_word(fine, V1) is None
    assert channels.last_word(failed, V1) == b"\x03Internal error occurred: no such thing"
    for protocol in (V4, V5):
        assert channels.last_word(fine, protocol) == b'\x03{"metadata":{},"status":"Success"}'


def test_an_engines_last_word_is_put_in_the_clients_protocol():
    fine = b'\x03{"metadata":{},"status":"Success"}'
    assert channels.from_engine(fine, V4) == fine
    assert channels.from_engine(fine, V1) is None
    assert channels.from_engine(b'\x03{"status":"Failure","message":"gone"}', V1) == b"\x03gone"
    for message in (b"", b"\x03", b"\x01out"):
        assert channels.from_engine(message, V1) == message


def test_an_exit_code_is_told_as_kubectl_reads_it():
    assert channels.exit_status(0, ["true"]) == {"metadata": {}, "status": "Success"}
    status = channels.exit_status(3, ["sh", "-c", "exit 3"])
    assert status["reason"] == "NonZeroExitCode"
    assert status["details"] == {"causes": [{"reason": "ExitCode", "message": "3"}]}
    text = "command terminated with non-zero exit code: error executing command [sh -c exit 3], exit code 3"
    assert status["message"] == text
