"""EndpointSlices for Endpoints that people write."""

from __future__ import annotations

from typing import Any

import pytest

from sparsam.controllers.endpointsmirroring import MOST_ADDRESSES, EndpointsMirroring, is_mirrored, mirror
from sparsam.objects.kinds import ENDPOINTS, ENDPOINTSLICES, SERVICES
from tests.support.controllers import controlled, eventually

PORT = {"name": "p", "port": 80, "protocol": "TCP"}


def endpoints(*subsets: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"metadata": {"name": "s", "namespace": "default", "uid": "u", **metadata}, "subsets": list(subsets)}


def subset(*ready: str, waiting: tuple[str, ...] = (), port: int = 80) -> dict[str, Any]:
    found: dict[str, Any] = {"addresses": [{"ip": ip} for ip in ready], "ports": [PORT | {"port": port}]}
    return found | ({"notReadyAddresses": [{"ip": ip} for ip in waiting]} if waiting else {})


def test_each_kind_of_address_and_set_of_ports_has_a_slice():
    found = mirror(endpoints(subset("10.0.0.1", "fd00::1", waiting=("10.0.0.2",)), subset("10.0.0.3", port=81)))
    seen = [
        (each["addressType"], each["ports"][0]["port"], [e["addresses"][0] for e in each["endpoints"]])
        for each in found.slices
    ]
    assert seen == [
        ("IPv4", 80, ["10.0.0.1", "10.0.0.2"]),
        ("IPv6", 80, ["fd00::1"]),
        ("IPv4", 81, ["10.0.0.3"]),
    ]
    assert [e["conditions"]["ready"] for e in found.slices[0]["endpoints"]] == [True, False]


def test_a_slice_carries_labels_and_annotations_of_its_endpoints():
    annotations = {"a": "b", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
    (made,) = mirror(endpoints(subset("10.0.0.1"), labels={"l": "m"}, annotations=annotations)).slices
    metadata = made["metadata"]
    assert (metadata["generateName"], metadata["annotations"]) == ("s-", {"a": "b"})
    assert metadata["labels"] == {
        "l": "m",
        "kubernetes.io/service-name": "s",
        "endpointslice.kubernetes.io/managed-by": "endpointslicemirroring-controller.k8s.io",
    }
    assert metadata["ownerReferences"][0]["kind"] == "Endpoints"


def test_what_cannot_be_mirrored_is_counted():
    many = [f"10.0.{number // 250}.{number % 250 + 1}" for number in range(MOST_ADDRESSES + 3)]
    found = mirror(endpoints(subset("nowhere", *many)))
    assert (len(found.slices[0]["endpoints"]), found.invalid, found.skipped) == (MOST_ADDRESSES, 1, 3)


@pytest.mark.parametrize(
    ("metadata", "spec", "expected"),
    [
        ({}, {}, True),
        ({}, {"selector": {"a": "b"}}, False),
        ({}, None, False),
        ({"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}, {}, False),
        ({"annotations": {"control-plane.alpha.kubernetes.io/leader": "{}"}}, {}, False),
    ],
)
def test_only_endpoints_of_services_without_a_selector_are_mirrored(metadata, spec, expected):
    service = None if spec is None else {"spec": spec}
    assert is_mirrored(endpoints(**metadata), service) is expected


async def test_slices_follow_their_endpoints(tmp_path: Any):
    async with controlled(tmp_path, EndpointsMirroring) as client:

        async def addresses() -> list[str]:
            listed = await client.list(ENDPOINTSLICES, "default", label_selector="kubernetes.io/service-name=s")
            return sorted(e["addresses"][0] for each in listed["items"] for e in each["endpoints"])

        async def are(*wanted: str) -> bool:
            return await addresses() == list(wanted)

        await client.create(
            ENDPOINTS, {"metadata": {"name": "s", "namespace": "default"}, "subsets": [subset("10.1.0.1")]}
        )
        service = {"metadata": {"name": "s", "namespace": "default"}, "spec": {"ports": [PORT]}}
        await client.create(SERVICES, service)
        await eventually(lambda: are("10.1.0.1"))
        patch = {"subsets": [subset("10.1.0.2", "10.1.0.3")]}
        await client.patch(ENDPOINTS, "s", patch, namespace="default")
        await eventually(lambda: are("10.1.0.2", "10.1.0.3"))
        await client.patch(SERVICES, "s", {"spec": {"selector": {"a": "b"}}}, namespace="default")
        await eventually(are)
