import contextlib

import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.proxy.dns import (
    EDNS_SIZE,
    TCP_SIZE,
    Answer,
    Authority,
    Code,
    Location,
    MalformedMessage,
    Record,
    Type,
    encode_answer,
    encode_error,
    encode_query,
    parse_addresses,
    parse_name,
    parse_query,
    size_limit,
)

labels = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789-_"), min_size=1, max_size=20)
names = st.lists(labels, min_size=1, max_size=6).map(tuple)
addresses = st.ip_addresses(v=4).map(str)
ports = st.integers(0, 65535)
records = st.one_of(
    st.builds(Record, names, st.just(Type.A), addresses),
    st.builds(Record, names, st.just(Type.AAAA), st.ip_addresses(v=6).map(str)),
    st.builds(Record, names, st.sampled_from([Type.CNAME, Type.NS, Type.PTR]), names),
    st.builds(Record, names, st.just(Type.SRV), st.builds(Location, ports, names, ports, ports)),
    st.builds(Record, names, st.just(Type.SOA), st.builds(Authority, names, names, st.integers(0, 2**32 - 1))),
    st.builds(Record, names, st.just(Type.TXT), labels),
)


def ask(name="web.default.svc.cluster.local", kind="A", **edns):
    question = dnslib.DNSRecord.question(name, kind)
    if edns:
        question.add_ar(dnslib.EDNS0(**edns))
    return question.pack()


def plain(record):
    match record.data:
        case Location(port, target, weight, priority):
            data = f"{priority} {weight} {port} {'.'.join(target)}."
        case Authority(server, mailbox, serial):
            data = f"{'.'.join(server)}. {'.'.join(mailbox)}. {serial} 7200 1800 86400 {record.ttl}"
        case tuple(name):
            data = ".".join(name) + "."
        case text:
            data = text if record.type in (Type.A, Type.AAAA) else f'"{text}"'
    return (".".join(record.name) + ".", record.type.value, data, record.ttl)


@given(names, st.lists(records, max_size=8), st.lists(records, max_size=3), st.integers(0, 65535))
def test_a_message_reads_back_in_another_implementation(name, answers, authority, identifier):
    raw = encode_query(identifier, name, Type.A)
    message = encode_answer(parse_query(raw), Answer(Code.NO_ERROR, tuple(answers), tuple(authority)), limit=TCP_SIZE)
    read = dnslib.DNSRecord.parse(message)
    assert (read.header.id, read.header.qr, read.header.aa, read.header.ra, read.header.tc) == (identifier, 1, 1, 1, 0)
    assert [(str(rr.rname), rr.rtype, str(rr.rdata), rr.ttl) for rr in read.rr] == [plain(each) for each in answers]
    assert [(str(rr.rname), rr.rtype, str(rr.rdata), rr.ttl) for rr in read.auth] == [plain(each) for each in authority]


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(raw):
    try:
        parse_query(raw)
    except MalformedMessage:
        assert len(encode_error(raw, Code.FORMAT_ERROR)) in (0, 12)


@given(st.binary(max_size=60), st.integers(0, 3))
def test_any_answer_of_a_resolver_is_read_or_refused(tail, count):
    head = bytes([0, 0, 0x80, 0, 0, 0, 0, count, 0, 0, 0, 0])
    with contextlib.suppress(MalformedMessage):
        parse_addresses(head + tail)


def test_the_question_comes_back_as_it_was_asked():
    query = parse_query(ask("WeB.Default.svc.cluster.LOCAL"))
    assert query.name == parse_name("web.default.svc.cluster.local")
    message = encode_answer(query, Answer(answers=(Record(query.name, Type.A, "10.96.0.5"),)), limit=512)
    read = dnslib.DNSRecord.parse(message)
    assert read.q.qname.label[0] == b"WeB"
    assert len(message) == 12 + len(query.question) + 2 + 10 + 4


def test_edns_is_answered_in_kind_and_bounds_the_size():
    assert size_limit(parse_query(ask())) == 512
    assert size_limit(parse_query(ask(udp_len=900))) == 900
    assert size_limit(parse_query(ask(udp_len=100))) == 512
    assert size_limit(parse_query(ask(udp_len=4096))) == EDNS_SIZE
    read = dnslib.DNSRecord.parse(encode_answer(parse_query(ask(udp_len=900)), Answer(), limit=900))
    assert [(rr.rtype, rr.edns_len) for rr in read.ar] == [(Type.OPT, EDNS_SIZE)]


@pytest.mark.parametrize("limit", [512, 900])
def test_what_does_not_fit_is_left_out_and_said(limit):
    query = parse_query(ask(udp_len=900) if limit == 900 else ask())
    answers = tuple(Record(query.name, Type.A, f"10.244.0.{n}") for n in range(100))
    message = encode_answer(query, Answer(answers=answers), limit=limit)
    read = dnslib.DNSRecord.parse(message)
    assert len(message) <= limit < len(message) + 16
    assert read.header.tc == 1
    assert 0 < len(read.rr) < 100


def test_additional_records_may_be_missing_without_a_word():
    query = parse_query(ask())
    extra = tuple(Record((f"host-{n}",), Type.A, "10.244.0.1") for n in range(100))
    read = dnslib.DNSRecord.parse(encode_answer(query, Answer(additional=extra), limit=512))
    assert read.header.tc == 0
    assert 0 < len(read.ar) < 100


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"\0\1\0\0\0\1", Code.FORMAT_ERROR),
        (b"\0\1\0\0\0\2\0\0\0\0\0\0", Code.FORMAT_ERROR),
        (b"\0\1\x28\0\0\1\0\0\0\0\0\0\0\0\1\0\1", Code.NOT_IMPLEMENTED),
        (b"\0\1\0\0\0\1\0\0\0\0\0\0\1a\0\0\1\0\3", Code.REFUSED),
        (b"\0\1\0\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1", Code.FORMAT_ERROR),
        (b"\0\1\0\0\0\1\0\0\0\0\0\0\x05ab", Code.FORMAT_ERROR),
        (b"\0\1\0\0\0\1\0\0\0\0\0\0\1a\0\0", Code.FORMAT_ERROR),
    ],
    ids=["short", "two questions", "opcode", "class", "pointer loop", "cut label", "cut question"],
)
def test_bad_queries_get_their_code(raw, code):
    with pytest.raises(MalformedMessage) as caught:
        parse_query(raw)
    assert caught.value.code == code


def test_an_answer_is_never_answered():
    assert encode_error(b"\0\1\x80\0" + bytes(8), Code.FORMAT_ERROR) == b""


def test_a_resolvers_aliases_and_addresses_are_read():
    answer = dnslib.DNSRecord.question("a.example").reply()
    answer.add_answer(*dnslib.RR.fromZone("a.example 60 CNAME b.example\nb.example 30 A 192.0.2.7"))
    assert parse_addresses(bytes(answer.pack())) == (
        Record(("a", "example"), Type.CNAME, ("b", "example"), 60),
        Record(("b", "example"), Type.A, "192.0.2.7", 30),
    )
