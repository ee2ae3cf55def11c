"""Real packets through the real kernel, in network namespaces that vanish with the test."""

import asyncio
import socket
import struct
import threading
from pathlib import Path

import dnslib
import pytest

from sparsam.proxy.conntrack import forget_udp
from sparsam.proxy.dnslink import ensure_dns_link, remove_dns_link
from sparsam.proxy.dnsserver import DnsServer
from sparsam.proxy.nftables import Library, NftablesError, Program, delete_table, has_table
from sparsam.proxy.resolver import Resolver
from sparsam.proxy.ruleset import Ruleset
from sparsam.proxy.services import EMPTY, compile_service
from sparsam.proxy.zone import Zone, compile_records
from tests.support.netns import namespaces, needs_ipv6, talk
from tests.support.proxy import NETWORK, NETWORK6, comparable, endpoint, endpoint_slice, has_nft, service

pytestmark = [
    pytest.mark.needs_root,
    pytest.mark.needs_nft,
    pytest.mark.skipif(not has_nft(), reason="nftables needs root and a kernel that has it"),
]
KEY = ("default", "web")
CLUSTER_IP, NODE_IP, CLIENT_IP, A, B = "10.96.0.5", "192.0.2.10", "192.0.2.2", "10.244.1.2", "10.244.1.3"
PORTS = [{"name": "http", "port": 80, "protocol": "TCP", "nodePort": 30080}]


class World:
    """A node with two pods on a bridge, and a client outside that knows no way to pods."""

    def __init__(self, node, a, b, client):
        self.node, self.a, self.b, self.client = node, a, b, client
        self.ruleset = Ruleset(NETWORK)
        node.sysctl("net/ipv4/ip_forward", "1")
        node.ip("link add spc0 type bridge")
        node.ip("addr add 10.244.1.1/24 dev spc0")
        node.ip("link set spc0 up")
        node.sysctl("net/bridge/bridge-nf-call-iptables", "1")
        for number, (pod, ip) in enumerate(((a, A), (b, B))):
            node.ip(f"link add v{number} type veth peer name eth0 netns {pod.pid}")
            node.ip(f"link set v{number} master spc0 up")
            node.ip(f"link set v{number} type bridge_slave hairpin on")
            pod.ip(f"addr add {ip}/24 dev eth0")
            pod.ip("link set eth0 up")
            pod.ip("route add default via 10.244.1.1")
            pod.serve(f"pod-{ip}", ip, 8080)
        node.ip(f"link add eth0 type veth peer name eth0 netns {client.pid}")
        node.ip(f"addr add {NODE_IP}/24 dev eth0")
        node.ip("link set eth0 up")
        client.ip(f"addr add {CLIENT_IP}/24 dev eth0")
        client.ip("link set eth0 up")
        client.serve("outside", CLIENT_IP, 9000)
        node.call(lambda: ensure_dns_link("spd0", "10.96.0.10", {"10.96.0.0/16": NODE_IP}))
        self.nft = Library()
        node.call(lambda: self.nft.run(self.ruleset.render("sparsam")))

    def program(self, *endpoints, **spec):
        made = service(ports=PORTS, type="NodePort", **spec)
        self.change(compile_service(made, [endpoint_slice(*endpoints)], NETWORK))

    def change(self, fragment):
        text = self.ruleset.replace({KEY: fragment}).render("sparsam")
        self.node.call(lambda: self.nft.run(text))


@pytest.fixture
def world():
    with namespaces(4) as made:
        yield World(*made)


def test_pods_the_node_and_clients_outside_reach_the_endpoints(world):
    world.program(A, B)
    names = {f"pod-{A}", f"pod-{B}"}
    seen = [world.a.ask(CLUSTER_IP, 80) for _ in range(12)]
    assert {name for name, _ in seen} == names
    assert {peer for name, peer in seen if name == f"pod-{B}"} == {A}
    assert {world.node.ask(CLUSTER_IP, 80)[0] for _ in range(12)} == names
    assert {world.node.ask(NODE_IP, 30080)[0] for _ in range(12)} == names
    assert {world.client.ask(NODE_IP, 30080)[0] for _ in range(12)} == names


def test_a_pod_reaches_itself_through_its_service(world):
    world.program(A)
    name, peer = world.a.ask(CLUSTER_IP, 80)
    assert name == f"pod-{A}"
    assert peer != A


def test_nobody_there_is_told_at_once(world):
    world.program()
    for who, ip, port in [
        (world.a, CLUSTER_IP, 80),
        (world.node, CLUSTER_IP, 80),
        (world.a, CLUSTER_IP, 99),
        (world.node, "10.96.9.9", 80),
        (world.client, NODE_IP, 30080),
    ]:
        with pytest.raises(ConnectionRefusedError):
            who.ask(ip, port)


def test_pods_leave_the_cluster_with_the_address_of_the_node(world):
    assert world.a.ask(CLIENT_IP, 9000) == ("outside", NODE_IP)
    assert world.a.ask(B, 8080) == (f"pod-{B}", A)


