"""Volumes on directories of a node: the words that controllers, agents and `sparsam up` share about them. Pure.

The provisioner (a controller) decides on node and path and makes the PersistentVolume; the node's agent makes the
directory, and deletes it with all that is in it once the volume is released.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Obj = Mapping[str, Any]

PROVISIONER = "local.sparsam.dev"
CLASS = "local"
"""The StorageClass that `sparsam up` makes."""
ROOT_ANNOTATION = "storage.sparsam.dev/local-volumes"
"""On a Node: the directory below which it makes volumes."""
NODE_LABEL = "storage.sparsam.dev/node"
"""On a PersistentVolume or CSIStorageCapacity: whose it is."""
MADE_ANNOTATION = "storage.sparsam.dev/made"
"""On a PersistentVolume: its directory was made. Should it be missing later, data was lost, and nothing hides that."""
FINALIZER = "storage.sparsam.dev/local-volume"
"""On a PersistentVolume: its node has not yet done with the directory."""
PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"


def is_ours(volume: Obj) -> bool:
    """Whether a PersistentVolume was made by this provisioner."""
    return (volume["metadata"].get("annotations") or {}).get(PROVISIONED_BY) == PROVISIONER


def is_given_up(volume: Obj) -> bool:
    """Whether nobody will use a PersistentVolume any more: its claim is gone and it is to go too, or it is deleted."""
    phase = (volume.get("status") or {}).get("phase")
    if "deletionTimestamp" in volume["metadata"]:
        return phase != "Bound"
    return phase == "Released" and deletes_data(volume)


def deletes_data(volume: Obj) -> bool:
    """Whether the data goes with the volume."""
    return (volume["spec"].get("persistentVolumeReclaimPolicy") or "Retain") == "Delete"


def storage_class() -> dict[str, Any]:
    """The class that claims get which name none."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def driver() -> dict[str, Any]:
    """What tells schedulers that nodes publish how much room they have; there is no CSI driver behind it."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIDriver",
        "metadata": {"name": PROVISIONER},
        "spec": {"attachRequired": False, "storageCapacity": True},
    }
