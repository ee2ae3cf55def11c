"""Rules of containers: names, ports, environment, mounts, probes, resources, security."""

import pytest

from tests.support.pods import checked, pod, with_container

C = "spec.containers[0]"
DOWNWARD = "valueFrom.fieldRef.fieldPath"


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ({"name": ""}, ("Required", f"{C}.name")),
        ({"image": " i"}, ("Invalid", f"{C}.image")),
        ({"ports": [{}]}, ("Required", f"{C}.ports[0].containerPort")),
        ({"ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]},
         ("Duplicate", f"{C}.ports[1].name")),
        ({"ports": [{"containerPort": 1, "hostPort": 9}, {"containerPort": 2, "hostPort": 9}]},
         ("Duplicate", f"{C}.ports[1].hostPort")),
        ({"env": [{"name": "a=b"}]}, ("Invalid", f"{C}.env[0].name")),
        ({"env": [{"name": "A", "value": "1", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
         ("Invalid", f"{C}.env[0].valueFrom")),
        ({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.bogus"}}}]},
         ("Invalid", f"{C}.env[0].{DOWNWARD}")),
        ({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels"}}}]},
         ("NotSupported", f"{C}.env[0].{DOWNWARD}")),
        ({"envFrom": [{}]}, ("Invalid", f"{C}.envFrom")),
        ({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}, ("NotFound", f"{C}.volumeMounts[0].name")),
        ({"livenessProbe": {}}, ("Required", f"{C}.livenessProbe")),
        ({"livenessProbe": {"exec": {"command": ["a"]}, "successThreshold": 2}},
         ("Invalid", f"{C}.livenessProbe.successThreshold")),
        ({"readinessProbe": {"exec": {"command": ["a"]}, "terminationGracePeriodSeconds": 1}},
         ("Invalid", f"{C}.readinessProbe.terminationGracePeriodSeconds")),
        ({"lifecycle": {"preStop": {"sleep": {"seconds": 99}}}}, ("Invalid", f"{C}.lifecycle.preStop.sleep")),
        ({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}, ("Invalid", f"{C}.resources.requests")),
        ({"resources": {"requests": {"x.io/gpu": "1"}}}, ("Required", f"{C}.resources.limits")),
        ({"resources": {"limits": {"x.io/gpu": "500m"}}}, ("Invalid", f"{C}.resources.limits[x.io/gpu]")),
        ({"resources": {"limits": {"hugepages-2Mi": "4Mi"}}}, ("Forbidden", f"{C}.resources")),
        ({"resources": {"limits": {"hugepages-2Mi": "3Mi", "cpu": "1"}}},
         ("Invalid", f"{C}.resources.limits[hugepages-2Mi]")),
        ({"securityContext": {"allowPrivilegeEscalation": False, "privileged": True}},
         ("Invalid", f"{C}.securityContext")),
        ({"securityContext": {"seccompProfile": {"type": "Localhost"}}},
         ("Required", f"{C}.securityContext.seccompProfile.localhostProfile")),
        ({"resizePolicy": [{"resourceName": "disk", "restartPolicy": "NotRequired"}]},
         ("NotSupported", f"{C}.resizePolicy")),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(fields, cause):
    assert cause in checked(with_container(**fields))[1]


def test_only_sidecars_among_init_containers_have_probes():
    probe = {"exec": {"command": ["a"]}}
    init = [{"name": "i", "image": "i", "livenessProbe": probe}]
    assert ("Forbidden", "spec.initContainers[0].livenessProbe") in checked(pod(initContainers=init))[1]
    init[0]["restartPolicy"] = "Always"
    assert checked(pod(initContainers=init))[1] == []


def test_names_are_unique_over_all_containers():
    init = [{"name": "c", "image": "i"}]
    assert checked(pod(initContainers=init))[1] == [("Duplicate", "spec.initContainers[0].name")]


def test_annotations_may_be_chosen_by_key():
    env = [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['a/b']"}}}]
    assert checked(with_container(env=env))[1] == []
