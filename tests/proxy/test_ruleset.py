from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsam.proxy.endpoints import Endpoint
from sparsam.proxy.rules import Balance, Choose, Drop, Element, Goto, SendByMark
from sparsam.proxy.ruleset import Ruleset
from sparsam.proxy.services import (
    EMPTY,
    HAIRPIN,
    NODE_PORTS,
    REFUSE,
    SERVICE_IPS,
    SOURCE_RANGES,
    HealthCheck,
    compile_service,
    endpoint_marks,
)
from tests.support.proxy import NETWORK, KernelModel, Tracer, endpoint, endpoint_slice, service

POD, OTHER_POD, HOST, CLIENT = "10.244.1.9", "10.244.2.9", "192.0.2.10", "198.51.100.7"


def trace(*objects, network=NETWORK, **tracer):
    """Services each followed by their slices."""
    ruleset = Ruleset(network)
    services = [each for each in objects if "spec" in each]
    for each in services:
        key = (each["metadata"]["namespace"], each["metadata"]["name"])
        slices = [
            s for s in objects if "endpoints" in s and s["metadata"]["labels"]["kubernetes.io/service-name"] == key[1]
        ]
        ruleset.replace({key: compile_service(each, slices, network)})
    return Tracer(ruleset.chains, ruleset.elements, **tracer)


def test_a_cluster_ip_reaches_every_ready_endpoint_and_no_other():
    tracer = trace(service(), endpoint_slice("10.244.1.1", "10.244.2.1", endpoint("10.244.2.2", ready=False)))
    assert tracer.send(POD, "10.96.0.5", 80).targets == {("10.244.1.1", 8080), ("10.244.2.1", 8080)}


@pytest.mark.parametrize("affinity", ["None", "ClientIP"])
def test_a_packet_that_finds_the_map_of_a_rule_on_its_way_out_empty_still_reaches_an_endpoint(affinity):
    ruleset = Ruleset(NETWORK)
    made = service(sessionAffinity=affinity)
    fragment = compile_service(made, [endpoint_slice("10.244.1.1", "10.244.1.2")], NETWORK)
    ruleset.replace({("default", "web"): fragment})

    def looks_up(rule):
        many = (isinstance(each, Balance) and len(each.targets) > 1 for each in rule)
        return any(many) or any(isinstance(each, Choose | SendByMark) for each in rule)

    chains = {name: tuple(rule for rule in rules if not looks_up(rule)) for name, rules in ruleset.chains.items()}
    assert chains != ruleset.chains
    sent = Tracer(chains, ruleset.elements).send(POD, "10.96.0.5", 80)
    assert len(sent.targets) == 1
    assert sent.targets < {("10.244.1.1", 8080), ("10.244.1.2", 8080)}


def test_pods_keep_their_address_and_the_node_does_not():
    tracer = trace(service(), endpoint_slice("10.244.1.1"))
    assert tracer.send(POD, "10.96.0.5", 80).marked == {False}
    assert tracer.send(HOST, "10.96.0.5", 80, hook="output").marked == {True}


def test_without_ready_endpoints_those_that_still_serve_while_they_end_are_used():
    ending = endpoint("10.244.1.1", ready=False, serving=True, terminating=True)
    broken = endpoint("10.244.1.2", ready=False, serving=False, terminating=True)
    assert trace(service(), endpoint_slice(ending, broken)).send(POD, "10.96.0.5", 80).targets == {("10.244.1.1", 8080)}
    assert trace(service(), endpoint_slice(ending, "10.244.1.3")).send(POD, "10.96.0.5", 80).targets == {
        ("10.244.1.3", 8080)
    }


def test_a_service_without_endpoints_is_refused():
    for objects in [(service(),), (service(), endpoint_slice()), (service(type="NodePort"), endpoint_slice())]:
        assert trace(*objects).send(POD, "10.96.0.5", 80).rejected


def test_an_unknown_port_of_a_cluster_ip_is_refused_when_it_is_forwarded():
    tracer = trace(service(), endpoint_slice("10.244.1.1"))
    assert tracer.send(POD, "10.96.0.5", 81).passed
    assert tracer.send(POD, "10.96.0.5", 81, hook="filter-forward").rejected
    assert tracer.send(HOST, "10.96.77.5", 81, hook="filter-output").rejected


