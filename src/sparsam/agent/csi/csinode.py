"""The CSINode object: which drivers a node has, what they call it, and how many volumes they can take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from sparsam.agent.podspec import Obj
from sparsam.client.api import ApiClient
from sparsam.errors import AlreadyExists, NotFound
from sparsam.objects.kinds import CSINODES, NODES

NODE_ID_ANNOTATION = "csi.volume.kubernetes.io/nodeid"


@dataclass(frozen=True, slots=True)
class NodeDriver:
    """One driver on this node."""

    name: str
    node_id: str
    most_volumes: int = 0
    topology: Mapping[str, str] = field(default_factory=dict)


def csi_node(node: Obj, drivers: Iterable[NodeDriver]) -> Obj:
    """The object, owned by the Node."""
    metadata = node["metadata"]
    owner = {"apiVersion": "v1", "kind": "Node", "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSINode",
        "metadata": {"name": metadata["name"], "ownerReferences": [owner]},
        "spec": {"drivers": [_entry(each) for each in sorted(drivers, key=lambda each: each.name)]},
    }


def node_patch(node: Obj, drivers: Iterable[NodeDriver]) -> Obj:
    """What the Node itself is to say: the names that drivers have for it, and the places they know."""
    drivers = list(drivers)
    ids = {each.name: each.node_id for each in sorted(drivers, key=lambda each: each.name)}
    text = msgspec.json.encode(ids).decode() if ids else None
    labels = {key: value for each in drivers for key, value in each.topology.items()}
    known = node["metadata"]
    patch: Obj = {}
    if (known.get("annotations") or {}).get(NODE_ID_ANNOTATION) != text:
        patch["annotations"] = {NODE_ID_ANNOTATION: text}
    fresh = {key: value for key, value in labels.items() if (known.get("labels") or {}).get(key) != value}
    if fresh:
        patch["labels"] = fresh
    return {"metadata": patch} if patch else {}


async def write_csi_node(client: ApiClient, name: str, drivers: list[NodeDriver]) -> None:
    """Make Node and CSINode say which drivers there are; raises what the client raises."""
    node = await client.get(NODES, name)
    patch = node_patch(node, drivers)
    if patch:
        await client.patch(NODES, name, patch)
    wanted = csi_node(node, drivers)
    try:
        current = await client.get(CSINODES, name)
    except NotFound:
        try:
            await client.create(CSINODES, wanted)
        except AlreadyExists:
            pass
        else:
            return
        current = await client.get(CSINODES, name)
    if current["spec"].get("drivers", []) != wanted["spec"]["drivers"]:
        await client.update(CSINODES, {**current, "spec": wanted["spec"]})


def _entry(driver: NodeDriver) -> Obj:
    entry: Obj = {"name": driver.name, "nodeID": driver.node_id, "topologyKeys": sorted(driver.topology)}
    if driver.most_volumes > 0:
        entry["allocatable"] = {"count": driver.most_volumes}
    return entry