def test_a_client_with_affinity_stays(world):
    world.program(A, B, sessionAffinity="ClientIP")
    (first,) = {world.client.ask(NODE_IP, 30080)[0] for _ in range(10)}
    # Others come and go: it stays. Its own goes: it moves, and stays there when that one comes back.
    mine, other = (A, B) if first == f"pod-{A}" else (B, A)
    world.program(mine, sessionAffinity="ClientIP")
    world.program(A, B, sessionAffinity="ClientIP")
    assert {world.client.ask(NODE_IP, 30080)[0] for _ in range(8)} == {first}
    world.program(other, sessionAffinity="ClientIP")
    assert {world.client.ask(NODE_IP, 30080)[0] for _ in range(3)} == {f"pod-{other}"}
    world.program(A, B, sessionAffinity="ClientIP")
    assert {world.client.ask(NODE_IP, 30080)[0] for _ in range(8)} == {f"pod-{other}"}


def test_local_policy_shows_the_client_to_the_pod(world):
    world.program(A, endpoint("10.244.2.9", node="n2"), externalTrafficPolicy="Local")
    world.client.ip(f"route add 10.244.0.0/16 via {NODE_IP}")
    assert {world.client.ask(NODE_IP, 30080) for _ in range(6)} == {(f"pod-{A}", CLIENT_IP)}


def test_a_rolling_change_loses_no_request_and_keeps_connections(world):
    world.program(A)
    failures, done, stop = [], [], threading.Event()

    def load():
        while not stop.is_set():
            try:
                with socket.create_connection((CLUSTER_IP, 80), timeout=5) as connection:
                    done.append(talk(connection)[0])
            except OSError as error:
                failures.append(error)

    with world.node.connect(CLUSTER_IP, 80) as old:
        assert talk(old)[0] == f"pod-{A}"
        loader = threading.Thread(target=lambda: world.node.call(load))
        loader.start()
        for _ in range(10):
            world.program(A, B)
            world.program(B)
            world.program(A, B)
            world.program(A)
        world.program(B)
        stop.set()
        loader.join()
        assert talk(old)[0] == f"pod-{A}"
    assert failures == []
    assert len(done) > 0
    assert world.node.ask(CLUSTER_IP, 80)[0] == f"pod-{B}"


def test_a_udp_client_moves_on_when_its_endpoint_is_gone(world):
    port = [{"name": "u", "port": 80, "protocol": "UDP"}]
    target = [{"name": "u", "port": 8080, "protocol": "UDP"}]

    def program(*endpoints):
        made = compile_service(service(ports=port), [endpoint_slice(*endpoints, ports=target)], NETWORK)
        change = world.ruleset.replace({KEY: made})
        world.node.call(lambda: world.nft.run(change.render("sparsam")))
        return change.gone_udp_targets

    def receiver(ip):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((ip, 8080))
        sock.settimeout(5)
        return sock

    first, second = world.a.call(lambda: receiver(A)), world.b.call(lambda: receiver(B))
    client = world.node.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with first, second, client:
        program(A)
        client.sendto(b"one", (CLUSTER_IP, 80))
        assert first.recv(10) == b"one"
        gone = program(B)
        assert gone == {(A, 8080)}
        assert world.node.call(lambda: forget_udp(gone)) == 1
        assert world.node.call(lambda: forget_udp(gone)) == 0
        client.sendto(b"two", (CLUSTER_IP, 80))
        assert second.recv(10) == b"two"


@pytest.mark.skipif(
    not Path("/proc/sys/net/netfilter/nf_conntrack_sctp_timeout_closed").exists(), reason="the kernel tracks no SCTP"
)
def test_sctp_is_redirected_too(world):
    made = service(ports=[{"name": "s", "port": 80, "protocol": "SCTP"}])
    target = [{"name": "s", "port": 8080, "protocol": "SCTP"}]
    world.change(compile_service(made, [endpoint_slice(A, ports=target)], NETWORK))
    # An INIT, by hand: the kernel need not have sockets for it. Its checksum is CRC32c, which zlib does not have.
    head, checksum = struct.pack("!HHI", 4000, 80, 0), 0xBF333985
    init = head + struct.pack("<I", checksum) + struct.pack("!BBHIIHHI", 1, 0, 20, 1, 65536, 1, 1, 1)

    def raw():
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_SCTP)
        sock.settimeout(5)
        return sock

    with world.a.call(raw) as receiver, world.b.call(raw) as sender:
        sender.sendto(init, (CLUSTER_IP, 0))
        ip_header_bytes = 20
        assert struct.unpack_from("!HH", receiver.recv(200), ip_header_bytes) == (4000, 8080)


def test_dns_is_served_to_pods_and_the_node(world):
    zone = Zone("cluster.local", "10.96.0.10")
    zone.complete = True
    zone.replace(*KEY, compile_records(service(), []))
    started, stop = threading.Event(), threading.Event()

    async def serve():
        async with DnsServer(zone, Resolver(()), address="10.96.0.10"):
            started.set()
            while not stop.is_set():
                await asyncio.sleep(0.01)

    thread = threading.Thread(target=lambda: world.node.call(lambda: asyncio.run(serve())))
    thread.start()
    try:
        assert started.wait(10)
        question = dnslib.DNSRecord.question("web.default.svc.cluster.local").pack()

        def ask():
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(5)
                sock.connect(("10.96.0.10", 53))
                sock.send(question)
                return str(dnslib.DNSRecord.parse(sock.recv(512)).rr[0].rdata)

        assert world.a.call(ask) == CLUSTER_IP
        assert world.node.call(ask) == CLUSTER_IP
    finally:
        stop.set()
        thread.join()


