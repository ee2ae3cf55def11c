"""What drivers are told about volumes."""

from __future__ import annotations

import pytest

from sparsam.agent.csi.messages import MESSAGES
from sparsam.agent.csi.plan import CsiVolume, inline, mode_fault, mount_of, persistent, takes_group, wants_attachment
from sparsam.agent.csi.registration import fault_of
from tests.support.agent import pod


def volume(**fields):
    return CsiVolume(driver="d", handle="h", name="pv", **fields)


def driver(**spec):
    return {"spec": spec}


@pytest.mark.parametrize(
    ("modes", "abilities", "mode"),
    [
        (("ReadWriteOnce",), (), 1),
        (("ReadWriteOncePod",), (), 1),
        (("ReadWriteOnce",), (5,), 7),
        (("ReadWriteOncePod",), (5,), 6),
        (("ReadOnlyMany",), (5,), 3),
        (("ReadWriteMany", "ReadWriteOnce"), (), 5),
    ],
)
def test_access_modes_are_told_as_the_driver_knows_them(modes, abilities, mode):
    assert mount_of(volume(access_modes=modes), frozenset(abilities), None).access_mode == mode


def test_the_group_goes_to_drivers_that_mount_with_it():
    assert mount_of(volume(), frozenset({6}), 5).group == "5"
    assert mount_of(volume(), frozenset(), 5).group == ""
    message = mount_of(volume(fs_type="xfs", mount_options=("a", "b")), frozenset({6}), 5).message()
    again = MESSAGES["VolumeCapability"].FromString(message.SerializeToString())
    assert (again.mount.fs_type, list(again.mount.mount_flags), again.mount.volume_mount_group) == (
        "xfs",
        ["a", "b"],
        "5",
    )


@pytest.mark.parametrize(
    ("policy", "fields", "takes"),
    [
        (None, {"fs_type": "ext4"}, True),
        (None, {}, False),
        (None, {"fs_type": "ext4", "access_modes": ("ReadWriteMany",)}, False),
        ("File", {"access_modes": ("ReadWriteMany",)}, True),
        ("None", {"fs_type": "ext4"}, False),
    ],
)
def test_files_get_the_group_by_the_drivers_policy(policy, fields, takes):
    about = driver(fsGroupPolicy=policy) if policy else None
    assert takes_group(volume(**fields), about) is takes


def test_attachments_are_needed_unless_the_driver_says_otherwise():
    assert wants_attachment(volume(), None)
    assert wants_attachment(volume(), driver())
    assert not wants_attachment(volume(), driver(attachRequired=False))
    assert not wants_attachment(volume(ephemeral=True), None)


def test_life_cycles_must_be_offered():
    assert mode_fault(volume(), None) == ""
    assert "no CSIDriver object" in mode_fault(volume(ephemeral=True), None)
    assert "only supports" in mode_fault(volume(ephemeral=True), driver())
    assert mode_fault(volume(ephemeral=True), driver(volumeLifecycleModes=["Ephemeral"])) == ""
    assert mode_fault(volume(), driver(volumeLifecycleModes=["Ephemeral"]))


def test_volumes_are_read_from_what_the_api_has():
    wanted = pod(uid="u", volumes=[])
    source = {"driver": "d", "nodePublishSecretRef": {"name": "s"}, "volumeAttributes": {"a": "b"}, "readOnly": True}
    found = inline(wanted, {"name": "v", "csi": source})
    assert found.handle.startswith("csi-")
    assert len(found.handle) == 68
    assert (found.publish_secret, found.read_only, found.ephemeral) == (("default", "s"), True, True)
    spec = {"csi": {"driver": "d", "volumeHandle": "h"}, "accessModes": ["ReadOnlyMany"]}
    kept = persistent({"metadata": {"name": "pv"}, "spec": spec}, read_only=False)
    assert (kept.key, kept.read_only, kept.access_modes) == (("d", "h"), False, ("ReadOnlyMany",))


def test_only_drivers_of_this_protocol_are_registered():
    def info(**fields):
        return MESSAGES["PluginInfo"](**{"type": "CSIPlugin", "name": "d", "supported_versions": ["1.0.0"], **fields})

    assert fault_of(info()) == ""
    assert fault_of(info(supported_versions=["0.3.0", "v1.2.0"])) == ""
    assert "DevicePlugin" in fault_of(info(type="DevicePlugin"))
    assert "no name" in fault_of(info(name=""))
    assert "not 1" in fault_of(info(supported_versions=["0.3.0"]))
