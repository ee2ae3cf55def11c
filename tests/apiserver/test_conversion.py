from sparsam.apiserver import conversion
from sparsam.objects.kinds import CONFIGMAPS, EVENTS, find

NEW_EVENTS = find("events.k8s.io", "v1", "events")
OLD_AUTOSCALERS = find("autoscaling", "v1", "horizontalpodautoscalers")
AUTOSCALERS = find("autoscaling", "v2", "horizontalpodautoscalers")


def test_one_resource_in_one_form_is_left_alone():
    obj = {"metadata": {"name": "c"}, "data": {"a": "b"}}
    value = conversion.encode(CONFIGMAPS, obj)
    assert conversion.decode(CONFIGMAPS, value, 3)["data"] == {"a": "b"}
    assert conversion.wire(CONFIGMAPS, value, 3).startswith(b'{"kind":"ConfigMap","apiVersion":"v1"')
    assert conversion.wire_items(CONFIGMAPS, [(value, 3)])[0].startswith(b'{"metadata":{"resourceVersion":"3"')


def test_a_new_event_is_stored_as_an_old_one_and_comes_back():
    event = {
        "metadata": {"name": "e"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "c",
        "regarding": {"kind": "Pod", "name": "p"},
        "note": "n",
    }
    value = conversion.encode(NEW_EVENTS, event)
    old = conversion.decode(EVENTS, value, 1)
    assert (old["message"], old["involvedObject"]["name"], old["reportingComponent"]) == ("n", "p", "c")
    new = conversion.decode(NEW_EVENTS, value, 1)
    assert {key: new[key] for key in event if key != "metadata"} == {
        key: event[key] for key in event if key != "metadata"
    }


def test_a_cpu_target_is_a_metric_in_the_newer_version():
    old = {"metadata": {"name": "h"}, "spec": {"maxReplicas": 3, "targetCPUUtilizationPercentage": 80}, "status": {}}
    value = conversion.encode(OLD_AUTOSCALERS, old)
    new = conversion.decode(AUTOSCALERS, value, 1)
    assert new["spec"]["metrics"] == [
        {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}
    ]
    assert conversion.decode(OLD_AUTOSCALERS, value, 1)["spec"] == old["spec"]


def test_what_the_older_version_cannot_say_survives_a_round_trip_in_annotations():
    memory = {
        "type": "Resource",
        "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 50}},
    }
    new = {
        "metadata": {"name": "h"},
        "spec": {"maxReplicas": 3, "metrics": [memory], "behavior": {"scaleDown": {}}},
        "status": {},
    }
    shown = conversion.decode(OLD_AUTOSCALERS, conversion.encode(AUTOSCALERS, new), 1)
    assert "autoscaling.alpha.kubernetes.io/metrics" in shown["metadata"]["annotations"]
    back = conversion.decode(AUTOSCALERS, conversion.encode(OLD_AUTOSCALERS, shown), 1)
    assert back["spec"] == new["spec"]
    assert "annotations" not in back["metadata"]
