from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsam.proxy.dns import Code, Location, Type, parse_name
from sparsam.proxy.zone import Zone, compile_records
from tests.support.proxy import endpoint, endpoint_slice, service


def put(zone, made, *slices):
    zone.replace(made["metadata"]["namespace"], made["metadata"]["name"], compile_records(made, slices))


@pytest.fixture
def zone():
    zone = Zone("cluster.local", "10.96.0.10", ("10.96.0.0/16", "10.244.0.0/16"))
    zone.complete = True
    put(zone, service(), endpoint_slice(endpoint("10.244.1.1")))
    pods = endpoint_slice(
        endpoint("10.244.1.1", hostname="db-0"), endpoint("10.244.1.2"), endpoint("10.244.1.3", ready=False), of="db"
    )
    put(zone, service("db", ip="None"), pods)
    put(zone, service("empty", ip="None"), endpoint_slice(of="empty"))
    put(zone, service("out", ip="", ports=[], type="ExternalName", externalName="www.Example.org"))
    return zone


def lookup(zone, name, kind=Type.A):
    return zone.lookup(parse_name(name), kind)


def data(zone, name, kind=Type.A):
    answer = lookup(zone, name, kind)
    assert answer.code == Code.NO_ERROR
    return [each.data for each in answer.answers]


def test_a_service_stands_for_its_cluster_ip(zone):
    assert data(zone, "web.default.svc.cluster.local") == ["10.96.0.5"]


def test_a_headless_service_stands_for_its_ready_pods(zone):
    assert data(zone, "db.default.svc.cluster.local") == ["10.244.1.1", "10.244.1.2"]
    assert data(zone, "db-0.db.default.svc.cluster.local") == ["10.244.1.1"]
    assert data(zone, "10-244-1-2.db.default.svc.cluster.local") == ["10.244.1.2"]


def test_an_external_name_is_an_alias_for_every_type(zone):
    for kind in (Type.A, Type.AAAA, Type.CNAME):
        assert data(zone, "out.default.svc.cluster.local", kind) == [("www", "example", "org")]


def test_ports_are_found_by_name_and_protocol(zone):
    name = parse_name("web.default.svc.cluster.local")
    answer = lookup(zone, "_http._tcp.web.default.svc.cluster.local", Type.SRV)
    assert [each.data for each in answer.answers] == [Location(80, name)]
    assert [each.data for each in answer.additional] == ["10.96.0.5"]
    headless = lookup(zone, "_http._tcp.db.default.svc.cluster.local", Type.SRV)
    hosts = parse_name("db.default.svc.cluster.local")
    assert {each.data for each in headless.answers} == {
        Location(8080, ("db-0", *hosts), 50),
        Location(8080, ("10-244-1-2", *hosts), 50),
    }
    assert [each.data for each in headless.additional] == ["10.244.1.1", "10.244.1.2"]
    assert lookup(zone, "_http._udp.web.default.svc.cluster.local", Type.SRV).code == Code.NAME_ERROR
    assert len(data(zone, "web.default.svc.cluster.local", Type.SRV)) == 1


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("web.default.svc.cluster.local", Type.AAAA),
        ("db.default.svc.cluster.local", Type.AAAA),
        ("default.svc.cluster.local", Type.A),
        ("svc.cluster.local", Type.A),
        ("cluster.local", Type.A),
        ("_tcp.web.default.svc.cluster.local", Type.SRV),
        ("_http._tcp.web.default.svc.cluster.local", Type.A),
        ("10-244-1-1.default.pod.cluster.local", Type.AAAA),
        ("5.0.96.10.in-addr.arpa", Type.A),
    ],
)
def test_a_name_without_such_a_record_exists_and_is_empty(zone, name, kind):
    answer = lookup(zone, name, kind)
    assert (answer.code, answer.answers) == (Code.NO_ERROR, ())
    assert answer.authority[0].type == Type.SOA


@pytest.mark.parametrize(
    "name",
    [
        "nope.default.svc.cluster.local",
        "web.other.svc.cluster.local",
        "other.svc.cluster.local",
        "empty.default.svc.cluster.local",
        "nope.db.default.svc.cluster.local",
        "a.b.c.web.default.svc.cluster.local",
        "www.example.org.cluster.local",
        "10-244-1.default.pod.cluster.local",
        "77.0.96.10.in-addr.arpa",
    ],
)
def test_a_name_that_does_not_exist_is_said_to(zone, name):
    answer = lookup(zone, name)
    assert answer.code == Code.NAME_ERROR
    assert answer.authority[0].type == Type.SOA


def test_before_everything_is_known_a_missing_name_is_a_failure(zone):
    zone.complete = False
    assert lookup(zone, "nope.default.svc.cluster.local").code == Code.SERVER_FAILURE
    assert data(zone, "web.default.svc.cluster.local") == ["10.96.0.5"]


def test_pods_have_names_made_of_their_address(zone):
    assert data(zone, "10-244-1-9.default.pod.cluster.local") == ["10.244.1.9"]


def test_addresses_lead_back_to_names(zone):
    assert data(zone, "5.0.96.10.in-addr.arpa", Type.PTR) == [parse_name("web.default.svc.cluster.local")]
    assert data(zone, "1.1.244.10.in-addr.arpa", Type.PTR) == [parse_name("db-0.db.default.svc.cluster.local")]


def test_other_names_are_left_to_others(zone):
    assert lookup(zone, "www.example.org") is None
    assert lookup(zone, "1.2.0.192.in-addr.arpa", Type.PTR) is None
    assert lookup(zone, "notcluster.local") is None


