"""Which volumes are attached where, and when they are given back."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from sparsam.clock import format_time
from sparsam.controllers.attachdetach import AttachDetach, Plan, plan
from sparsam.objects.attachments import attachment_name, volume_name
from sparsam.objects.kinds import (
    CSIDRIVERS,
    EVENTS,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    SERVICEACCOUNTS,
    VOLUMEATTACHMENTS,
)
from tests.support.controllers import controlled, eventually, gone

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
IN_USE = volume_name("d", "h")


def volume(*modes):
    source = {"driver": "d", "volumeHandle": "h"}
    return {"metadata": {"name": "pv"}, "spec": {"csi": source, "accessModes": list(modes or ("ReadWriteOnce",))}}


def pod(node, phase="Running"):
    return {"metadata": {"name": f"on-{node}"}, "spec": {"nodeName": node}, "status": {"phase": phase}}


def attachment(node, leaving=False):
    metadata = {"name": f"va-{node}"} | ({"deletionTimestamp": "x"} if leaving else {})
    return {"metadata": metadata, "spec": {"nodeName": node, "source": {"persistentVolumeName": "pv"}}}


def node(name, *, uses=False, lost_for=None, taint=None):
    since = format_time(NOW - (lost_for or timedelta()))
    condition = {"type": "Ready", "status": "True" if lost_for is None else "Unknown", "lastTransitionTime": since}
    taints = [{"key": taint, "effect": "NoExecute"}] if taint else []
    status = {"conditions": [condition], "volumesInUse": [IN_USE] if uses else []}
    return {"metadata": {"name": name}, "spec": {"taints": taints}, "status": status}


def decided(pods, attachments, *nodes, of=None):
    of = volume() if of is None else of
    known = {each["metadata"]["name"]: each for each in nodes or (node("a"), node("b"))}
    return plan(of, pods, attachments, nodes=known, now=NOW)


def test_a_volume_is_attached_for_its_pods_and_detached_once_unmounted():
    assert decided([pod("a")], []) == Plan(attach=("a",))
    assert decided([pod("a")], [attachment("a")]) == Plan()
    assert decided([], [attachment("a")]) == Plan(detach=("va-a",))
    assert decided([pod("a", "Succeeded")], [attachment("a")]) == Plan(detach=("va-a",))
    assert decided([], [attachment("a", leaving=True)]) == Plan()
    assert decided([], [attachment("a")], node("a", uses=True)) == Plan(waits=True)


def test_a_volume_of_one_node_waits_until_the_other_has_given_it_up():
    both = [pod("a"), pod("b")]
    assert decided(both, []) == Plan(attach=("a",), barred=("b",))
    assert decided(both, [attachment("a")]) == Plan(barred=("b",))
    assert decided([pod("b")], [attachment("a", leaving=True)]) == Plan(barred=("b",))
    assert decided(both, [attachment("a")], of=volume("ReadWriteOnce", "ReadWriteMany")) == Plan(attach=("b",))


def test_nodes_that_are_gone_lost_for_long_or_out_of_service_hold_nothing():
    for held in (
        node("b"),
        node("a", uses=True, lost_for=timedelta(minutes=7)),
        node("a", uses=True, taint="node.kubernetes.io/out-of-service"),
    ):
        assert decided([], [attachment("a")], held) == Plan(detach=("va-a",))
    lately = node("a", uses=True, lost_for=timedelta(minutes=5))
    assert decided([], [attachment("a")], lately) == Plan(waits=True)


@given(st.lists(st.sampled_from("abc")), st.sets(st.sampled_from("abc")), st.sets(st.sampled_from("abc")))
def test_a_volume_of_one_node_is_never_attached_to_two(used, held, mounting):
    nodes = [node(name, uses=name in mounting) for name in "abc"]
    decision = decided([pod(each) for each in used], [attachment(each) for each in held], *nodes)
    assert len(held | set(decision.attach)) <= max(1, len(held))
    kept = {name for name in held if f"va-{name}" not in decision.detach}
    assert kept >= held & (set(used) | mounting)
    assert set(decision.attach) | set(decision.barred) | held >= set(used)


async def test_attachments_follow_pods_and_tell_what_happens(tmp_path):
    async with controlled(tmp_path, AttachDetach) as client:
        await client.create(NODES, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "a"}})
        free = {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": "free"}}
        await client.create(CSIDRIVERS, free | {"spec": {"attachRequired": False}})
        for driver in ("d", "free"):
            claim = {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": driver, "namespace": "default"},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "1Gi"}},
                    "volumeName": f"pv-{driver}",
                    "storageClassName": "",
                },
            }
            made = await client.create(PERSISTENTVOLUMECLAIMS, claim)
            reference = {"namespace": "default", "name": driver, "uid": made["metadata"]["uid"]}
            spec = {
                **volume()["spec"],
                "csi": {"driver": driver, "volumeHandle": "h"},
                "capacity": {"storage": "1Gi"},
                "claimRef": reference,
            }
            await client.create(
                PERSISTENTVOLUMES,
                {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"pv-{driver}"}, "spec": spec},
            )
        names = [{"name": each, "persistentVolumeClaim": {"claimName": each}} for each in ("d", "free")]
        containers = [{"name": "c", "image": "x"}]
        body = {"nodeName": "a", "containers": containers, "volumes": names, "automountServiceAccountToken": False}
        user = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "default"}, "spec": body}
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        await client.create(SERVICEACCOUNTS, account, "default")
        await client.create(PODS, user)
        source = {"persistentVolumeName": "pv-nobodys"}
        foreign = {"apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment", "metadata": {"name": "foreign"}}
        await client.create(VOLUMEATTACHMENTS, foreign | {"spec": {"attacher": "d", "nodeName": "a", "source": source}})
        stale = {**foreign, "metadata": {"name": attachment_name("d", "nobodys", "a")}}
        await client.create(VOLUMEATTACHMENTS, stale | {"spec": {"attacher": "d", "nodeName": "a", "source": source}})
        name = attachment_name("d", "h", "a")
        found = await eventually(lambda: client.get(VOLUMEATTACHMENTS, name))
        assert found["spec"] == {"attacher": "d", "nodeName": "a", "source": {"persistentVolumeName": "pv-d"}}
        await gone(lambda: client.get(VOLUMEATTACHMENTS, stale["metadata"]["name"]))
        left = {each["metadata"]["name"] for each in (await client.list(VOLUMEATTACHMENTS))["items"]}
        assert left == {name, "foreign"}
        await client.patch(VOLUMEATTACHMENTS, name, {"status": {"attached": True}}, subresource="status")

        async def told():
            return [each["message"] for each in (await client.list(EVENTS, "default"))["items"]]

        assert await eventually(told) == ['AttachVolume.Attach succeeded for volume "pv-d" ']
        await client.delete(PODS, "p", "default", grace_seconds=0)
        await gone(lambda: client.get(VOLUMEATTACHMENTS, name))