def test_the_dns_address_is_left_to_the_node():
    dns = [{"name": "dns", "port": 53, "protocol": "UDP"}]
    tracer = trace(service("kube-dns", ip="10.96.0.10", ports=dns))
    for hook in ("prerouting", "output", "filter-forward", "filter-output"):
        outcome = tracer.send(HOST, "10.96.0.10", 53, protocol="udp", hook=hook)
        assert outcome.passed
        assert outcome.marked == {False}


def test_protocols_are_kept_apart():
    both = [{"name": "u", "port": 53, "protocol": "UDP"}, {"name": "t", "port": 53, "protocol": "TCP"}]
    target = [{"name": "u", "port": 5353, "protocol": "UDP"}, {"name": "t", "port": 5354, "protocol": "TCP"}]
    tracer = trace(service(ports=both), endpoint_slice("10.244.1.1", ports=target))
    assert tracer.send(POD, "10.96.0.5", 53, protocol="udp").targets == {("10.244.1.1", 5353)}
    assert tracer.send(POD, "10.96.0.5", 53).targets == {("10.244.1.1", 5354)}


NODE_PORT = {"type": "NodePort", "ports": [{"name": "http", "port": 80, "protocol": "TCP", "nodePort": 30080}]}


def test_a_node_port_answers_on_node_addresses_only_and_is_masqueraded():
    tracer = trace(service(**NODE_PORT), endpoint_slice("10.244.1.1"))
    outcome = tracer.send(CLIENT, HOST, 30080)
    assert (outcome.targets, outcome.marked) == ({("10.244.1.1", 8080)}, {True})
    assert tracer.send(HOST, HOST, 30080, hook="output").targets
    assert tracer.send(CLIENT, "203.0.113.1", 30080).passed
    assert tracer.send("127.0.0.1", "127.0.0.1", 30080, hook="output").passed


def test_local_traffic_policy_keeps_outside_clients_on_this_node_with_their_address():
    spec = NODE_PORT | {"externalTrafficPolicy": "Local"}
    tracer = trace(service(**spec), endpoint_slice("10.244.1.1", endpoint("10.244.2.1", node="n2")))
    outcome = tracer.send(CLIENT, HOST, 30080)
    assert (outcome.targets, outcome.marked) == ({("10.244.1.1", 8080)}, {False})
    assert len(tracer.send(POD, HOST, 30080).targets) == 2
    assert tracer.send(HOST, HOST, 30080, hook="output").marked == {True}
    elsewhere = trace(service(**spec), endpoint_slice(endpoint("10.244.2.1", node="n2")))
    assert elsewhere.send(CLIENT, HOST, 30080).dropped
    assert elsewhere.send(POD, "10.96.0.5", 80).targets == {("10.244.2.1", 8080)}


def test_internal_local_policy_uses_this_node_alone():
    tracer = trace(
        service(internalTrafficPolicy="Local"), endpoint_slice("10.244.1.1", endpoint("10.244.2.1", node="n2"))
    )
    assert tracer.send(POD, "10.96.0.5", 80).targets == {("10.244.1.1", 8080)}
    elsewhere = trace(service(internalTrafficPolicy="Local"), endpoint_slice(endpoint("10.244.2.1", node="n2")))
    assert elsewhere.send(POD, "10.96.0.5", 80).dropped


def test_external_ips_and_load_balancer_addresses_lead_to_the_endpoints():
    status = {"loadBalancer": {"ingress": [{"ip": "203.0.113.9"}, {"hostname": "lb.example"}]}}
    tracer = trace(
        service(type="LoadBalancer", externalIPs=["203.0.113.8"], status=status), endpoint_slice("10.244.1.1")
    )
    for ip in ("203.0.113.8", "203.0.113.9"):
        outcome = tracer.send(CLIENT, ip, 80)
        assert (outcome.targets, outcome.marked) == ({("10.244.1.1", 8080)}, {True})


def test_a_client_with_affinity_goes_back_to_the_endpoint_that_is_remembered_for_it():
    objects = (service(sessionAffinity="ClientIP"), endpoint_slice("10.244.1.1", "10.244.1.2", "10.244.1.3"))
    assert len(trace(*objects).send(POD, "10.96.0.5", 80).targets) == 3
    (known,) = compile_service(objects[0], [objects[1]], NETWORK).affinity_maps
    marks = {each.ip: mark for mark, each in endpoint_marks(Endpoint(f"10.244.1.{n}", 8080) for n in (1, 2, 9)).items()}
    back = trace(*objects, remembered={known: marks["10.244.1.2"]}).send(POD, "10.96.0.5", 80)
    assert back.targets == {("10.244.1.2", 8080)}
    # The one that was remembered is gone.
    moved = trace(*objects, remembered={known: marks["10.244.1.9"]}).send(POD, "10.96.0.5", 80)
    assert len(moved.targets) == 3


