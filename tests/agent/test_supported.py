"""Refusals by name."""

from __future__ import annotations

from sparsam.agent.supported import unsupported
from tests.support.agent import container, pod


def test_an_ordinary_pod_is_not_refused():
    volumes = [{"name": "a", "emptyDir": {}}, {"name": "b", "projected": {"sources": [{"serviceAccountToken": {}}]}}]
    side = container("side", restartPolicy="Always")
    assert unsupported(pod(volumes=volumes, initContainers=[side])) == []


def test_each_missing_feature_is_named():
    rule = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [1]}}
    spec = container(restartPolicyRules=[rule], securityContext={"seLinuxOptions": {"level": "x"}})
    refused = pod(
        spec,
        hostUsers=False,
        volumes=[{"name": "v", "nfs": {}}, {"name": "h", "emptyDir": {"medium": "HugePages"}}],
    )
    assert unsupported(refused) == [
        "spec.hostUsers: false (user namespaces)",
        "volume v: nfs",
        "volume h: emptyDir medium HugePages",
        "container main: restartPolicyRules other than Restart",
        "container main: securityContext.seLinuxOptions",
    ]
