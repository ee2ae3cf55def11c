from collections import Counter
from pathlib import Path

import pytest
import yaml

from sparsam.power.catalogue import profiles
from sparsam.power.model import decode
from sparsam.power.server import MODEL_ANNOTATION
from sparsam.scheduling.powercolumns import SPEED_ANNOTATION
from sparsam.scheduling.snapshot import Snapshot
from sparsam.simulation.fleet import RACK_LABEL, ZONE_LABEL, BadFleet, Fleet, find_profile, from_nodes, parse_fleet

EXAMPLES = Path(__file__).parents[2] / "examples" / "fleets"
GOLD = {"model": "xeon-gold-6152-2s", "count": 2, "name": "gold"}


def fleet(*groups, **fields) -> Fleet:
    return parse_fleet({"name": "mine", "groups": list(groups), **fields}, "mine.yaml")


def labels(found: Fleet, name: str) -> list[str]:
    return [node["metadata"]["labels"].get(name) for node in found.node_objects()]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_examples_are_fleets_that_can_be_scheduled_on(path):
    found = parse_fleet(yaml.safe_load(path.read_text()), path.name)
    snapshot = Snapshot()
    for node in found.node_objects():
        snapshot.set_node(node)
    assert snapshot.node_count() == len(found.node_objects()) >= 40
    assert found.cores() > 1000


def test_a_node_says_what_its_server_is():
    node = fleet({**GOLD, "memory": "384Gi", "reserved": {"cpu": "500m", "memory": "1Gi"}}).node_objects()[0]
    assert node["metadata"]["labels"] == {
        "kubernetes.io/hostname": "gold-001",
        "node.kubernetes.io/instance-type": "xeon-gold-6152-2s",
        "sparsam.dev/rack": "rack-01",
    }
    assert node["status"]["capacity"] == {"cpu": "88", "memory": f"{384 << 20}Ki", "pods": "110"}
    assert node["status"]["allocatable"] == {"cpu": "87500m", "memory": f"{(383 << 20) - (100 << 10)}Ki", "pods": "110"}
    assert decode(node["metadata"]["annotations"][MODEL_ANNOTATION].encode()) == find_profile("xeon-gold-6152-2s").model


def test_memory_is_the_catalogues_where_none_is_stated():
    assert fleet(GOLD).node_objects()[0]["status"]["capacity"]["memory"] == f"{192 << 20}Ki"


def test_cards_are_counted_whole_and_in_thousandths():
    found = fleet({**GOLD, "gpus": 4, "gpuModel": "T4", "labels": {"tier": "a"}, "taints": [{"key": "gpu"}]})
    node = found.node_objects()[0]
    assert found.amounts()[0]["nvidia.com/gpu"] == 4
    assert found.amounts()[0]["sparsam.dev/gpu-milli"] == 4000
    assert node["metadata"]["labels"]["nvidia.com/gpu.product"] == "T4"
    assert node["metadata"]["labels"]["tier"] == "a"
    assert node["spec"] == {"taints": [{"key": "gpu"}]}


def test_core_speed_is_relative_to_the_core_in_the_middle_of_the_fleet():
    ops = {one.name: one.ssj_ops_per_thread for one in profiles()}
    found = fleet(GOLD, {"model": "epyc-7742-2s", "count": 2}, {"model": "xeon-e5-2660-2s", "count": 3})
    speeds = {
        node["metadata"]["labels"]["node.kubernetes.io/instance-type"]: node["metadata"]["annotations"][
            SPEED_ANNOTATION
        ]
        for node in found.node_objects()
    }
    # 96, 176 and 512 threads by rising speed: the middle one is in the largest group.
    assert float(speeds["epyc-7742-2s"]) == 1.0
    assert float(speeds["xeon-e5-2660-2s"]) == pytest.approx(ops["xeon-e5-2660-2s"] / ops["epyc-7742-2s"], rel=1e-3)