@given(st.sets(st.tuples(st.integers(1, 200), st.integers(1, 3)), max_size=30), st.data())
def test_marks_are_apart_and_stay_while_other_endpoints_come_and_go(pairs, data):
    endpoints = [Endpoint(f"10.244.1.{ip}", port) for ip, port in sorted(pairs)]
    marks = endpoint_marks(endpoints)
    assert sorted(marks.values()) == sorted(endpoints)
    assert 0 not in marks
    fewer = data.draw(st.lists(st.sampled_from(endpoints), unique=True)) if endpoints else []
    assert endpoint_marks(fewer).items() <= marks.items()


def test_headless_and_external_name_services_have_no_rules():
    assert compile_service(service(ip="None"), [endpoint_slice("10.244.1.1")], NETWORK) == EMPTY
    assert compile_service(service(ip="", type="ExternalName", externalName="x.example"), [], NETWORK) == EMPTY


def test_pods_of_this_node_are_known_for_traffic_to_themselves():
    fragment = compile_service(service(), [endpoint_slice("10.244.1.1", endpoint("10.244.2.1", node="n2"))], NETWORK)
    assert [each.key for each in fragment.elements if each.container == HAIRPIN] == ["10.244.1.1 . 10.244.1.1"]


def balanced(ip="203.0.113.9", **spec):
    made = service(type="LoadBalancer", status={"loadBalancer": {"ingress": [{"ip": ip}]}}, **spec)
    return made, endpoint_slice("10.244.1.1")


def test_a_load_balancer_lets_in_whom_its_source_ranges_name():
    ranges = ["198.51.0.0/16", "198.51.100.0/24", "fd00::/8"]
    tracer = trace(*balanced(loadBalancerSourceRanges=ranges, externalIPs=["203.0.113.8"]))
    assert tracer.send(CLIENT, "203.0.113.9", 80).targets
    assert tracer.send("192.0.2.77", "203.0.113.9", 80).dropped
    assert tracer.send(HOST, "203.0.113.9", 80, hook="output").dropped
    assert tracer.send("192.0.2.77", "203.0.113.8", 80).targets
    assert tracer.send(POD, "10.96.0.5", 80).targets
    by_annotation, slices = balanced()
    by_annotation["metadata"]["annotations"] = {SOURCE_RANGES: "192.0.2.0/25, 10.0.0.0/8"}
    tracer = trace(by_annotation, slices, network=replace(NETWORK, node_ip=HOST))
    assert tracer.send(CLIENT, "203.0.113.9", 80).dropped
    # The node may come from any of its addresses when it is among those let in.
    assert tracer.send("203.0.113.9", "203.0.113.9", 80, hook="output", local=("203.0.113.9",)).targets
    assert trace(*balanced(loadBalancerSourceRanges=["fd00::/8"])).send(CLIENT, "203.0.113.9", 80).dropped


def test_an_address_of_the_pool_leads_nowhere_but_to_its_service():
    network = replace(NETWORK, balancer_cidr="203.0.113.0/24")
    tracer = trace(*balanced(), network=network)
    assert tracer.send(CLIENT, "203.0.113.9", 81, hook="filter-input").rejected
    assert tracer.send(CLIENT, "203.0.113.10", 81, hook="filter-input").passed
    made, slices = balanced()
    assert compile_service(made, [slices], network).own_ips == {"203.0.113.9"}
    assert compile_service(made, [slices], NETWORK).own_ips == set()
    assert trace(*balanced()).send(CLIENT, "203.0.113.9", 81, hook="filter-input").passed


def test_before_its_nodes_a_machine_chooses_among_all_and_shows_them_the_client():
    made, slices = balanced(externalTrafficPolicy="Local")
    outcome = trace(made, slices, network=replace(NETWORK, node_name="")).send(CLIENT, "203.0.113.9", 80)
    assert (outcome.targets, outcome.marked) == ({("10.244.1.1", 8080)}, {False})


