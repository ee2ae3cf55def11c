"""Storage's say in placement: each documented rule of kube-scheduler's volume plugins, and a slow twin for matching."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsam.scheduling.claims import SELECTED_NODE
from sparsam.scheduling.demand import compile_pod
from sparsam.scheduling.placement import PendingPod, Placer
from sparsam.scheduling.plan import Bind
from sparsam.scheduling.policy import KubeDefault
from sparsam.scheduling.snapshot import Snapshot
from tests.support.scheduling import node, pod

ZONE = "topology.kubernetes.io/zone"
TAIL = "no new claims to deallocate, preemption: 0/2 nodes are available: 2 Preemption is not helpful for scheduling."


def claim(name, size="1Gi", **extra):
    annotations = extra.pop("annotations", {})
    if extra.get("volumeName"):
        annotations = {"pv.kubernetes.io/bind-completed": "yes", **annotations}
    return {
        "metadata": {"name": name, "namespace": "default", "uid": f"uid-{name}", "annotations": annotations},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}},
            "storageClassName": "late",
            **extra,
        },
    }


def volume(name, size="1Gi", on=None, labels=None, **extra):
    spec = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": "late", **extra}
    if on is not None:
        fields = [{"key": "metadata.name", "operator": "In", "values": on}]
        spec["nodeAffinity"] = {"required": {"nodeSelectorTerms": [{"matchFields": fields}]}}
    return {"metadata": {"name": name, "labels": labels or {}}, "spec": spec}


def storage_class(name="late", provisioner="kubernetes.io/no-provisioner", mode="WaitForFirstConsumer", **extra):
    return {"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode, **extra}


def using(name, *claims, **extra):
    volumes = [
        {"name": f"v{number}", "persistentVolumeClaim": {"claimName": each}} for number, each in enumerate(claims)
    ]
    return pod(name, volumes=volumes, **extra)


class Cluster:
    """Two nodes and what is put beside them."""

    def __init__(self, *nodes):
        self.snapshot = Snapshot()
        for each in nodes or (node("a"), node("b")):
            self.snapshot.set_node(each)
        self.storage = self.snapshot.storage
        self.storage.set_class(storage_class())
        self.placer = Placer(self.snapshot, KubeDefault())

    def place(self, wanted, priority=0):
        key = f"default/{wanted['metadata']['name']}"
        plan = self.placer.schedule([PendingPod(key, compile_pod(wanted), priority)])
        return (*plan.binds, *plan.rejections)[0]


def test_a_pod_goes_where_its_volume_is():
    cluster = Cluster()
    cluster.storage.set_claim(claim("c", volumeName="v"))
    cluster.storage.set_volume(volume("v", on=["b"], claimRef={"namespace": "default", "name": "c", "uid": "uid-c"}))
    assert cluster.place(using("p", "c")).node == "b"
    cluster.snapshot.remove_node("b")
    assert "1 node(s) didn't match PersistentVolume's node affinity" in cluster.place(using("q", "c")).message


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ([], 'persistentvolumeclaim "c" not found'),
        ([claim("c", storageClassName="gone")], "pod has unbound immediate PersistentVolumeClaims"),
        ([claim("c", storageClassName="")], "pod has unbound immediate PersistentVolumeClaims"),
        (
            [claim("c", volumeName="v") | {"status": {"phase": "Lost"}}],
            'persistentvolumeclaim "c" bound to non-existent persistentvolume "v"',
        ),
    ],
)
def test_faults_of_claims_are_the_whole_message(claims, message):
    cluster = Cluster()
    for each in claims:
        cluster.storage.set_claim(each)
    rejection = cluster.place(using("p", "c"))
    assert rejection.message == f"0/2 nodes are available: {message}. {TAIL}"
    assert rejection.plugins == {"VolumeBinding"}


def test_a_claim_that_is_going_or_made_for_another_pod_is_of_no_use():
    cluster = Cluster()
    leaving = claim("c")
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    cluster.storage.set_claim(leaving)
    assert 'persistentvolumeclaim "c" is being deleted' in cluster.place(using("p", "c")).message
    own = pod("p", volumes=[{"name": "v", "ephemeral": {}}])
    waiting = 'waiting for ephemeral volume controller to create the persistentvolumeclaim "p-v"'
    assert waiting in cluster.place(own).message
    cluster.storage.set_claim(claim("p-v"))
    assert "was not created for pod default/p (pod is not owner)" in cluster.place(own).message
    owned = claim("p-v")
    owned["metadata"]["ownerReferences"] = [{"kind": "Pod", "name": "p", "controller": True}]
    cluster.storage.set_claim(owned)
    cluster.storage.set_volume(volume("v"))
    assert isinstance(cluster.place(own), Bind)


def test_the_smallest_volume_that_suits_is_promised_and_only_once():
    cluster = Cluster()
    for each in (volume("large", "5Gi"), volume("small", "1Gi", on=["b"]), volume("tiny", "1Mi")):
        cluster.storage.set_volume(each)
    for name in "xyz":
        cluster.storage.set_claim(claim(name))
    first = cluster.place(using("p", "x", nodeName="b"))
    assert [(each.claim, each.volume, each.node) for each in first.promises] == [("default/x", "small", "b")]
    second = cluster.place(using("q", "y"))
    assert [each.volume for each in second.promises] == ["large"]
    assert "2 node(s) didn't find available persistent volumes to bind" in cluster.place(using("r", "z")).message
    cluster.storage.break_promises("default/p")
    cluster.snapshot.remove_pod("default/p")
    assert cluster.place(using("r", "z")).node == "b"


def test_a_second_pod_of_a_promised_claim_follows_it():
    cluster = Cluster()
    cluster.storage.set_volume(volume("v-a", on=["a"]))
    cluster.storage.set_volume(volume("v-b", on=["b"]))
    cluster.storage.set_claim(claim("c"))
    first = cluster.place(using("p", "c"))
    second = cluster.place(using("q", "c"))
    assert second.node == first.node
    assert second.promises[0].volume == first.promises[0].volume


def test_volumes_of_other_kinds_do_not_suit():
    cluster = Cluster()
    for each in (
        volume("block", volumeMode="Block"),
        volume("class", storageClassName="other"),
        volume("modes", accessModes=["ReadOnlyMany"]),
        volume("taken", claimRef={"namespace": "default", "name": "other", "uid": "u"}),
        volume("labels", labels={"disk": "slow"}),
    ):
        cluster.storage.set_volume(each)
    cluster.storage.set_claim(claim("c", selector={"matchLabels": {"disk": "fast"}}))
    assert "2 node(s) didn't find available persistent volumes" in cluster.place(using("p", "c")).message
    cluster.storage.set_volume(volume("labels", labels={"disk": "fast"}))
    assert cluster.place(using("p", "c")).promises[0].volume == "labels"


def test_a_volume_that_is_kept_for_the_claim_goes_first():
    cluster = Cluster()
    cluster.storage.set_volume(volume("free"))
    cluster.storage.set_volume(volume("kept", "9Gi", claimRef={"namespace": "default", "name": "c"}))
    cluster.storage.set_claim(claim("c"))
    assert cluster.place(using("p", "c")).promises[0].volume == "kept"


def test_volumes_are_made_where_the_class_allows_and_where_the_claim_was_told():
    cluster = Cluster(node("a", labels={ZONE: "1"}), node("b", labels={ZONE: "2"}))
    there = [{"matchLabelExpressions": [{"key": ZONE, "values": ["2"]}]}]
    cluster.storage.set_class(storage_class("made", "disks.example", allowedTopologies=there))
    cluster.storage.set_claim(claim("c", storageClassName="made"))
    bind = cluster.place(using("p", "c"))
    assert bind.node == "b"
    assert [(each.volume, each.node) for each in bind.promises] == [("", "b")]
    cluster.storage.set_class(storage_class("made", "disks.example"))
    cluster.storage.set_claim(claim("d", storageClassName="made", annotations={SELECTED_NODE: "a"}))
    assert cluster.place(using("q", "d")).node == "a"


def test_drivers_that_count_need_the_space():
    cluster = Cluster(node("a", labels={ZONE: "1"}), node("b", labels={ZONE: "2"}))
    cluster.storage.set_class(storage_class("made", "disks.example"))
    cluster.storage.set_driver({"metadata": {"name": "disks.example"}, "spec": {"storageCapacity": True}})
    cluster.storage.set_claim(claim("c", "10Gi", storageClassName="made"))
    assert "2 node(s) did not have enough free storage" in cluster.place(using("p", "c")).message
    for zone, size in (("1", "5Gi"), ("2", "20Gi")):
        cluster.storage.set_capacity(
            {
                "metadata": {"namespace": "kube-system", "name": zone},
                "storageClassName": "made",
                "capacity": size,
                "nodeTopology": {"matchLabels": {ZONE: zone}},
            }
        )
    assert cluster.place(using("p", "c")).node == "b"


def test_volumes_of_a_zone_stay_there_and_nodes_without_zones_reach_all():
    cluster = Cluster(node("a", labels={ZONE: "1"}), node("b", labels={ZONE: "2"}))
    cluster.storage.set_claim(claim("c", volumeName="v"))
    cluster.storage.set_volume(volume("v", labels={ZONE: "2__3"}))
    assert cluster.place(using("p", "c")).node == "b"
    cluster.snapshot.remove_node("b")
    assert "1 node(s) had no available volume zone" in cluster.place(using("q", "c")).message
    cluster.snapshot.set_node(node("bare"))
    assert cluster.place(using("q", "c")).node == "bare"


def test_nodes_take_no_more_volumes_than_they_can_attach():
    cluster = Cluster()
    cluster.storage.set_class(storage_class("made", "disks.example"))
    drivers = [{"name": "disks.example", "allocatable": {"count": 2}}]
    for name in "ab":
        cluster.storage.set_limits({"metadata": {"name": name}, "spec": {"drivers": drivers}})
    for name in "123456":
        cluster.storage.set_claim(claim(name, storageClassName="made"))
    for name in "1234":
        assert isinstance(cluster.place(using(f"p{name}", name)), Bind)
    refused = cluster.place(using("p5", "5"))
    assert refused.counts == {"node(s) exceed max volume count": 2}
    # A volume that is there already takes no more room.
    assert isinstance(cluster.place(using("p6", "1")), Bind)
    # Ending another pod does make room.
    assert cluster.place(using("p7", "5"), priority=10).preempt is not None


def test_a_claim_for_one_pod_only_is_not_shared_unless_the_other_has_to_go():
    cluster = Cluster()
    once = claim("c", volumeName="v", accessModes=["ReadWriteOncePod"])
    cluster.storage.set_claim(once)
    cluster.storage.set_volume(volume("v"))
    assert isinstance(cluster.place(using("p", "c")), Bind)
    words = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"
    assert cluster.place(using("q", "c")).counts == {words: 2}
    assert cluster.place(using("r", "c"), priority=5).preempt.victims == ("default/p",)


@pytest.mark.parametrize(
    ("source", "shared"),
    [
        ({"gcePersistentDisk": {"pdName": "d"}}, False),
        ({"gcePersistentDisk": {"pdName": "d", "readOnly": True}}, True),
        ({"awsElasticBlockStore": {"volumeID": "d", "readOnly": True}}, False),
        ({"iscsi": {"iqn": "d", "readOnly": True}}, True),
        ({"rbd": {"monitors": ["m1", "m2"], "image": "i"}}, False),
        ({"emptyDir": {}}, True),
    ],
)
def test_disks_that_cannot_be_shared_keep_pods_apart(source, shared):
    cluster = Cluster(node("a"))
    wanted = [pod(name, volumes=[{"name": "v", **source}]) for name in "pq"]
    assert isinstance(cluster.place(wanted[0]), Bind)
    second = cluster.place(wanted[1])
    assert isinstance(second, Bind) if shared else second.counts == {"node(s) had no available disk": 1}


def feasible_by_hand(volumes, claims):
    """Nodes on which every claim can have a volume of its own, by the rule that small claims choose first."""
    found = set()
    for name in "ab":
        free = {each["metadata"]["name"]: each for each in volumes}
        for each in sorted(
            claims, key=lambda c: (size_of(c["spec"]["resources"]["requests"]["storage"]), c["metadata"]["name"])
        ):
            wanted = size_of(each["spec"]["resources"]["requests"]["storage"])
            fitting = [
                v for v in free.values() if size_of(v["spec"]["capacity"]["storage"]) >= wanted and reaches(v, name)
            ]
            if not fitting:
                break
            best = min(fitting, key=lambda v: (size_of(v["spec"]["capacity"]["storage"]), v["metadata"]["name"]))
            del free[best["metadata"]["name"]]
        else:
            found.add(name)
    return found


def size_of(text):
    return int(text.removesuffix("Gi"))


def reaches(each, name):
    terms = each["spec"].get("nodeAffinity", {}).get("required", {}).get("nodeSelectorTerms")
    return terms is None or name in terms[0]["matchFields"][0]["values"]


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 4), st.sampled_from([None, ["a"], ["b"], ["a", "b"]])), max_size=5),
    st.lists(st.integers(1, 4), min_size=1, max_size=3),
)
def test_matching_over_all_nodes_is_matching_on_each(sizes, wanted):
    cluster = Cluster()
    volumes = [volume(f"v{number}", f"{size}Gi", on=on) for number, (size, on) in enumerate(sizes)]
    claims = [claim(f"c{number}", f"{size}Gi") for number, size in enumerate(wanted)]
    for each in volumes:
        cluster.storage.set_volume(each)
    for each in claims:
        cluster.storage.set_claim(each)
    demand = compile_pod(using("p", *(each["metadata"]["name"] for each in claims)))
    view = cluster.placer.view(PendingPod("default/p", demand))
    found = {name for name, row in cluster.snapshot.rows.items() if view.feasible[row]}
    assert found == feasible_by_hand(volumes, claims)
    decision = cluster.placer.schedule([PendingPod("default/p", demand)])
    for bind in decision.binds:
        promised = [each.volume for each in bind.promises]
        assert len(set(promised)) == len(claims)
        for left, right in itertools.pairwise(sorted(promised)):
            assert left != right
