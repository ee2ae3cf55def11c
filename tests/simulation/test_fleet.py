import re
from pathlib import Path

import pytest
import yaml

from sparsam.power.catalogue import profiles
from sparsam.scheduling.snapshot import Snapshot
from sparsam.simulation.fleet import FleetError, built_in, read_fleet

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "fleets").glob("*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_fleets(path):
    fleet = read_fleet(yaml.safe_load(path.read_text()))
    assert len(fleet.nodes()) == fleet.size > 1


@pytest.mark.parametrize(
    ("name", "size", "kinds"), [("rise-215", 215, 10), ("mixed-2000", 2000, 24), ("uniform-7", 7, 1)]
)
def test_built_in_fleets_have_their_servers(name, size, kinds):
    nodes = built_in(name).nodes()
    assert len(nodes) == len({node["metadata"]["name"] for node in nodes}) == size
    labels = [node["metadata"]["labels"] for node in nodes]
    assert len({each["node.kubernetes.io/instance-type"] for each in labels}) == kinds
    assert len({each["sparsam.dev/rack"] for each in labels}) == -(-size // 20)


def test_half_of_rise_has_a_performance_bios():
    kinds = [node["metadata"]["labels"]["node.kubernetes.io/instance-type"] for node in built_in("rise-215").nodes()]
    assert sum(kind.endswith("-performance") for kind in kinds) == 107


def test_a_server_is_what_its_profile_says_unless_stated():
    description = {"servers": [{"model": "epyc-7742-2s", "memory": "1Ti", "speed": 1.5, "sleep": "none"}]}
    [node] = read_fleet(description).nodes()
    assert node["status"]["capacity"] == {"cpu": "256", "memory": "1Ti", "pods": "110"}
    snapshot = Snapshot()
    snapshot.set_node(node)
    [profile] = [each for each in profiles() if each.name == "epyc-7742-2s"]
    assert snapshot.power.level_watts(slice(0, 1), 0)[0] == pytest.approx(profile.model.watts(0.0))
    assert snapshot.power.speed[0] == 1.5
    assert "power.sparsam.dev/sleep-state" not in node["metadata"]["annotations"]


def test_cores_are_as_fast_as_their_operations_beside_the_median_server():
    counts = ({"model": "xeon-e5-2660-2s", "count": 3}, {"model": "epyc-7742-1s", "count": 2})
    speeds = {
        node["metadata"]["labels"]["node.kubernetes.io/instance-type"]: float(
            node["metadata"]["annotations"]["power.sparsam.dev/core-speed"]
        )
        for node in read_fleet({"servers": list(counts)}).nodes()
    }
    assert speeds["xeon-e5-2660-2s"] == 1.0
    assert speeds["epyc-7742-1s"] == pytest.approx(1.3, abs=0.1)


def test_a_server_without_a_profile_states_its_watts_and_size():
    entry = {"idleWatts": 90, "maxWatts": 310, "cpu": "64", "memory": "256Gi", "resources": {"nvidia.com/gpu": 4}}
    [node] = read_fleet(
        {"name": "mine", "servers": [{**entry, "taints": [{"key": "a", "effect": "NoSchedule"}]}]}
    ).nodes()
    assert node["metadata"]["annotations"]["power.sparsam.dev/max-watts"] == "310"
    assert node["status"]["capacity"]["nvidia.com/gpu"] == "4"
    assert node["spec"]["taints"] == [{"key": "a", "effect": "NoSchedule"}]


WATTS = {"idleWatts": 5, "maxWatts": 9, "cpu": 4, "memory": "1Gi"}


@pytest.mark.parametrize(
    ("description", "message"),
    [
        ([], "a fleet is a mapping"),
        ({}, "servers: must be a list"),
        ({"servers": []}, "servers: must be a list"),
        ({"servers": [3]}, "servers[0]: must be a mapping"),
        ({"nodes": [], "servers": [WATTS]}, "nodes: unknown field"),
        ({"servers": [WATTS, {"modl": 1}]}, "servers[1].modl: unknown field"),
        ({"servers": [{"model": "epyc-7742"}]}, "servers[0].model: unknown server model 'epyc-7742'; do you mean epyc-7742-"),
        ({"servers": [{"model": "nothing like it"}]}, "see: sparsam models list"),
        ({"servers": [{**WATTS, "count": 0}]}, "servers[0].count: 0 is not a whole number above zero"),
        ({"servers": [{**WATTS, "maxWatts": 3}]}, "servers[0].maxWatts: 3 is below idleWatts 5"),
        ({"servers": [{**WATTS, "idleWatts": float("nan")}]}, "servers[0].idleWatts: nan is not a number above zero"),
        ({"servers": [{**WATTS, "cpu": "many"}]}, "servers[0].cpu: not a quantity: 'many'"),
        ({"servers": [{**WATTS, "memory": "-1Gi"}]}, "servers[0].memory: '-1Gi' is not above zero"),
        ({"servers": [{"idleWatts": 5, "maxWatts": 9, "cpu": 1}]}, "servers[0].memory: must be stated"),
        ({"servers": [{"cpu": 1}]}, "servers[0]: needs a model, or idleWatts and maxWatts"),
        ({"servers": [{**WATTS, "sleep": "deep"}]}, "servers[0].sleep: 'deep' is none of off, suspended, none"),
        ({"servers": [{**WATTS, "count": 10**7}]}, "are more than 1000000"),
        ({"rackSize": 0, "servers": [WATTS]}, "rackSize: 0 is not"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_by_field(description, message):
    with pytest.raises(FleetError, match=re.escape(message)):
        read_fleet(description)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(FleetError, match="known are rise-215, mixed-2000, uniform-N and files"):
        built_in("rise-216")
