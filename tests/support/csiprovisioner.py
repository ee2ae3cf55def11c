"""A provisioner for the driver of `csidriver`, as a program in a pod: makes volumes for claims, and deletes them.

python -m tests.support.csiprovisioner --name csi.test --store DIRECTORY
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
from pathlib import Path
from typing import Any

from sparsam.client.api import ApiClient
from sparsam.client.config import in_cluster
from sparsam.errors import AlreadyExists, NotFound, StatusError
from sparsam.objects.kinds import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, STORAGECLASSES

PROVISIONER = "volume.kubernetes.io/storage-provisioner"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
MADE_BY = "pv.kubernetes.io/provisioned-by"
Obj = dict[str, Any]


class Provisioner:
    def __init__(self, client: ApiClient, name: str, store: Path) -> None:
        self.client, self.name, self.store = client, name, store

    async def look(self) -> None:
        for claim in (await self.client.list(PERSISTENTVOLUMECLAIMS))["items"]:
            marks = claim["metadata"].get("annotations") or {}
            if marks.get(PROVISIONER) == self.name and not claim["spec"].get("volumeName") and SELECTED_NODE in marks:
                await self.provision(claim)
        for volume in (await self.client.list(PERSISTENTVOLUMES))["items"]:
            marks = volume["metadata"].get("annotations") or {}
            if marks.get(MADE_BY) == self.name and volume["status"]["phase"] == "Released":
                await self.delete(volume)

    async def provision(self, claim: Obj) -> None:
        metadata, spec = claim["metadata"], claim["spec"]
        known = await self.client.get(STORAGECLASSES, spec["storageClassName"])
        name = f"pvc-{metadata['uid']}"
        (self.store / "volumes" / name).mkdir(parents=True, exist_ok=True)
        reference = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        reference |= {field: metadata[field] for field in ("namespace", "name", "uid", "resourceVersion")}
        volume = {
            "metadata": {"name": name, "annotations": {MADE_BY: self.name}},
            "spec": {
                "accessModes": spec["accessModes"],
                "capacity": spec["resources"]["requests"],
                "storageClassName": spec["storageClassName"],
                "persistentVolumeReclaimPolicy": known["reclaimPolicy"],
                "claimRef": reference,
                "csi": {
                    "driver": self.name,
                    "volumeHandle": name,
                    "nodeStageSecretRef": {
                        "name": known["parameters"]["secret"],
                        "namespace": metadata["namespace"],
                    },
                },
            },
        }
        with contextlib.suppress(AlreadyExists):
            await self.client.create(PERSISTENTVOLUMES, volume)

    async def delete(self, volume: Obj) -> None:
        shutil.rmtree(self.store / "volumes" / volume["spec"]["csi"]["volumeHandle"], ignore_errors=True)
        with contextlib.suppress(NotFound):
            await self.client.delete(PERSISTENTVOLUMES, volume["metadata"]["name"])


async def run(name: str, store: Path) -> None:
    async with ApiClient(in_cluster()) as client:
        provisioner = Provisioner(client, name, store)
        while True:
            try:
                await provisioner.look()
            except (StatusError, OSError, TimeoutError) as error:
                print(f"looked in vain: {error}", flush=True)
            await asyncio.sleep(0.3)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--name", required=True)
    parser.add_argument("--store", required=True, type=Path)
    options = parser.parse_args()
    asyncio.run(run(options.name, options.store))


if __name__ == "__main__":
    main()
