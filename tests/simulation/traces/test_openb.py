import csv
import math

import numpy as np
import pytest

from sparsam.scheduling.demand import compile_pod
from sparsam.scheduling.placement import PendingPod, Placer
from sparsam.scheduling.snapshot import Snapshot
from sparsam.simulation.fleet import BadFleet
from sparsam.simulation.trace import BadTrace
from sparsam.simulation.traces.openb import read_openb_nodes, read_openb_pods
from tests.conftest import DATA

PODS = "pod_name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_s,deletion_s,scheduled_s"
NODES = "node_name,cpu_milli,memory_mib,gpu_count,gpu_model"


def read(*lines: str, header: str = PODS, **options):
    return read_openb_pods(csv.DictReader([header, *lines]), "pods.csv", **options)


def nodes(*lines: str):
    return read_openb_nodes(csv.DictReader([NODES, *lines]), "nodes.csv")


def test_services_and_batch_are_told_apart_and_stay_from_start_to_deletion():
    found = read(
        "a,1000,1024,0,0,,LS,Running,0,100,10",
        "b,1000,1024,0,0,,BE,Running,5,100,20",
        "c,1000,1024,0,0,,Guaranteed,Pending,7,57,",
        "d,1000,1024,0,0,,Burstable,Running,9,,9",
    ).trace
    assert found.batch.tolist() == [False, True, False, True]
    assert found.duration_seconds.tolist() == [90.0, 80.0, 50.0, math.inf]
    assert found.arrival_seconds.tolist() == [0.0, 5.0, 7.0, 9.0]
    assert [found.templates[number]["spec"]["priority"] for number in found.template] == [1000, 0, 1000, 100]


def test_cards_are_whole_or_a_share_of_one():
    found = read("a,1,1,0,0,,LS,Running,0,1,0", "b,1,1,1,460,,LS,Running,0,1,0", "c,1,1,8,1000,,LS,Running,0,1,0").trace
    requests = [dict(compile_pod(found.templates[number]).requests) for number in found.template]
    assert [each.get("nvidia.com/gpu") for each in requests] == [None, None, 8]
    assert [each.get("sparsam.dev/gpu-milli") for each in requests] == [None, 460, 8000]


def test_a_wanted_model_of_card_is_a_node_affinity_that_decides():
    found = read("a,1000,1024,1,500,T4|P100|T4,LS,Running,0,1,0").trace
    fleet = nodes("plain,64000,1024000,0,", "g2,64000,1024000,2,G2", "t4,64000,1024000,2,T4")
    snapshot = Snapshot()
    for node in fleet.node_objects():
        snapshot.set_node(node)
    [bound] = Placer(snapshot).schedule([PendingPod("default/a", compile_pod(found.templates[0]))]).binds
    assert bound.node == "t4"


def test_shares_and_whole_cards_never_add_up_to_more_than_there_are():
    found = read("a,1,1,1,600,,LS,Running,0,1,0", "b,1,1,1,1000,,LS,Running,0,1,0").trace
    snapshot = Snapshot()
    snapshot.set_node(nodes("t4,64000,1024000,2,T4").node_objects()[0])
    queue = [PendingPod(f"default/{row}", compile_pod(found.templates[row])) for row in (0, 1, 1)]
    queue = [PendingPod(f"default/p{place}", each.demand) for place, each in enumerate(queue)]
    plan = Placer(snapshot).schedule(queue)
    assert [each.pod for each in plan.rejections] == ["default/p2"]


def test_files_without_times_come_a_second_apart_and_stay():
    found = read("a,1,1,0,0", "b,1,1,0,0", header="pod_name,cpu_milli,memory_mib,num_gpu,gpu_milli").trace
    assert found.arrival_seconds.tolist() == [0.0, 1.0]
    assert np.isinf(found.duration_seconds).all()


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("a,x,1,0,0,,LS,Running,0,1,0", "row 1, cpu_milli: 'x' is not a number"),
        ("a,1,nan,0,0,,LS,Running,0,1,0", "row 1, memory_mib: nan is not a finite"),
        ("a,1,1,2,500,,LS,Running,0,1,0", "row 1, gpu_milli: 500 of each of 2 cards"),
        ("a,1,1,1.5,1000,,LS,Running,0,1,0", "row 1, gpu_milli: 1000 of each of 1.5 cards"),
        ("a,1,1,0,0,,XX,Running,0,1,0", "row 1, qos: 'XX' is none of LS"),
        ("a,1,1,0,0,,LS,Running,10,20,5", "row 1, scheduled_s: 5 is before creation_s 10"),
        ("a,1,1,0,0,,LS,Running,10,20,30", "row 1, deletion_s: 20 is before the start at 30"),
        ("a,1,1,0,0,,LS,Pending,10,5,", "row 1, deletion_s: 5 is before the start at 10"),
    ],
)
def test_a_wrong_row_is_named_and_left_out_if_lenient(line, complaint):
    with pytest.raises(BadTrace, match=complaint):
        read(line)
    assert read(line, "a,1,1,0,0,,LS,Running,0,1,0", lenient=True).skipped == 1


def test_nodes_that_overlap_or_contradict_themselves_are_refused():
    with pytest.raises(BadFleet, match=r"nodes\[1\].metadata.name: node a is already in nodes\[0\]"):
        nodes("a,1000,1024,0,", "a,1000,1024,0,")
    with pytest.raises(BadTrace, match=r"nodes.csv: row 1, gpu_model: '' for 2 cards"):
        nodes("a,1000,1024,2,")
    with pytest.raises(BadTrace, match=r"nodes.csv: the header: no column cpu_milli, memory_mib, gpu_count, gpu_model"):
        read_openb_nodes([{"node_name": "a"}], "nodes.csv")


@pytest.mark.needs_data
def test_the_recorded_cluster_has_the_figures_that_its_publishers_state():
    with (DATA / "openb_nodes.csv").open() as lines:
        fleet = read_openb_nodes(csv.DictReader(lines), "openb_nodes.csv")
    with (DATA / "openb_pods_default.csv").open() as lines:
        found = read_openb_pods(csv.DictReader(lines), "openb_pods_default.csv").trace
    amounts = fleet.amounts()
    assert len(amounts) == 1523
    assert fleet.cores() == 125_514
    assert sum(each.get("nvidia.com/gpu", 0) for each in amounts) == 6212
    found.check_fits(amounts)
    assert found.in_order(1.0).requested_cores.sum() / fleet.cores() == pytest.approx(0.68, abs=0.005)
    busy = found.between(115 * 86_400.0, 149 * 86_400.0)
    assert busy.mean_requested_cores() / fleet.cores() == pytest.approx(0.0038, abs=0.0008)


@pytest.mark.needs_data
def test_every_recorded_variant_is_read():
    for path in sorted(DATA.glob("openb_pods_*.csv")):
        with path.open() as lines:
            assert len(read_openb_pods(csv.DictReader(lines), path.name).trace) >= 7064