def test_load_balancers_are_told_how_many_endpoints_are_ready_here():
    ending = endpoint("10.244.1.3", ready=False, serving=True, terminating=True)
    slices = [endpoint_slice("10.244.1.1", "10.244.1.2", ending, endpoint("10.244.2.1", node="n2"))]
    spec = {"type": "LoadBalancer", "healthCheckNodePort": 32000}
    local = service(**spec, externalTrafficPolicy="Local")
    assert compile_service(local, slices, NETWORK).health_check == HealthCheck(32000, 2)
    assert compile_service(local, slices, replace(NETWORK, node_name="")).health_check is None
    assert compile_service(service(**spec), slices, NETWORK).health_check is None


NEAR, SAME_ZONE, FAR = ("10.244.1.1", "n1", "z1"), ("10.244.2.1", "n2", "z1"), ("10.244.3.1", "n3", "z2")


@pytest.mark.parametrize(
    ("by_node", "who", "reached"),
    [
        (True, (NEAR, SAME_ZONE, FAR), (NEAR,)),
        (True, (SAME_ZONE, FAR), (SAME_ZONE,)),
        (True, (FAR,), (FAR,)),
        (False, (NEAR, SAME_ZONE, FAR), (NEAR, SAME_ZONE)),
        (False, (FAR,), (FAR,)),
    ],
)
def test_hints_prefer_the_node_then_the_zone_then_anybody(by_node, who, reached):
    def hints(node, zone):
        return {"forZones": [{"name": zone}]} | ({"forNodes": [{"name": node}]} if by_node else {})

    slices = endpoint_slice(*(endpoint(ip, node=node, hints=hints(node, zone)) for ip, node, zone in who))
    tracer = trace(service(), slices, network=replace(NETWORK, zone="z1"))
    assert tracer.send(POD, "10.96.0.5", 80).targets == {(ip, 8080) for ip, _, _ in reached}


def test_an_endpoint_without_a_hint_makes_hints_void():
    hinted = endpoint("10.244.1.1", hints={"forZones": [{"name": "z1"}]})
    network = replace(NETWORK, zone="z1")
    both = trace(service(), endpoint_slice(hinted, "10.244.2.1"), network=network)
    assert len(both.send(POD, "10.96.0.5", 80).targets) == 2
    # One that takes no traffic anyway has no say.
    waiting = endpoint_slice(hinted, endpoint("10.244.2.1", ready=False))
    assert len(trace(service(), waiting, network=network).send(POD, "10.96.0.5", 80).targets) == 1
    zoneless = trace(service(), endpoint_slice(hinted, endpoint("10.244.2.1", hints=hinted["hints"])))
    assert len(zoneless.send(POD, "10.96.0.5", 80).targets) == 2


def test_two_services_with_one_address_are_settled_by_name():
    ruleset = Ruleset(NETWORK)
    element = Element(SERVICE_IPS, "203.0.113.8 . tcp . 80")

    def claim(name, ip):
        made = service(name, ip=ip, externalIPs=["203.0.113.8"])
        return compile_service(made, [endpoint_slice("10.244.1.1", of=name)], NETWORK)

    ruleset.replace({("default", "b"): claim("b", "10.96.0.6")})
    held_by_b = ruleset.elements[element]
    change = ruleset.replace({("default", "a"): claim("a", "10.96.0.5")})
    assert element in change.gone_elements
    assert change.new_elements[element] == ruleset.elements[element] != held_by_b
    ruleset.replace({("default", "a"): EMPTY})
    assert ruleset.elements[element] == held_by_b


def test_an_endpoint_that_changes_touches_one_chain_only():
    ruleset = Ruleset(NETWORK)
    for number in range(50):
        name = f"s{number}"
        fragment = compile_service(service(name, ip=f"10.96.1.{number}"), [endpoint_slice("10.244.2.1")], NETWORK)
        ruleset.replace({("default", name): fragment})
    remote = endpoint("10.244.2.2", node="n2")
    fragment = compile_service(service("s7", ip="10.96.1.7"), [endpoint_slice("10.244.2.1", remote)], NETWORK)
    change = ruleset.replace({("default", "s7"): fragment})
    assert len(change.chains) == 1
    assert not change.new_elements
    assert not change.gone_elements


