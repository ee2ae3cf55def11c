"""Makes PersistentVolumes on directories of nodes, for claims whose class wants that: an external provisioner.

It decides and writes objects only; the agent of the node makes the directory and deletes it (agent/localvolumes.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sparsam.controllers.runtime import Context, Controller, Key, Obj, own_key
from sparsam.controllers.volumes import PROVISIONER as PROVISIONER_ANNOTATION
from sparsam.errors import AlreadyExists
from sparsam.objects.kinds import (
    CSISTORAGECAPACITIES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    STORAGECLASSES,
)
from sparsam.objects.localvolumes import (
    FINALIZER,
    NODE_LABEL,
    PROVISIONED_BY,
    PROVISIONER,
    ROOT_ANNOTATION,
)
from sparsam.scheduling.claims import SELECTED_NODE, Claim, compile_claim
from sparsam.units import parse_bytes

HOSTNAME = "kubernetes.io/hostname"
MODES = frozenset({"ReadWriteOnce", "ReadWriteOncePod"})
RETRY_SECONDS = 15.0


class LocalVolumes:
    """Keyed by claim."""

    def __init__(self, context: Context) -> None:
        self._client = context.client
        self._claims = context.informer(PERSISTENTVOLUMECLAIMS)
        self._volumes = context.informer(PERSISTENTVOLUMES)
        self._classes = context.informer(STORAGECLASSES)
        self._nodes = context.informer(NODES)
        self._capacities = context.informer(CSISTORAGECAPACITIES)
        self.controller = Controller(PROVISIONER, context, self.sync, workers=1)
        self.controller.watch(self._claims, own_key)
        self.controller.watch(self._capacities, lambda _: self._waiting())
        for informer in (self._volumes, self._classes, self._nodes):
            self.controller.needs(informer)

    async def sync(self, key: Key) -> None:
        """Make a claim's volume."""
        claim = self._claims.get(*key)
        if claim is not None and "deletionTimestamp" not in claim["metadata"] and _is_for_us(claim):
            await self._provision(claim)

    async def _provision(self, claim: Obj) -> None:
        compiled = compile_claim(claim)
        name, recorder = f"pvc-{compiled.uid}", self.controller.recorder
        storage_class = self._classes.get("", compiled.class_name)
        waits = (storage_class or {}).get("volumeBindingMode") == "WaitForFirstConsumer"
        if storage_class is None or self._volumes.get("", name) is not None or (waits and not compiled.selected_node):
            return
        fault = fault_of(claim, storage_class)
        node = None
        if not fault:
            node, fault = choose_node(compiled, storage_class, self._nodes.items(), self._capacities.items())
        if node is None:
            why = f'failed to provision volume with StorageClass "{compiled.class_name}": {fault}'
            recorder.event(claim, "Warning", "ProvisioningFailed", why)
            await self._again_elsewhere(claim, compiled)
            return
        what = f'External provisioner is provisioning volume for claim "{compiled.key}"'
        recorder.event(claim, "Normal", "Provisioning", what)
        try:
            await self._client.create(PERSISTENTVOLUMES, volume_object(name, claim, storage_class, node))
        except AlreadyExists:
            return
        recorder.event(claim, "Normal", "ProvisioningSucceeded", f"Successfully provisioned volume {name}")

    async def _again_elsewhere(self, claim: Obj, compiled: Claim) -> None:
        """Give the choice of the node back to the scheduler, or try again later where there was no such choice."""
        metadata = claim["metadata"]
        if not compiled.selected_node:
            self.controller.queue.add_after((metadata["namespace"], metadata["name"]), RETRY_SECONDS)
            return
        patch = {"metadata": {"annotations": {SELECTED_NODE: None}, "uid": metadata["uid"]}}
        await self._client.patch(PERSISTENTVOLUMECLAIMS, metadata["name"], patch, namespace=metadata["namespace"])

    def _waiting(self) -> list[Key]:
        return [key for claim in self._claims.items() if _is_for_us(claim) for key in own_key(claim)]


