"""SPDY/3.1 frames."""

from __future__ import annotations

import contextlib
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.agent.server import spdy
from sparsam.agent.server.spdy_dictionary import DICTIONARY

streams = st.integers(0, 2**31 - 1)
words = st.integers(0, 2**32 - 1)
names = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz-:"), min_size=1, max_size=12)
headers = st.dictionaries(names, st.text(st.characters(codec="latin-1"), max_size=20), max_size=5)
frames = st.one_of(
    st.builds(spdy.DataFrame, streams, st.binary(max_size=100), st.booleans()),
    st.builds(spdy.SynStream, streams, headers, st.booleans(), st.booleans(), st.integers(0, 7)),
    st.builds(spdy.SynReply, streams, headers, st.booleans()),
    st.builds(spdy.Headers, streams, headers, st.booleans()),
    st.builds(spdy.RstStream, streams, words),
    st.builds(spdy.Settings, st.dictionaries(st.integers(0, 2**24 - 1), words, max_size=4)),
    st.builds(spdy.Ping, words),
    st.builds(spdy.GoAway, streams, words),
    st.builds(spdy.WindowUpdate, streams, streams),
)


@given(st.lists(frames, max_size=12), st.integers(1, 64))
def test_frames_come_back_as_they_were_sent_however_the_bytes_are_cut(sent: list[spdy.Frame], size: int):
    encoder, decoder = spdy.Encoder(), spdy.Decoder()
    data = b"".join(map(encoder.encode, sent))
    got = [frame for at in range(0, len(data), size) for frame in decoder.feed(data[at : at + size])]
    assert got == sent


@given(st.binary(max_size=200))
def test_garbage_never_raises_anything_but_a_spdy_error(data: bytes):
    with contextlib.suppress(spdy.SpdyError):
        spdy.Decoder().feed(data)


@given(frames, st.integers(0, 400), st.integers(0, 255))
def test_a_damaged_byte_never_raises_anything_but_a_spdy_error(frame: spdy.Frame, at: int, value: int):
    data = bytearray(spdy.Encoder().encode(frame))
    data[at % len(data)] = value
    with contextlib.suppress(spdy.SpdyError):
        spdy.Decoder().feed(bytes(data))


def test_the_dictionary_is_the_one_of_the_protocol():
    # Checksum that every SPDY/3 zlib stream names.
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


def test_a_syn_stream_is_laid_out_as_the_draft_says():
    data = spdy.Encoder().encode(spdy.SynStream(1, {"port": "80"}))
    assert data[:4] == b"\x80\x03\x00\x01"
    assert struct.unpack(">II", data[8:16]) == (1, 0)
    block = zlib.decompressobj(zdict=DICTIONARY).decompress(data[18:])
    assert block == struct.pack(">II4sI2s", 1, 4, b"port", 2, b"80")


def test_unknown_control_frames_are_passed_over():
    unknown = b"\x80\x03\x00\x63\x00\x00\x00\x02xx"
    assert spdy.Decoder().feed(unknown + spdy.Encoder().encode(spdy.Ping(1))) == [spdy.Ping(1)]


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x02\x00\x06\x00\x00\x00\x04\x00\x00\x00\x01",
        b"\x00\x00\x00\x01\x00\xff\xff\xff",
        b"\x80\x03\x00\x03\x00\x00\x00\x02xx",
        b"\x80\x03\x00\x02\x00\x00\x00\x08\x00\x00\x00\x01oops",
    ],
    ids=["another version", "too long", "too short", "not compressed"],
)
def test_what_cannot_go_on_is_an_error(data: bytes):
    with pytest.raises(spdy.SpdyError):
        spdy.Decoder().feed(data)


def test_a_header_block_that_unpacks_to_too_much_is_an_error():
    bomb = spdy.Encoder().encode(spdy.SynReply(1, {"x": "y" * (spdy.MAX_HEADER_BYTES + 1)}))
    with pytest.raises(spdy.SpdyError, match="too long"):
        spdy.Decoder().feed(bomb)
