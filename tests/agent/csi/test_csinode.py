"""What a node says of its drivers."""

from __future__ import annotations

from sparsam.agent.csi.csinode import NODE_ID_ANNOTATION, NodeDriver, csi_node, node_patch

NODE = {"metadata": {"name": "n", "uid": "u", "labels": {"zone": "a"}}}


def test_drivers_are_listed_with_what_they_call_the_node_and_how_much_they_take():
    drivers = [NodeDriver("b", "n-b", 3, {"z": "1", "a": "2"}), NodeDriver("a", "n-a")]
    made = csi_node(NODE, drivers)
    assert made["spec"]["drivers"] == [
        {"name": "a", "nodeID": "n-a", "topologyKeys": []},
        {"name": "b", "nodeID": "n-b", "topologyKeys": ["a", "z"], "allocatable": {"count": 3}},
    ]
    assert made["metadata"]["ownerReferences"][0]["uid"] == "u"


def test_the_node_gets_labels_and_ids_and_loses_the_ids_with_the_drivers():
    patch = node_patch(NODE, [NodeDriver("b", "n-b", 0, {"zone": "a", "rack": "r"})])
    assert patch == {"metadata": {"annotations": {NODE_ID_ANNOTATION: '{"b":"n-b"}'}, "labels": {"rack": "r"}}}
    known = {"metadata": {"annotations": {NODE_ID_ANNOTATION: '{"b":"n-b"}'}, "labels": {"rack": "r"}}}
    assert node_patch(known, [NodeDriver("b", "n-b", 0, {"rack": "r"})]) == {}
    assert node_patch(known, []) == {"metadata": {"annotations": {NODE_ID_ANNOTATION: None}}}