def test_racks_are_filled_in_order_and_dealt_out_to_zones():
    found = fleet({**GOLD, "count": 5}, nodesPerRack=2, zones=["a", "b"])
    assert labels(found, RACK_LABEL) == ["rack-01", "rack-01", "rack-02", "rack-02", "rack-03"]
    assert labels(found, ZONE_LABEL) == ["a", "a", "b", "b", "a"]
    assert labels(fleet(GOLD, nodesPerRack=0), RACK_LABEL) == [None, None]


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ([], "mine: the document: Expected `object`, got `array`"),
        ({"name": "x"}, "mine: groups: a fleet without nodes"),
        ({"name": "x", "groups": [{**GOLD, "count": 0}]}, r"groups\[0\].count: Expected `int` >= 1"),
        ({"name": "x", "groups": [{**GOLD, "count": "two"}]}, r"groups\[0\].count: Expected `int`, got `str`"),
        ({"name": "x", "groups": [{**GOLD, "cuont": 3}]}, r"groups\[0\]: Object contains unknown field `cuont`"),
        (
            {"name": "x", "groups": [{**GOLD, "model": "xeon-gold-6125-2s"}]},
            r"groups\[0\].model: no 'xeon-gold-6125-2s'; did you mean .*xeon-gold-6152-2s",
        ),
        ({"name": "x", "groups": [{**GOLD, "model": "pdp-11"}]}, r"groups\[0\].model: no 'pdp-11'$"),
        ({"name": "x", "groups": [GOLD, GOLD]}, r"groups\[1\].name: node gold-001 is already in groups\[0\].name"),
        ({"name": "x", "groups": [{**GOLD, "name": "Gold"}]}, r"groups\[0\].name: 'Gold-002': a lowercase RFC 1123"),
        ({"name": "x", "groups": [{**GOLD, "memory": "lots"}]}, r"groups\[0\].memory: not a quantity: 'lots'"),
        ({"name": "x", "groups": [{**GOLD, "memory": "64Mi"}]}, r"groups\[0\].reserved.memory: nothing is left"),
        ({"name": "x", "groups": [{**GOLD, "reserved": {"cpu": "88"}}]}, r"groups\[0\].reserved.cpu: nothing is left"),
        ({"name": "x", "groups": [{**GOLD, "gpuModel": "T4"}]}, r"groups\[0\].gpuModel: a model, but no gpus"),
        ({"name": "x", "groups": [GOLD], "nodesPerRack": 0, "zones": ["a"]}, "zones: racks are dealt out"),
        ({"name": "x", "nodes": [{"metadata": {}}]}, r"nodes\[0\].metadata.name: a node has a name"),
        ({"name": "x", "nodes": [{"metadata": {"name": "a"}}]}, r"nodes\[0\].status.allocatable: a states no cpu"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(document, complaint):
    with pytest.raises(BadFleet, match=complaint):
        parse_fleet(document, "mine")


def test_the_nodes_of_a_cluster_are_a_fleet():
    node = {
        "metadata": {"name": "n1", "uid": "u", "annotations": {SPEED_ANNOTATION: "1.5"}, "labels": {RACK_LABEL: "r7"}},
        "spec": {"unschedulable": True, "podCIDR": "10.0.0.0/24"},
        "status": {"allocatable": {"cpu": "3500m", "memory": "1Gi", "pods": "110"}, "images": [{"names": ["a"]}]},
    }
    found = from_nodes([node, {**node, "metadata": {"name": "n2"}}], "live")
    assert found.cores() == 7.0
    first, second = found.node_objects()
    assert first["metadata"] == {key: value for key, value in node["metadata"].items() if key != "uid"}
    assert first["spec"] == {"unschedulable": True}
    assert "images" not in first["status"]
    assert second["metadata"]["labels"] == {}


def test_what_are_no_nodes_is_refused():
    with pytest.raises(BadFleet, match=r"live: nodes\[0\]: Expected `object`"):
        from_nodes(["n1"], "live")
    node = {"metadata": {"name": "n1"}, "status": {"allocatable": {"cpu": "1x", "memory": "1Gi", "pods": "1"}}}
    with pytest.raises(BadFleet, match=r"nodes\[0\].status.allocatable: cpu: not a quantity: '1x'"):
        from_nodes([node], "live")


def test_equal_fleets_give_equal_nodes():
    assert fleet(GOLD).node_objects() == fleet(GOLD).node_objects()
    assert Counter(labels(fleet(GOLD), RACK_LABEL)) == {"rack-01": 2}


def test_a_group_says_how_its_servers_sleep_and_how_fast_they_are():
    group = {"model": "epyc-7742-2s", "count": 1, "sleep": "off", "speed": 1.5}
    [node] = parse_fleet({"name": "f", "groups": [group]}, "f").node_objects()
    annotations = node["metadata"]["annotations"]
    assert (annotations["power.sparsam.dev/sleep-state"], annotations["power.sparsam.dev/core-speed"]) == ("off", "1.5")
    for field, value, why in (("sleep", "deep", "'deep' is none of off, suspended"), ("speed", -1.0, "-1 is no speed")):
        with pytest.raises(BadFleet, match=f"groups\\[0\\].{field}: {why}"):
            parse_fleet({"name": "f", "groups": [{**group, field: value}]}, "f")
