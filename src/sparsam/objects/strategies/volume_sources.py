"""Volume sources that pods and PersistentVolumes share: disks, network file systems, CSI and the retired plug-ins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sparsam.errors import Cause
from sparsam.objects.fields import invalid, required
from sparsam.objects.names import dns_subdomain_errors
from sparsam.objects.strategies.common import inclusive, local_descending_path, put_default
from sparsam.objects.strategy import Obj

Source = Mapping[str, Any]
Check = Callable[[Source, str], list[Cause]]

_PARTITION_TEXT = "must be between 1 and 255, inclusive, or 0 or omitted if specifying a whole disk"


def _needs(*names: str) -> Check:
    def check(source: Source, path: str) -> list[Cause]:
        return [required(f"{path}.{name}") for name in names if not source.get(name)]

    return check


def _disk(name: str) -> Check:
    needs = _needs(name)

    def check(source: Source, path: str) -> list[Cause]:
        partition = source.get("partition", 0)
        causes = needs(source, path)
        if not 0 <= partition <= 255:
            causes.append(invalid(f"{path}.partition", partition, _PARTITION_TEXT))
        return causes

    return check


def _git_repo(source: Source, path: str) -> list[Cause]:
    causes = _needs("repository")(source, path)
    return causes + local_descending_path(source.get("directory", ""), f"{path}.directory")


def _nfs(source: Source, path: str) -> list[Cause]:
    causes = _needs("server", "path")(source, path)
    if not source.get("path", "").startswith("/"):
        causes.append(invalid(f"{path}.path", source.get("path", ""), "must be an absolute path"))
    return causes


def _iscsi(source: Source, path: str) -> list[Cause]:
    causes = _needs("targetPortal", "iqn")(source, path)
    iqn, lun = source.get("iqn", ""), source.get("lun", 0)
    if iqn and not iqn.startswith(("iqn", "eui", "naa")):
        causes.append(invalid(f"{path}.iqn", iqn, "must be valid format starting with iqn, eui, or naa"))
    if not 0 <= lun <= 255:
        causes.append(invalid(f"{path}.lun", lun, inclusive(0, 255)))
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and source.get("secretRef") is None:
        causes.append(required(f"{path}.secretRef"))
    return causes


def _fibre_channel(source: Source, path: str) -> list[Cause]:
    names, world_wide, lun = source.get("targetWWNs") or [], source.get("wwids") or [], source.get("lun")
    causes: list[Cause] = []
    here = f"{path}.targetWWNs"
    if not names and not world_wide:
        causes.append(required(here, "must specify either targetWWNs or wwids, but not both"))
    if names and world_wide:
        causes.append(invalid(here, names, "targetWWNs and wwids can not be specified simultaneously"))
    if names and lun is None:
        causes.append(required(f"{path}.lun", "lun is required if targetWWNs is specified"))
    elif names and lun is not None and not 0 <= lun <= 255:
        causes.append(invalid(f"{path}.lun", lun, inclusive(0, 255)))
    return causes


def _flocker(source: Source, path: str) -> list[Cause]:
    name, uuid = source.get("datasetName", ""), source.get("datasetUUID", "")
    causes: list[Cause] = []
    if not name and not uuid:
        causes.append(required(path, "one of datasetName and datasetUUID is required"))
    if name and uuid:
        causes.append(invalid(path, "resource", "datasetName and datasetUUID can not be specified simultaneously"))
    if "/" in name:
        causes.append(invalid(f"{path}.datasetName", name, "must not contain '/'"))
    return causes


def csi_driver_name(name: str, path: str) -> list[Cause]:
    """Causes for the name of a CSI driver."""
    if not name:
        return [required(path)]
    causes = []
    if len(name) > 63:
        causes.append(invalid(path, name, "must be 63 characters or less"))
    return causes + [invalid(path, name, error) for error in dns_subdomain_errors(name.lower())]


def _csi(source: Source, path: str) -> list[Cause]:
    causes = csi_driver_name(source.get("driver", ""), f"{path}.driver")
    secret = source.get("nodePublishSecretRef")
    if secret is not None and not secret.get("name"):
        causes.append(required(f"{path}.nodePublishSecretRef.name"))
    return causes


def _default_azure_disk(source: Obj) -> None:
    put_default(source, "cachingMode", "ReadWrite")
    put_default(source, "kind", "Shared")
    put_default(source, "fsType", "ext4")
    if source.get("readOnly") is None:
        source["readOnly"] = False


def _default_iscsi(source: Obj) -> None:
    put_default(source, "iscsiInterface", "default")


def _default_rbd(source: Obj) -> None:
    put_default(source, "pool", "rbd")
    put_default(source, "user", "admin")
    put_default(source, "keyring", "/etc/ceph/keyring")


def _default_scale_io(source: Obj) -> None:
    put_default(source, "storageMode", "ThinProvisioned")
    put_default(source, "fsType", "xfs")


DEFAULTS: dict[str, Callable[[Obj], None]] = {
    "azureDisk": _default_azure_disk,
    "iscsi": _default_iscsi,
    "rbd": _default_rbd,
    "scaleIO": _default_scale_io,
}

CLOUD_DISKS: dict[str, Check] = {
    "gitRepo": _git_repo,
    "gcePersistentDisk": _disk("pdName"),
    "awsElasticBlockStore": _disk("volumeID"),
}

NETWORK: dict[str, Check] = {
    "nfs": _nfs,
    "iscsi": _iscsi,
    "glusterfs": _needs("endpoints", "path"),
    "flocker": _flocker,
}

OTHER: dict[str, Check] = {
    "rbd": _needs("monitors", "image"),
    "cinder": _needs("volumeID"),
    "cephfs": _needs("monitors"),
    "quobyte": _needs("registry", "volume"),
    "fc": _fibre_channel,
    "flexVolume": _needs("driver"),
    "azureFile": _needs("secretName", "shareName"),
    "vsphereVolume": _needs("volumePath"),
    "photonPersistentDisk": _needs("pdID"),
    "portworxVolume": _needs("volumeID"),
    "azureDisk": _needs("diskName", "diskURI"),
    "storageos": _needs("volumeName"),
    "scaleIO": _needs("gateway", "system", "volumeName"),
    "csi": _csi,
}
