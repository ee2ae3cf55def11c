from sparsam.simulation.reach import VOLUME_LABEL, Reach, Volumes
from tests.support.scheduling import node, pod

NODES = [node(f"n{n}", labels={"zone": "ab"[n % 2], "kubernetes.io/hostname": f"n{n}"}) for n in range(4)]


def known(key, *values):
    claim = {"metadata": {"namespace": "default", "name": "c"}, "spec": {"volumeName": "v"}}
    terms = [{"matchExpressions": [{"key": key, "operator": "In", "values": list(values)}]}]
    volume = {"metadata": {"name": "v"}, "spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": terms}}}}
    return Volumes([claim], [volume])


CLAIM = {"name": "d", "persistentVolumeClaim": {"claimName": "c"}}


def selected(reach, selector):
    return [row for row in range(len(NODES)) if selector.items() <= reach.labels.get(row, {}).items()]


def test_a_directory_of_the_node_ties_a_pod_to_it():
    reach = Reach(NODES, Volumes())
    selector = reach.selector(pod("p", volumes=[{"name": "d", "hostPath": {"path": "/srv"}}]), 2)
    assert all(each.startswith(VOLUME_LABEL) for each in selector)
    assert selected(reach, selector) == [2]
    assert reach.tied == 1


def test_a_zones_disk_leaves_the_nodes_of_the_zone():
    reach = Reach(NODES, known("zone", "b"))
    assert selected(reach, reach.selector(pod("p", volumes=[CLAIM]), 1)) == [1, 3]


def test_pods_of_one_zone_share_a_label():
    reach = Reach(NODES, known("zone", "a"))
    assert reach.selector(pod("p", volumes=[CLAIM]), 0) == reach.selector(pod("q", volumes=[CLAIM]), 2)


def test_other_volumes_tie_nobody():
    reach = Reach(NODES, known("zone", "a", "b"))
    for volumes in ([], [CLAIM], [{"name": "e", "emptyDir": {}}]):
        assert reach.selector(pod("p", volumes=volumes), 0) == {}
    assert reach.tied == 0
    assert Reach(NODES, Volumes()).selector(pod("p", volumes=[CLAIM]), 0) == {}
