from hypothesis import given
from hypothesis import strategies as st

from sparsam.controllers.endpoints import SLICE_ENDPOINTS, plan_endpoints, plan_slices


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
        status["podIP"] = f"10.0.{number // 250}.{number % 250 + 1}"
    container = {"name": "c", "ports": [{"name": "web", "containerPort": port, "protocol": "TCP"}]}
    return {"metadata": metadata, "spec": {"containers": [container], "nodeName": "node"}, "status": status}


def test_an_endpoint_says_who_it_is_and_how_it_is():
    [piece] = plan_slices(service(), [pod(1), pod(2, ready=False), pod(3, going=True)])
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
    [piece] = plan_slices(service(), [pod(1, phase="Succeeded"), pod(2, ip=False)])
    assert piece["endpoints"] == []


def test_pods_with_different_numbers_for_a_named_port_get_slices_of_their_own():
    pieces = plan_slices(service(), [pod(1, port=8080), pod(2, port=9090)])
    assert sorted(piece["ports"][0]["port"] for piece in pieces) == [8080, 9090]


def test_publishing_the_unready_makes_them_ready_in_slices():
    [piece] = plan_slices(service(publishNotReadyAddresses=True), [pod(1, ready=False)])
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
    pieces = plan_slices(service(), pods)
    assert all(len(piece["endpoints"]) <= SLICE_ENDPOINTS for piece in pieces)
    names = [endpoint["targetRef"]["name"] for piece in pieces for endpoint in piece["endpoints"]]
    assert sorted(names) == sorted(p["metadata"]["name"] for p in pods)
