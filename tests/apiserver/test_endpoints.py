import pytest

from sparsam.apiserver.endpoints import at, ready_endpoints, resolve
from sparsam.errors import NotFound, ServiceUnavailable
from sparsam.objects.kinds import SERVICES


class Objects:
    """A Service and what a test says of its endpoints."""

    def __init__(self, service=None, *slices):
        self._service, self._slices = service, slices

    async def find(self, resource, _name, _namespace=""):
        return self._service if resource is SERVICES else None

    async def items(self, _resource, _namespace=""):
        return list(self._slices)


def service(**spec):
    return {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 443, "name": "https"}], **spec}}


def endpoint_slice(*addresses, name="s", port=("https", 8443), kind="IPv4", **conditions):
    return {
        "metadata": {"labels": {"kubernetes.io/service-name": name}},
        "addressType": kind,
        "ports": [{"name": port[0], "port": port[1]}],
        "endpoints": [{"addresses": list(addresses), "conditions": conditions}],
    }


async def test_a_port_leads_to_a_ready_endpoint():
    known = Objects(service(), endpoint_slice("10.0.0.1"), endpoint_slice("10.0.0.2", ready=False))
    assert await resolve(known, "d", "s", 443) == ("10.0.0.1", 8443)


async def test_other_services_ports_and_kinds_of_addresses_do_not_count():
    known = Objects(
        service(),
        endpoint_slice("10.0.0.1", name="other"),
        endpoint_slice("10.0.0.2", port=("http", 80)),
        endpoint_slice("host.example.com", kind="FQDN"),
        endpoint_slice("169.254.1.1"),
    )
    with pytest.raises(ServiceUnavailable, match='no endpoints available for service "s"'):
        await ready_endpoints(known, "d", "s", "https")


async def test_an_external_name_is_where_it_says():
    known = Objects(service(type="ExternalName", externalName="h.example.com"))
    assert await resolve(known, "d", "s", 443) == ("h.example.com", 443)


async def test_what_is_not_there_is_named():
    with pytest.raises(NotFound, match='service "s" not found'):
        await resolve(Objects(), "d", "s", 443)
    with pytest.raises(ServiceUnavailable, match='no service port 80 found for service "s"'):
        await resolve(Objects(service()), "d", "s", 80)


def test_addresses_in_urls():
    assert (at("10.0.0.1", 1), at("fd00::1", 1)) == ("10.0.0.1:1", "[fd00::1]:1")