def test_the_kernel_holds_the_same_after_steps_as_after_a_whole_build(world):
    for endpoints, spec in [
        ((A,), {}),
        ((A, B), {"sessionAffinity": "ClientIP"}),
        ((A,), {"sessionAffinity": "ClientIP"}),
        ((), {}),
        ((B, A), {"externalTrafficPolicy": "Local", "externalIPs": ["203.0.113.8"]}),
    ]:
        world.program(*endpoints, **spec)
        stepwise = world.node.run("nft", "list", "table", "ip", "sparsam")
        world.node.call(lambda: world.nft.run(world.ruleset.render("sparsam")))
        assert comparable(world.node.run("nft", "list", "table", "ip", "sparsam")) == comparable(stepwise)
    world.change(EMPTY)
    assert "default/web" not in world.node.run("nft", "list", "table", "ip", "sparsam")


def test_the_library_and_the_program_do_the_same_and_leave_other_tables_alone(world):
    world.node.run("nft", "add table ip other; add chain ip other keep")
    text = world.ruleset.render("sparsam")
    for nft in (Library(), Program()):
        world.node.call(lambda nft=nft: nft.run(text))
        assert world.node.call(lambda nft=nft: has_table(nft, "ip sparsam"))
        with pytest.raises(NftablesError):
            world.node.call(lambda nft=nft: nft.run("add rule ip sparsam nowhere drop\n"))
        world.node.call(lambda nft=nft: delete_table(nft, "ip sparsam"))
        world.node.call(lambda nft=nft: delete_table(nft, "ip sparsam"))
        assert not world.node.call(lambda nft=nft: has_table(nft, "ip sparsam"))
    assert "".join(world.node.run("nft", "list", "ruleset").split()) == "tableipother{chainkeep{}}"


def test_the_link_of_the_dns_goes_as_it_came(world):
    world.node.call(lambda: ensure_dns_link("spd0", "10.96.0.10", {"10.96.0.0/16": NODE_IP}))
    assert "10.96.0.10/32" in world.node.ip("addr show spd0")
    assert f"src {NODE_IP}" in world.node.ip("route show 10.96.0.0/16")
    world.node.call(lambda: remove_dns_link("spd0"))
    world.node.call(lambda: remove_dns_link("spd0"))
    assert "spd0" not in world.node.ip("link") + world.node.ip("route")


@needs_ipv6
def test_the_kernel_takes_the_rules_of_ipv6_step_by_step_and_follows_them():
    ruleset, nft = Ruleset(NETWORK6), Library()
    ports = [PORTS[0], {"name": "u", "port": 80, "protocol": "UDP"}]
    targets = [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "u", "port": 8080, "protocol": "UDP"}]
    host, first, second, own = "fd00:7::10", "fd00:10:244:1::2", "fd00:10:244:1::3", "fd00:10:96::5"
    with namespaces(1) as (node,):
        for ip in (host, first, second):
            node.ip(f"addr add {ip}/128 dev lo nodad")
        node.call(lambda: ensure_dns_link("spd0", "10.96.0.10", {"fd00:10:96::/112": host}))
        node.call(lambda: nft.run(ruleset.render("sparsam")))
        for ip in (first, second):
            node.serve(ip, ip, 8080)

        def program(*endpoints, **spec):
            made = service(ip=own, ports=ports, type="NodePort", **spec)
            pieces = [endpoint_slice(*endpoints, ports=targets, family="IPv6")]
            change = ruleset.replace({KEY: compile_service(made, pieces, NETWORK6)})
            node.call(lambda: nft.run(change.render("sparsam")))
            stepwise = node.run("nft", "list", "table", "ip6", "sparsam")
            node.call(lambda: nft.run(ruleset.render("sparsam")))
            assert comparable(node.run("nft", "list", "table", "ip6", "sparsam")) == comparable(stepwise)
            return change.gone_udp_targets

        program(first)
        assert node.ask(own, 80)[0] == first
        assert node.ask(host, 30080)[0] == first
        program(first, second)
        assert {node.ask(own, 80)[0] for _ in range(12)} == {first, second}
        program(first, second, sessionAffinity="ClientIP", externalTrafficPolicy="Local", externalIPs=["fd00:8::1"])
        assert len({node.ask(own, 80)[0] for _ in range(6)}) == 1
        program()
        with pytest.raises(ConnectionRefusedError):
            node.ask(own, 80)
        program(first)
        with node.call(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as client:
            client.sendto(b"one", (own, 80))
            gone = program(second)
            assert gone == {(first, 8080)}
            assert node.call(lambda: forget_udp(gone)) == 1
            assert node.call(lambda: forget_udp(gone)) == 0