def test_the_zone_says_who_it_is(zone):
    assert data(zone, "dns-version.cluster.local", Type.TXT) == ["1.1.0"]
    answer = lookup(zone, "cluster.local", Type.NS)
    assert [each.data for each in answer.answers] == [parse_name("ns.dns.cluster.local")]
    assert [each.data for each in answer.additional] == ["10.96.0.10"]
    assert len(data(zone, "cluster.local", Type.SOA)) == 1


def test_a_service_that_ends_takes_its_names_along(zone):
    zone.replace("default", "db", None)
    assert lookup(zone, "db.default.svc.cluster.local").code == Code.NAME_ERROR
    assert lookup(zone, "1.1.244.10.in-addr.arpa", Type.PTR).code == Code.NAME_ERROR


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b"]),
            st.sampled_from(["None", "10.96.0.7"]),
            st.lists(st.sampled_from(["10.244.1.1", "10.244.1.2"]), max_size=3),
            st.booleans(),
        ),
        max_size=8,
    )
)
def test_replacing_leaves_nothing_behind(steps):
    zone, final = Zone("cluster.local", "10.96.0.10"), {}
    for name, ip, ips, kept in steps:
        hosts = [endpoint(each, hostname=f"h{n}") for n, each in enumerate(ips)]
        records = compile_records(service(name, ip=ip), [endpoint_slice(*hosts, of=name)]) if kept else None
        zone.replace("default", name, records)
        final[name] = records
    fresh = Zone("cluster.local", "10.96.0.10")
    for name, records in final.items():
        fresh.replace("default", name, records)
    for name in ("a", "b"):
        for question in (f"{name}.default.svc.cluster.local", f"h0.{name}.default.svc.cluster.local"):
            assert lookup(zone, question).answers == lookup(fresh, question).answers
    for last in (1, 2):
        question = parse_name(f"{last}.1.244.10.in-addr.arpa")
        old, new = zone.lookup(question, Type.PTR), fresh.lookup(question, Type.PTR)
        assert (old and old.answers) == (new and new.answers)


@pytest.fixture
def both():
    """A zone of both families."""
    zone = Zone("cluster.local", "10.96.0.10", ("10.96.0.0/16", "fd00:10:96::/112", "fd00:10:244::/56"))
    zone.complete = True
    ips = ["10.96.0.5", "fd00:10:96::5"]
    put(zone, service(ip=ips[0], clusterIPs=ips))
    pods = [
        endpoint_slice(endpoint("10.244.1.1", hostname="db-0"), endpoint("10.244.1.2"), of="db"),
        endpoint_slice(
            endpoint("fd00:10:244:1::1", hostname="db-0"), endpoint("fd00:10:244:1::2"), of="db", family="IPv6"
        ),
    ]
    put(zone, service("db", ip="None"), *pods)
    return zone


def test_a_service_of_both_families_answers_both(both):
    assert data(both, "web.default.svc.cluster.local") == ["10.96.0.5"]
    assert data(both, "web.default.svc.cluster.local", Type.AAAA) == ["fd00:10:96::5"]
    assert data(both, "db.default.svc.cluster.local", Type.AAAA) == ["fd00:10:244:1::1", "fd00:10:244:1::2"]
    assert data(both, "db-0.db.default.svc.cluster.local", Type.AAAA) == ["fd00:10:244:1::1"]
    assert data(both, "fd00-10-244-1--2.db.default.svc.cluster.local", Type.AAAA) == ["fd00:10:244:1::2"]
    assert data(both, "fd00-10-244-1--2.db.default.svc.cluster.local") == []


def test_a_port_is_one_place_whatever_addresses_it_has(both):
    web = parse_name("web.default.svc.cluster.local")
    answer = lookup(both, "_http._tcp.web.default.svc.cluster.local", Type.SRV)
    assert [each.data for each in answer.answers] == [Location(80, web)]
    assert [(each.type, each.data) for each in answer.additional] == [
        (Type.A, "10.96.0.5"),
        (Type.AAAA, "fd00:10:96::5"),
    ]
    answer = lookup(both, "_http._tcp.db.default.svc.cluster.local", Type.SRV)
    assert len(answer.answers) == 3
    assert len(answer.additional) == 4


def reverse(address):
    return ip_address(address).reverse_pointer


def test_addresses_of_ipv6_lead_back_to_names(both):
    assert data(both, reverse("fd00:10:96::5"), Type.PTR) == [parse_name("web.default.svc.cluster.local")]
    assert data(both, reverse("fd00:10:244:1::1"), Type.PTR) == [parse_name("db-0.db.default.svc.cluster.local")]
    assert data(both, reverse("fd00:10:244:1::2"), Type.PTR) == [
        parse_name("fd00-10-244-1--2.db.default.svc.cluster.local")
    ]
    assert lookup(both, reverse("fd00:10:96::6"), Type.PTR).code == Code.NAME_ERROR
    assert lookup(both, reverse("2001:db8::1"), Type.PTR) is None
    assert lookup(both, "1.2.ip6.arpa", Type.PTR) is None


def test_a_pod_name_spells_an_address_of_either_family(both):
    assert data(both, "fd00-10-244--7.default.pod.cluster.local", Type.AAAA) == ["fd00:10:244::7"]
    assert data(both, "10-244-0-7.default.pod.cluster.local") == ["10.244.0.7"]


@given(st.ip_addresses())
def test_every_address_is_read_back_from_its_reverse_name(address):
    zone = Zone("cluster.local", "10.96.0.10")
    put(zone, service(ip=str(address)))
    assert data(zone, reverse(str(address)), Type.PTR) == [parse_name("web.default.svc.cluster.local")]
