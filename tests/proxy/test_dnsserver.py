import asyncio
import contextlib
import struct

import dnslib
import pytest

from sparsam.proxy.dnsserver import DnsServer
from sparsam.proxy.resolver import Resolver, read_resolv_conf
from sparsam.proxy.zone import Zone, compile_records
from tests.support.apiserver import free_port
from tests.support.proxy import endpoint_slice, service


class Upstream(asyncio.DatagramProtocol):
    """A resolver of the outside world that knows one name."""

    def __init__(self):
        self.asked = []
        self.silent = False

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, addr):
        request = dnslib.DNSRecord.parse(data)
        self.asked.append(str(request.q.qname))
        if self.silent:
            return
        reply = request.reply()
        reply.add_answer(*dnslib.RR.fromZone(f"{request.q.qname} 60 A 192.0.2.7"))
        forged = request.reply()
        forged.header.id = request.header.id ^ 1
        self.transport.sendto(forged.pack(), addr)
        self.transport.sendto(reply.pack(), addr)


@contextlib.asynccontextmanager
async def running(**resolver):
    loop = asyncio.get_running_loop()
    transport, upstream = await loop.create_datagram_endpoint(Upstream, local_addr=("127.0.0.1", 0))
    zone = Zone("cluster.local", "10.96.0.10")
    zone.complete = True
    for made, slices in [
        (service(), []),
        (service("big", ip="None"), [endpoint_slice(*(f"10.244.1.{n}" for n in range(100)), of="big")]),
        (service("out", ip="", ports=[], type="ExternalName", externalName="www.example.org"), []),
        (service("in", ip="", ports=[], type="ExternalName", externalName="web.default.svc.cluster.local"), []),
        (service("loop", ip="", ports=[], type="ExternalName", externalName="loop.default.svc.cluster.local"), []),
    ]:
        zone.replace("default", made["metadata"]["name"], compile_records(made, slices))
    servers = [transport.get_extra_info("sockname")]
    try:
        async with DnsServer(zone, Resolver(servers, **resolver), address="127.0.0.1", port=free_port()) as server:
            yield server, upstream
    finally:
        transport.close()


class Client(asyncio.DatagramProtocol):
    def __init__(self, answer):
        self.answer = answer

    def datagram_received(self, data, addr):
        self.answer.set_result(data)


async def ask(server, name, kind="A", raw=None):
    loop = asyncio.get_running_loop()
    answer = loop.create_future()
    transport, _ = await loop.create_datagram_endpoint(lambda: Client(answer), remote_addr=("127.0.0.1", server.port))
    try:
        transport.sendto(raw or dnslib.DNSRecord.question(name, kind).pack())
        async with asyncio.timeout(5):
            return dnslib.DNSRecord.parse(await answer)
    finally:
        transport.close()


async def ask_tcp(server, name):
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    message = dnslib.DNSRecord.question(name).pack()
    writer.write(struct.pack("!H", len(message)) + message)
    (size,) = struct.unpack("!H", await reader.readexactly(2))
    answer = dnslib.DNSRecord.parse(await reader.readexactly(size))
    writer.close()
    await writer.wait_closed()
    return answer


def addresses(answer):
    return [str(each.rdata) for each in answer.rr if each.rtype == dnslib.QTYPE.A]


async def test_names_of_the_cluster_are_answered_here():
    async with running() as (server, upstream):
        answer = await ask(server, "web.default.svc.cluster.local")
        assert addresses(answer) == ["10.96.0.5"]
        assert answer.header.aa == 1
        missing = await ask(server, "nope.default.svc.cluster.local")
        assert missing.header.rcode == dnslib.RCODE.NXDOMAIN
        assert upstream.asked == []


async def test_other_names_are_asked_elsewhere_and_forged_answers_ignored():
    async with running() as (server, upstream):
        answer = await ask(server, "www.example.org")
        assert addresses(answer) == ["192.0.2.7"]
        assert upstream.asked == ["www.example.org."]


async def test_silence_elsewhere_is_a_server_failure():
    async with running(timeout=0.02) as (server, upstream):
        upstream.silent = True
        answer = await ask(server, "www.example.org")
        assert answer.header.rcode == dnslib.RCODE.SERVFAIL
        assert len(upstream.asked) == 2


async def test_long_answers_are_cut_over_udp_and_whole_over_tcp():
    async with running() as (server, _):
        cut = await ask(server, "big.default.svc.cluster.local")
        assert cut.header.tc == 1
        whole = await ask_tcp(server, "big.default.svc.cluster.local")
        assert len(addresses(whole)) == 100
        assert whole.header.tc == 0


async def test_an_alias_comes_with_the_addresses_behind_it():
    async with running() as (server, _):
        assert addresses(await ask(server, "out.default.svc.cluster.local")) == ["192.0.2.7"]
        assert addresses(await ask(server, "in.default.svc.cluster.local")) == ["10.96.0.5"]


async def test_an_alias_of_itself_ends():
    async with running() as (server, _):
        assert addresses(await ask(server, "loop.default.svc.cluster.local")) == []


async def test_many_questions_at_once_are_bounded_and_all_answered():
    async with running(concurrency=5) as (server, upstream):
        answers = await asyncio.gather(*(ask(server, f"n{number}.example") for number in range(50)))
        assert all(addresses(each) == ["192.0.2.7"] for each in answers)
        assert len(upstream.asked) == 50


async def test_garbage_gets_a_format_error_and_the_server_lives_on():
    async with running() as (server, _):
        assert (await ask(server, "", raw=b"\0\1\1\0\0\2" + bytes(6))).header.rcode == dnslib.RCODE.FORMERR
        assert addresses(await ask(server, "web.default.svc.cluster.local")) == ["10.96.0.5"]


async def test_a_port_in_use_is_reported():
    async with running() as (server, _):
        with pytest.raises(OSError):
            async with DnsServer(server.zone, server.resolver, address="127.0.0.1", port=server.port):
                pass


def test_resolvers_come_from_resolv_conf_without_the_clusters_own(tmp_path):
    path = tmp_path / "resolv.conf"
    path.write_text(
        "# comment\nnameserver fe80::1%eth0\nnameserver 10.96.0.10\nnameserver 192.0.2.53\nnameserver ::1\nnameserver\n"
    )
    assert read_resolv_conf(path, without="10.96.0.10") == (("192.0.2.53", 53), ("::1", 53), ("fe80::1%eth0", 53))
    assert read_resolv_conf(tmp_path / "none", without="") == ()
