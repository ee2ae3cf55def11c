from hypothesis import given
from hypothesis import strategies as st

from sparsam.controllers.endpoints_plan import SLICE_ENDPOINTS, SlicePlan, plan_endpoints, plan_slices


def service(**spec):
    ports = [{"name": "http", "port": 80, "targetPort": "web", "protocol": "TCP"}]
    metadata = {"name": "s", "namespace": "n", "uid": "u", "labels": {"team": "a"}}
    return {"metadata": metadata, "spec": {"selector": {"app": "x"}, "ports": ports, **spec}}


def pod(number, *, ready=True, going=False, port=8080, phase="Running", ip=True):
    metadata = {"name": f"p{number:03}", "namespace": "n", "uid": str(number)}
    if going:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    status = {"phase": phase, "conditions": conditions}
    if ip:
        status["podIPs"] = [{"ip": f"10.0.{number // 250}.{number % 250 + 1}"}]
    container = {"name": "c", "ports": [{"name": "web", "containerPort": port, "protocol": "TCP"}]}
    return {"metadata": metadata, "spec": {"containers": [container], "nodeName": "node"}, "status": status}


def dual(number, **more):
    """A pod with addresses of both families."""
    made = pod(number, **more)
    made["status"]["podIPs"].append({"ip": f"fd00::{number:x}"})
    return made


def made(*args):
    plan = plan_slices(*args)
    assert not plan.update
    assert not plan.delete
    return plan.create


def apply(plan, have):
    """The slices after a plan, with names as the API server gives them."""
    after = {each["metadata"]["name"]: each for each in have}
    for each in plan.delete:
        del after[each["metadata"]["name"]]
    after |= {each["metadata"]["name"]: each for each in plan.update}
    number = max((int(name[2:]) for name in after), default=0)
    for each in plan.create:
        number += 1
        after[f"s-{number}"] = each | {"metadata": each["metadata"] | {"name": f"s-{number}"}}
    return list(after.values())


def test_an_endpoint_says_who_it_is_and_how_it_is():
    [piece] = made(service(), [pod(1), pod(2, ready=False), pod(3, going=True)])
    assert piece["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    assert piece["metadata"]["labels"] == {
        "team": "a",
        "kubernetes.io/service-name": "s",
        "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
    }
    assert [endpoint["conditions"] for endpoint in piece["endpoints"]] == [
        {"ready": True, "serving": True, "terminating": False},
        {"ready": False, "serving": False, "terminating": False},
        {"ready": False, "serving": True, "terminating": True},
    ]
    first = piece["endpoints"][0]
    assert first["targetRef"] == {"kind": "Pod", "namespace": "n", "name": "p001", "uid": "1"}
    assert first["nodeName"] == "node"


def test_the_ended_and_the_addressless_are_left_out():
    [piece] = made(service(), [pod(1, phase="Succeeded"), pod(2, ip=False)])
    assert piece["endpoints"] == []


def test_pods_with_different_numbers_for_a_named_port_get_slices_of_their_own():
    pieces = made(service(), [pod(1, port=8080), pod(2, port=9090)])
    assert sorted(piece["ports"][0]["port"] for piece in pieces) == [8080, 9090]


def test_publishing_the_unready_makes_them_ready_in_slices():
    [piece] = made(service(publishNotReadyAddresses=True), [pod(1, ready=False)])
    assert piece["endpoints"][0]["conditions"] == {"ready": True, "serving": False, "terminating": False}


