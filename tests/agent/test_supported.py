"""Refusals by name."""

from __future__ import annotations

import re
from pathlib import Path

from sparsam.agent.supported import unsupported
from sparsam.objects.schema import definition
from tests.support.agent import container, pod


def test_an_ordinary_pod_is_not_refused():
    volumes = [{"name": "a", "emptyDir": {}}, {"name": "b", "projected": {"sources": [{"serviceAccountToken": {}}]}}]
    side = container("side", restartPolicy="Always")
    assert unsupported(pod(volumes=volumes, initContainers=[side])) == []


def test_each_missing_feature_is_named():
    spec = container(resources={"claims": [{"name": "c"}]}, securityContext={"windowsOptions": {"hostProcess": True}})
    refused = pod(
        spec,
        hostUsers=False,
        volumes=[{"name": "v", "nfs": {}}, {"name": "h", "emptyDir": {"medium": "HugePages"}}],
    )
    assert unsupported(refused) == [
        "spec.hostUsers: false (user namespaces)",
        "volume v: nfs",
        "volume h: emptyDir medium HugePages",
        "container main: resources.claims",
        "container main: securityContext.windowsOptions",
    ]


TABLE = (Path(__file__).parents[2] / "docs" / "pod-fields.md").read_text()
SECTIONS = {
    "PodSpec": ("PodSpec",),
    "Container and EphemeralContainer": ("Container", "EphemeralContainer"),
    "Security contexts": ("PodSecurityContext", "SecurityContext"),
    "VolumeMount": ("VolumeMount",),
    "Volume": ("Volume", "VolumeProjection"),
}


def test_the_table_of_fields_has_a_row_for_each_field_and_for_nothing_else():
    for title, definitions in SECTIONS.items():
        section = TABLE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]
        listed = {name for line in section.splitlines() for name in re.findall(r"`(\w+)`", line.partition(" | ")[0])}
        known = {name for each in definitions for name in definition(f"io.k8s.api.core.v1.{each}").fields}
        assert listed == known, title


def test_the_table_of_fields_names_tests_that_exist():
    tests = Path(__file__).parents[1]
    for line in TABLE.splitlines():
        if line.startswith("| `"):
            for name in re.findall(r"`([^`]+)`", line.split(" | ")[2]):
                assert (tests / name).exists() or (tests / "e2e" / "podfields" / f"test_{name}.py").exists(), name
