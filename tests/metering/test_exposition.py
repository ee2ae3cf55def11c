import re
from dataclasses import replace

import pytest

from sparsam.metering.exposition import FAMILIES, as_json, node_power_status, prometheus
from tests.support.metering import FakeMachine, pod

LINE = re.compile(r"^(\w+)\{(.*)\} (\S+)$")


@pytest.fixture
async def metered(tmp_path):
    machine = FakeMachine(tmp_path)
    machine.pods = [pod("web", machine.uid("a"), machine.container_id("a__x"), "nginx")]
    machine.run(1.0, a=0.0, a__x=0.0)
    meter = machine.meter()
    await meter.meter()
    machine.run(10.0, system=2.0, a=20.0, a__x=20.0)
    return await meter.meter()


def samples(text):
    found = [LINE.match(line).groups() for line in text.splitlines() if not line.startswith("#")]
    return [(name, dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value)) for name, labels, value in found]


def test_the_parts_add_up_to_the_node(metered):
    found = samples(prometheus(metered))
    parts = sum(value for name, _, value in found if name == "sparsam_node_part_watts")
    [(_, labels, watts)] = [each for each in found if each[0] == "sparsam_node_power_watts"]
    assert parts == pytest.approx(watts)
    assert (labels["source"], labels["provenance"]) == ("model", "estimated")


def test_pods_add_up_to_their_part(metered):
    found = samples(prometheus(metered))
    pods = sum(value for name, _, value in found if name == "sparsam_pod_power_watts")
    [part] = [value for name, labels, value in found if name == "sparsam_node_part_watts" and labels["part"] == "pods"]
    assert pods == pytest.approx(part)


def test_containers_are_told_only_when_asked_for(metered):
    assert "sparsam_container_power_watts" not in prometheus(metered)
    assert 'container="nginx"' in prometheus(metered, containers=True)


def test_every_family_is_described_and_counters_are_called_so(metered):
    text = prometheus(metered)
    for name, (kind, _) in FAMILIES.items():
        assert (kind == "counter") == name.endswith("_total")
        if name in text:
            assert f"# TYPE {name} {kind}\n" in text


def test_a_nodes_status_says_where_its_watts_come_from(metered):
    status = node_power_status(metered)
    assert status["provenance"] == "estimated"
    assert "model:" in status["note"]
    assert status["watts"] == pytest.approx(
        status["idleWatts"] + status["podWatts"] + status["systemWatts"] + status["unattributedWatts"], abs=0.01
    )
    assert [each["name"] for each in status["pods"]] == ["web"]


def test_the_json_adds_what_pods_use(metered):
    [web] = as_json(metered)["pods"]
    assert web["cpuCores"] == pytest.approx(2.0)
    assert web["containers"] == {"nginx": pytest.approx(web["watts"])}


def test_nodes_that_share_a_machine_say_so(metered):
    shared = replace(metered, machine_nodes=3)
    assert "which 3 nodes share" in node_power_status(shared)["note"]
    assert "share" not in node_power_status(metered)["note"]