def test_classic_endpoints_part_ready_from_waiting():
    planned = plan_endpoints(service(), [pod(1), pod(2, ready=False), pod(3, going=True)])
    [subset] = planned["subsets"]
    assert [address["ip"] for address in subset["addresses"]] == ["10.0.0.2"]
    assert [address["ip"] for address in subset["notReadyAddresses"]] == ["10.0.0.3"]
    assert subset["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]


@given(st.lists(st.booleans(), max_size=350))
def test_slices_hold_every_pod_once_and_a_hundred_at_most(readiness):
    pods = [pod(number, ready=ready) for number, ready in enumerate(readiness)]
    pieces = made(service(), pods)
    assert all(len(piece["endpoints"]) <= SLICE_ENDPOINTS for piece in pieces)
    names = [endpoint["targetRef"]["name"] for piece in pieces for endpoint in piece["endpoints"]]
    assert sorted(names) == sorted(p["metadata"]["name"] for p in pods)


def test_one_pod_more_or_less_changes_one_slice():
    pods = [pod(number) for number in range(250)]
    have = apply(plan_slices(service(), pods), [])
    assert [len(each["endpoints"]) for each in have] == [100, 100, 50]
    fewer = plan_slices(service(), pods[1:], {}, have)
    assert (len(fewer.create), len(fewer.update), len(fewer.delete)) == (0, 1, 0)
    have = apply(fewer, have)
    more = plan_slices(service(), [*pods[1:], pod(300)], {}, have)
    [changed] = more.update
    assert len(changed["endpoints"]) == 100
    assert plan_slices(service(), pods[1:], {}, have) == SlicePlan()


def test_slices_that_come_and_slices_that_go_cancel_each_other_out():
    have = apply(plan_slices(service(), [pod(1)]), [])
    moved = plan_slices(service(), [pod(1, port=9090)], {}, have)
    assert (moved.create, moved.delete) == ([], [])
    assert moved.update[0]["ports"][0]["port"] == 9090
    have = apply(moved, have)
    emptied = plan_slices(service(), [], {}, have)
    assert emptied.update[0]["endpoints"] == []
    have = apply(emptied, have)
    assert plan_slices(service(), [], {}, have) == SlicePlan()


CROWDS = st.lists(st.sets(st.integers(0, 8).flatmap(lambda n: st.just(n * 40)), max_size=6), min_size=1, max_size=5)


@given(CROWDS)
def test_steps_lead_to_slices_with_every_pod_once(crowds):
    have = []
    for starts in crowds:
        pods = [pod(start + offset) for start in starts for offset in range(40)]
        have = apply(plan_slices(service(), pods, {}, have), have)
        names = [endpoint["targetRef"]["name"] for piece in have for endpoint in piece["endpoints"]]
        assert sorted(names) == sorted(p["metadata"]["name"] for p in pods)
        assert all(len(piece["endpoints"]) <= SLICE_ENDPOINTS for piece in have)
        assert plan_slices(service(), pods, {}, have) == SlicePlan()


def test_distribution_keeps_endpoints_for_their_zone_and_node():
    zones = {"node": "z1"}

    def hints(distribution, where=zones, **state):
        [piece] = made(service(trafficDistribution=distribution), [pod(1, **state)], where)
        return piece["endpoints"][0].get("hints")

    assert hints("PreferClose") == hints("PreferSameZone") == {"forZones": [{"name": "z1"}]}
    assert hints("PreferSameNode") == {"forNodes": [{"name": "node"}], "forZones": [{"name": "z1"}]}
    assert hints("PreferSameNode", {}) == {"forNodes": [{"name": "node"}]}
    assert hints("PreferSameZone", {}) is None
    assert hints("PreferSameZone", ready=False) is None
    [piece] = made(service(), [pod(1)], zones)
    assert piece["endpoints"][0]["zone"] == "z1"
    assert "hints" not in piece["endpoints"][0]


BOTH = ["IPv4", "IPv6"]


def test_each_family_has_slices_of_its_own():
    four, six = made(service(ipFamilies=BOTH), [dual(1), pod(2)])
    assert [each["addressType"] for each in (four, six)] == BOTH
    assert [each["addresses"] for each in four["endpoints"]] == [["10.0.0.2"], ["10.0.0.3"]]
    assert [each["addresses"] for each in six["endpoints"]] == [["fd00::1"]]


def test_classic_endpoints_are_of_the_first_family():
    for families, ip in ((BOTH, "10.0.0.2"), (BOTH[::-1], "fd00::1")):
        [subset] = plan_endpoints(service(ipFamilies=families), [dual(1)])["subsets"]
        assert [each["ip"] for each in subset["addresses"]] == [ip]


def test_without_pods_each_family_has_one_empty_slice():
    assert [(each["addressType"], each["endpoints"]) for each in made(service(ipFamilies=BOTH), [])] == [
        ("IPv4", []),
        ("IPv6", []),
    ]


def test_a_family_that_goes_takes_its_slices_along_and_leaves_the_others():
    have = apply(plan_slices(service(ipFamilies=BOTH), [dual(1)]), [])
    plan = plan_slices(service(ipFamilies=["IPv4"]), [dual(1)], {}, have)
    assert not plan.create
    assert not plan.update
    assert [each["addressType"] for each in plan.delete] == ["IPv6"]
