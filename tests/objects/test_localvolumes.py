"""When a volume of a node's directory is given up."""

import pytest

from sparsam.objects.localvolumes import PROVISIONED_BY, PROVISIONER, deletes_data, is_given_up, is_ours


@pytest.mark.parametrize(
    ("phase", "policy", "deleted", "expected"),
    [
        ("Bound", "Delete", False, False),
        ("Bound", "Delete", True, False),
        ("Released", "Delete", False, True),
        ("Released", "Retain", False, False),
        ("Released", "Retain", True, True),
        ("Available", "Delete", True, True),
        ("Pending", "Delete", False, False),
    ],
)
def test_a_volume_is_given_up_when_released_to_be_deleted_or_deleted_unbound(phase, policy, deleted, expected):
    metadata = {"name": "v", "annotations": {PROVISIONED_BY: PROVISIONER}}
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    volume = {"metadata": metadata, "spec": {"persistentVolumeReclaimPolicy": policy}, "status": {"phase": phase}}
    assert is_ours(volume)
    assert is_given_up(volume) is expected
    assert deletes_data(volume) is (policy == "Delete")
