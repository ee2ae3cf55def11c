"""Claims, volumes and their classes of attributes stay until nothing uses them, on a real API server."""

import pytest

from sparsam.controllers.volumeprotection import AttributesProtection, VolumeProtection, attributes_of
from sparsam.errors import NotFound
from sparsam.objects.kinds import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, VOLUMEATTRIBUTESCLASSES
from tests.controllers.test_volumes import claim, volume
from tests.support.controllers import controlled, eventually


def attributes(name):
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "VolumeAttributesClass",
        "metadata": {"name": name},
        "driverName": "disks.example",
        "parameters": {"iops": "500"},
    }


async def is_gone(client, resource, name, namespace=""):
    async def look():
        try:
            await client.get(resource, name, namespace)
        except NotFound:
            return True
        return False

    return await eventually(look, f"{name} gone")


async def test_a_class_goes_at_once_if_nothing_uses_it(tmp_path):
    async with controlled(tmp_path, AttributesProtection) as client:
        made = await client.create(VOLUMEATTRIBUTESCLASSES, attributes("fast"))
        assert made["metadata"]["finalizers"] == ["kubernetes.io/vac-protection"]
        await client.delete(VOLUMEATTRIBUTESCLASSES, "fast")
        await is_gone(client, VOLUMEATTRIBUTESCLASSES, "fast")


async def test_a_class_stays_until_its_claim_and_its_volume_are_gone(tmp_path):
    async with controlled(tmp_path, VolumeProtection, AttributesProtection) as client:
        await client.create(VOLUMEATTRIBUTESCLASSES, attributes("fast"))
        await client.create(PERSISTENTVOLUMECLAIMS, claim("c", volumeAttributesClassName="fast"))
        driver = {"driver": "disks.example", "volumeHandle": "1"}
        of_driver = volume("v", csi=driver, volumeAttributesClassName="fast")
        del of_driver["spec"]["hostPath"]
        await client.create(PERSISTENTVOLUMES, of_driver)
        await client.delete(VOLUMEATTRIBUTESCLASSES, "fast")
        await client.delete(PERSISTENTVOLUMECLAIMS, "c", "default")
        await is_gone(client, PERSISTENTVOLUMECLAIMS, "c", "default")
        assert "deletionTimestamp" in (await client.get(VOLUMEATTRIBUTESCLASSES, "fast"))["metadata"]
        await client.delete(PERSISTENTVOLUMES, "v")
        await is_gone(client, VOLUMEATTRIBUTESCLASSES, "fast")


@pytest.mark.parametrize(
    ("user", "names"),
    [
        ({"spec": {}}, []),
        ({"spec": {"volumeAttributesClassName": "a"}, "status": {"currentVolumeAttributesClassName": "a"}}, ["a"]),
        (
            {
                "spec": {"volumeAttributesClassName": "new"},
                "status": {
                    "currentVolumeAttributesClassName": "old",
                    "modifyVolumeStatus": {"targetVolumeAttributesClassName": "other"},
                },
            },
            ["new", "old", "other"],
        ),
    ],
)
def test_the_classes_that_a_claim_has_and_wants(user, names):
    assert sorted(attributes_of(user)) == names