def test_nothing_changed_is_an_empty_transaction():
    ruleset = Ruleset(NETWORK)
    fragment = compile_service(service(), [endpoint_slice("10.244.1.1")], NETWORK)
    assert ruleset.replace({("default", "web"): fragment})
    assert not ruleset.replace({("default", "web"): fragment})


@st.composite
def fragments(draw, name):
    if draw(st.booleans()) and draw(st.booleans()):
        return EMPTY
    spec = {}
    if draw(st.booleans()):
        spec["sessionAffinity"] = "ClientIP"
        spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": draw(st.sampled_from([10, 20]))}}
    port = {"name": "http", "port": draw(st.sampled_from([80, 81])), "protocol": "TCP"}
    if draw(st.booleans()):
        spec["type"] = "NodePort"
        port["nodePort"] = draw(st.sampled_from([30080, 30081]))
        spec["externalTrafficPolicy"] = draw(st.sampled_from(["Local", "Cluster"]))
    if draw(st.booleans()):
        spec["externalIPs"] = ["203.0.113.8"]
    endpoints = draw(
        st.lists(
            st.builds(
                endpoint,
                st.sampled_from(["10.244.1.1", "10.244.1.2", "10.244.2.1"]),
                node=st.sampled_from(["n1", "n2"]),
                ready=st.booleans(),
                serving=st.booleans(),
                terminating=st.booleans(),
            ),
            max_size=3,
        )
    )
    ip = draw(st.sampled_from(["10.96.0.5", "10.96.0.6"]))
    return compile_service(service(name, ip=ip, ports=[port], **spec), [endpoint_slice(*endpoints, of=name)], NETWORK)


NAMES = ("a", "b", "c")
batches = st.lists(
    st.fixed_dictionaries({}, optional={("default", name): fragments(name) for name in NAMES}), max_size=6
)


@settings(max_examples=150, deadline=None)
@given(batches)
def test_updates_in_steps_give_the_same_ruleset_as_building_it_whole(steps):
    stepwise = Ruleset(NETWORK)
    kernel = KernelModel(dict(stepwise.base))
    final = {}
    for batch in steps:
        kernel.apply(stepwise.replace(batch))
        final |= batch
    whole = Ruleset(NETWORK)
    whole.replace(final)
    assert kernel.chains == stepwise.chains == whole.chains
    assert kernel.elements == stepwise.elements == whole.elements
    assert kernel.maps == stepwise.affinity_maps == whole.affinity_maps


@settings(max_examples=150, deadline=None)
@given(fragments("a"), st.sampled_from([(POD, "10.96.0.5", 80), (CLIENT, HOST, 30080), (HOST, "10.96.0.6", 81)]))
def test_a_packet_reaches_only_endpoints_of_the_service_or_is_told_so(fragment, packet):
    ruleset = Ruleset(NETWORK)
    ruleset.replace({("default", "a"): fragment})
    outcome = Tracer(ruleset.chains, ruleset.elements).send(*packet)
    assert outcome.targets <= {(f"10.244.{net}", 8080) for net in ("1.1", "1.2", "2.1")}
    fates = [bool(outcome.targets), outcome.rejected, outcome.passed, outcome.dropped]
    assert sum(fates) == 1


def test_names_stay_within_what_the_kernel_takes():
    long = service("n" * 63, namespace="m" * 63, ports=[{"name": "p" * 15, "port": 65535, "protocol": "SCTP"}])
    long["spec"] |= {"sessionAffinity": "ClientIP"}
    target = endpoint_slice("255.255.255.255", ports=[{"name": "p" * 15, "port": 65535, "protocol": "SCTP"}])
    fragment = compile_service(long, [target], NETWORK)
    assert fragment.chains
    assert max(map(len, fragment.chains)) < 128


def test_verdicts_of_a_service_without_any_or_without_local_endpoints_differ():
    spec = NODE_PORT | {"externalTrafficPolicy": "Local"}
    none = compile_service(service(**spec), [], NETWORK)
    assert set(none.elements.values()) == {Goto(REFUSE)}
    remote = compile_service(service(**spec), [endpoint_slice(endpoint("10.244.2.1", node="n2"))], NETWORK)
    entrance = remote.elements[Element(NODE_PORTS, "tcp . 30080")]
    assert isinstance(entrance, Goto)
    assert remote.chains[entrance.chain][-1] == (Drop(),)
