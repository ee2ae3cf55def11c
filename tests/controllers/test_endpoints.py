from sparsam.controllers.endpoints import ZONE_LABEL, EndpointsController
from sparsam.controllers.serviceaccount import ServiceAccountController
from sparsam.objects.kinds import ENDPOINTSLICES, NODES, PODS, SERVICEACCOUNTS, SERVICES
from tests.support.controllers import READY, controlled, eventually


def node(name, zone):
    metadata = {"name": name, "labels": {ZONE_LABEL: zone}}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata}


def pod(name, on, **labels):
    spec = {"nodeName": on, "containers": [{"name": "c", "image": "i"}]}
    metadata = {"name": name, "namespace": "default", "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def service(name, selector):
    spec = {"selector": selector, "ports": [{"port": 80}], "trafficDistribution": "PreferSameZone"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


async def test_endpoints_follow_labels_of_pods_and_zones_of_nodes(tmp_path):
    async with controlled(tmp_path, ServiceAccountController, EndpointsController) as client:
        await eventually(lambda: client.get(SERVICEACCOUNTS, "default", "default"))
        await client.create(NODES, node("n1", "z1"))
        await client.create(NODES, node("n2", "z2"))
        # Two Services whose selectors differ in what comes first.
        await client.create(SERVICES, service("both", {"app": "x"}))
        await client.create(SERVICES, service("one", {"app": "x", "tier": "a"}))
        for name, on, tier in (("p1", "n1", "a"), ("p2", "n2", "b")):
            await client.create(PODS, pod(name, on, app="x", tier=tier))
            status = {"phase": "Running", "podIPs": [{"ip": f"10.0.0.{name[1]}"}], "conditions": [READY]}
            await client.patch(PODS, name, {"status": status}, namespace="default", subresource="status")

        async def seen(of):
            listed = await client.list(ENDPOINTSLICES, "default", label_selector=f"kubernetes.io/service-name={of}")
            endpoints = [each for piece in listed["items"] for each in piece.get("endpoints") or ()]
            hints = [(each.get("hints") or {}).get("forZones", [{}])[0].get("name") for each in endpoints]
            return {each["targetRef"]["name"]: hint for each, hint in zip(endpoints, hints, strict=True)}

        def shows(of, **wanted):
            async def look():
                return await seen(of) == wanted

            return eventually(look, f"{of}: {wanted}")

        await shows("both", p1="z1", p2="z2")
        await shows("one", p1="z1")
        await client.patch(NODES, "n1", {"metadata": {"labels": {ZONE_LABEL: "z3"}}})
        await shows("both", p1="z3", p2="z2")
        await shows("one", p1="z3")
        await client.patch(PODS, "p1", {"metadata": {"labels": {"tier": "b"}}}, namespace="default")
        await shows("one")
        await client.patch(PODS, "p2", {"metadata": {"labels": {"tier": "a"}}}, namespace="default")
        await shows("one", p2="z2")
