from sparsam.apiserver.admission import Attributes
from sparsam.apiserver.admission.views import View
from sparsam.apiserver.authentication import ANONYMOUS
from sparsam.objects.customresources import resources_of
from sparsam.objects.kinds import DEPLOYMENTS, HORIZONTALPODAUTOSCALERS, PODS, find
from tests.support.customresources import OPEN, accepted, definition, version

OWNED = {"managedFields": [{"manager": "m", "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1"}]}


async def never(_resource, _objects, _desired):
    raise AssertionError("nothing is to be converted")


def view(resource, subresource="", operation="UPDATE", seen_as=None, convert=never):
    attributes = Attributes(operation, resource, "default", "x", ANONYMOUS, subresource)
    return View(attributes, seen_as or resource, convert)


def deployment(replicas):
    return {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "d"}, "spec": {"replicas": replicas}}


async def test_a_scale_is_shown_as_one_and_taken_back_into_its_object():
    scale = view(DEPLOYMENTS, "scale")
    shown = await scale.show(deployment(2))
    assert (shown["kind"], shown["spec"]) == ("Scale", {"replicas": 2})
    taken = await scale.take_back({**shown, "spec": {"replicas": 5}}, deployment(2))
    assert (taken["kind"], taken["spec"]["replicas"]) == ("Deployment", 5)


async def test_what_is_no_object_of_the_resource_stays_as_it_is():
    eviction = {"kind": "Eviction", "metadata": {"name": "p"}}
    parts = view(PODS, "eviction", "CREATE")
    assert await parts.show(eviction) is eviction
    assert await parts.take_back({**eviction, "x": 1}, eviction) == {**eviction, "x": 1}
    assert await parts.show(None) is None


async def test_another_version_is_shown_where_the_rule_names_it():
    old = find("autoscaling", "v1", "horizontalpodautoscalers")
    target = {"type": "Utilization", "averageUtilization": 70}
    obj = {
        "kind": "HorizontalPodAutoscaler",
        "apiVersion": "autoscaling/v2",
        "metadata": {"name": "h", **OWNED},
        "spec": {"maxReplicas": 3, "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]},
    }
    there = view(HORIZONTALPODAUTOSCALERS, seen_as=old)
    shown = await there.show(obj)
    assert (shown["apiVersion"], shown["spec"]["targetCPUUtilizationPercentage"]) == ("autoscaling/v1", 70)
    shown = {**shown, "metadata": {"name": "h"}, "spec": {**shown["spec"], "targetCPUUtilizationPercentage": 50}}
    taken = await there.take_back(shown, obj)
    assert taken["apiVersion"] == "autoscaling/v2"
    assert taken["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50
    assert taken["metadata"]["managedFields"] == OWNED["managedFields"]


async def test_versions_that_a_webhook_converts_are_converted_by_it():
    both = definition(version("v1", OPEN), version("v2", OPEN))
    both["spec"]["conversion"] = {"strategy": "Webhook"}
    first, second = sorted(resources_of(accepted(both)), key=lambda each: each.version)

    async def convert(resource, objects, desired):
        return [{**obj, "apiVersion": desired, "from": resource.version} for obj in objects]

    there = view(first, seen_as=second, convert=convert)
    obj = {"kind": "Widget", "apiVersion": "example.com/v1", "metadata": {"name": "w"}}
    shown = await there.show(obj)
    assert (shown["apiVersion"], shown["from"]) == ("example.com/v2", "v1")
    taken = await there.take_back(shown, obj)
    assert (taken["apiVersion"], taken["from"]) == ("example.com/v1", "v2")
