"""What is given to other clusters: definitions that are current, manifests that are valid, rights that suffice."""

import json
from pathlib import Path

import pytest
import yaml

from sparsam.controllers.scheduling.feed import NEEDED, POWER
from sparsam.metering.exposition import FAMILIES
from sparsam.objects import pipeline
from sparsam.objects.kinds import by_kind

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DOCUMENTS = [
    pytest.param(document, id=f"{path.name}:{document['kind']}:{document['metadata']['name']}")
    for path in sorted(DEPLOY.glob("*.yaml"))
    for document in yaml.safe_load_all(path.read_text())
]


def created(document):
    resource = by_kind(document["apiVersion"], document["kind"])
    context = pipeline.Context(
        now="2026-11-23T00:00:00Z",
        uid="00000000-0000-0000-0000-000000000000",
        name_suffix="bcdfg",
        namespace=document["metadata"].get("namespace", ""),
        field_validation="Strict",
    )
    decoded, warnings = pipeline.decode(resource, yaml.safe_dump(document).encode(), "application/yaml", context)
    assert warnings == []
    return pipeline.create(resource, decoded, context)[0]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_manifests_are_accepted(document):
    assert created(document)["metadata"]["name"] == document["metadata"]["name"]


def test_the_definitions_are_current(load_tool):
    assert (DEPLOY / "crds.yaml").read_text() == load_tool("build_crds").render(), "run: python tools/build_crds.py"


def rights(kind, name):
    [role] = [
        each.values[0]
        for each in DOCUMENTS
        if each.values[0]["kind"] == kind and each.values[0]["metadata"]["name"] == name
    ]
    return {
        (group, name, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for name in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_meter_has_no_right_that_it_does_not_need():
    assert rights("ClusterRole", "sparsam-meter") == {
        ("", "nodes", "get"),
        ("", "pods", "list"),
        ("", "pods", "watch"),
        ("power.sparsam.dev", "nodepowers", "create"),
        ("power.sparsam.dev", "nodepowers/status", "patch"),
    }


def test_the_scheduler_has_the_rights_that_it_needs_and_no_others():
    followed = {(each.group, each.plural, verb) for each in (*NEEDED, *POWER) for verb in ("list", "watch")}
    assert rights("ClusterRole", "sparsam-scheduler") == followed | {
        ("", "pods", "get"),
        ("", "pods", "delete"),
        ("", "pods/binding", "create"),
        ("", "pods/status", "patch"),
        ("", "persistentvolumes", "update"),
        ("", "persistentvolumeclaims", "patch"),
        ("", "events", "create"),
        ("", "events", "patch"),
    }
    # Of ConfigMaps it sees its own namespace's server models alone.
    assert {right for right in rights("Role", "sparsam-scheduler") if right[1] == "configmaps"} == {
        ("", "configmaps", "list"),
        ("", "configmaps", "watch"),
    }


def test_the_dashboard_asks_for_series_that_exist():
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    assert expressions
    for expression in expressions:
        assert any(name in expression for name in FAMILIES), expression