def fault_of(claim: Obj, storage_class: Obj) -> str:
    """Why no such volume can be made anywhere; empty when it can."""
    spec = claim["spec"]
    others = sorted(set(spec.get("accessModes") or ()) - MODES)
    if others:
        return f"directories of a node cannot be {', '.join(others)}, only ReadWriteOnce and ReadWriteOncePod"
    if spec.get("volumeMode") == "Block":
        return "directories of a node are no block devices"
    if spec.get("selector"):
        return "claim.spec.selector is not supported"
    if spec.get("dataSource") or spec.get("dataSourceRef"):
        return "data sources are not supported"
    if storage_class.get("mountOptions"):
        return "mount options are not supported"
    if storage_class.get("parameters"):
        return f"unknown parameters: {', '.join(sorted(storage_class['parameters']))}"
    return ""


def choose_node(
    claim: Claim, storage_class: Obj, nodes: Iterable[Obj], capacities: Iterable[Obj]
) -> tuple[Obj | None, str]:
    """The selected node, else the ready one with the most room, by name among equals; None and why not."""
    room = {
        each["nodeTopology"]["matchLabels"][HOSTNAME]: parse_bytes(each.get("capacity") or "0")
        for each in capacities
        if each.get("storageClassName") == claim.class_name and NODE_LABEL in (each["metadata"].get("labels") or {})
    }
    suitable = [
        node
        for node in nodes
        if ROOT_ANNOTATION in (node["metadata"].get("annotations") or {}) and _is_allowed(node, storage_class)
    ]
    if claim.selected_node:
        found = next((each for each in suitable if each["metadata"]["name"] == claim.selected_node), None)
        return found, "" if found else f"no volume can be made on node {claim.selected_node}"
    roomy = [each for each in suitable if _is_ready(each) and room.get(_hostname(each), -1) >= claim.size_bytes]
    best = min(roomy, key=lambda each: (-room[_hostname(each)], each["metadata"]["name"]), default=None)
    return best, "" if best else "no node has room for it"


def volume_object(name: str, claim: Obj, storage_class: Obj, node: Obj) -> dict[str, Any]:
    """The PersistentVolume for a claim on a node."""
    metadata, root = claim["metadata"], node["metadata"]["annotations"][ROOT_ANNOTATION]
    on_node = {"matchExpressions": [{"key": HOSTNAME, "operator": "In", "values": [_hostname(node)]}]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "labels": {NODE_LABEL: _hostname(node)},
            "annotations": {PROVISIONED_BY: PROVISIONER},
            "finalizers": [FINALIZER],
        },
        "spec": {
            "accessModes": claim["spec"]["accessModes"],
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
                "resourceVersion": metadata.get("resourceVersion", ""),
            },
            "local": {"path": f"{root}/{name}"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [on_node]}},
            "persistentVolumeReclaimPolicy": storage_class.get("reclaimPolicy") or "Delete",
            "storageClassName": storage_class["metadata"]["name"],
            "volumeMode": "Filesystem",
        },
    }


def _is_for_us(claim: Obj) -> bool:
    """Whether the volume controller has handed the claim over."""
    annotations = claim["metadata"].get("annotations") or {}
    return annotations.get(PROVISIONER_ANNOTATION) == PROVISIONER and not claim["spec"].get("volumeName")


def _is_allowed(node: Obj, storage_class: Obj) -> bool:
    terms = storage_class.get("allowedTopologies")
    labels = node["metadata"].get("labels") or {}
    return not terms or any(
        all(labels.get(each["key"]) in each["values"] for each in term.get("matchLabelExpressions") or ())
        for term in terms
    )


def _is_ready(node: Obj) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
    return ready and not (node.get("spec") or {}).get("unschedulable")


def _hostname(node: Obj) -> str:
    return str((node["metadata"].get("labels") or {}).get(HOSTNAME) or node["metadata"]["name"])
